"""
tools/qemu-lane: the hunt on QEMU's own code, in a source tree of the user's.

Exit status: 0 built (and with --starts each start found something), 1 a start found nothing, 2 it could not run. What starts in flavour native
find is not judged.
"""

import argparse
import contextlib
import errno
import os
import pathlib
import re
import statistics
import sys
import tempfile

import build
import detection
import qemubuild
import show
import stress
from common import BUILD, CannotRun, check_disk, last_lines, relative, run_main
from fuzzrun import FuzzRun

HEADS = ("target", "flavour", "found", "verdicts", "executions", "worst", "seconds", "worst", "in target", "who waits, who did not wake it")
RIGHT = (2, 4, 5, 6, 7, 8)
TOO_MANY = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
NUMBER_MAX = 1_000_000  # of seconds: more than a week, and less than what select() and poll() take


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise CannotRun(f"{message} (tools/qemu-lane --help lists the options)")


def number(text):
    if not text.isdigit() or not 0 < int(text) <= NUMBER_MAX:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 to {NUMBER_MAX:,}")
    return int(text)


def source_lines(text):
    """(file, first line, last line)"""
    match = re.fullmatch(r"([^:\s]+\.c):(\d{1,7})(?:-(\d{1,7}))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not FILE.c:LINE or FILE.c:FIRST-LAST, of QEMU's sources (block/io.c:1200)")
    return str(pathlib.PurePosixPath(match[1])), int(match[2]), int(match[3] or match[2])


def parse(arguments):
    parser = Parser(prog="tools/qemu-lane", allow_abbrev=False,
                    description="Build the lane's targets from QEMU's sources in SRC_DIR, which is only read.",
                    epilog="Exit status: 0 built, and each start found something; 1 some did not; 2 could not run.")
    parser.add_argument("source", metavar="SRC_DIR", help="the root of QEMU's sources")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all that this tree has the code for")
    parser.add_argument("--flavour", action="append", metavar="F", 
                        help=f"{', '.join(qemubuild.FLAVOURS)}; may be repeated (default plain); native: real threads, real kernel")
    parser.add_argument("--jobs", type=number, default=os.cpu_count() or 1, metavar="N", help="compilers, or fuzzers, at once (default: CPUs)")
    parser.add_argument("--starts", type=number, metavar="N", 
                        help="then start each target N times, from an empty corpus, or native under stress-ng, and print a table")
    parser.add_argument("--time", type=number, default=60, metavar="SECONDS", help="at most, for each start (default 60)")
    parser.add_argument("--hang", type=number, default=10, metavar="SECONDS", help="native: a scenario that takes longer hangs (default 10)")
    parser.add_argument("--stressors", type=number, default=os.cpu_count() or 1, metavar="N", help="native: of stress-ng (default: CPUs)")
    parser.add_argument("--points", action="append", type=source_lines, default=[], metavar="FILE:LINE[-LAST]",
                        help="plain and asan: plain accesses of these lines of QEMU's are points, too; may be repeated")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    options = parser.parse_intermixed_args(arguments)  # targets may follow options
    options.flavour = list(dict.fromkeys(options.flavour or ["plain"]))
    options.targets = list(dict.fromkeys(options.targets))
    build.check_names("flavour", options.flavour, list(qemubuild.FLAVOURS))
    build.check_names("target", options.targets, qemubuild.targets() + qemubuild.both_targets())
    if options.points and set(options.flavour) - set(qemubuild.POINTS_FLAVOURS):
        parser.error("--points goes with the flavours plain and asan: tsan sees a race of plain accesses itself, native has no points")
    if options.markdown and not options.starts:
        parser.error("--markdown goes with --starts: there is no table without")
    return options


# ---- starts

class LaneStart(detection.Start):
    """One start of a target: any finding counts, and the table says which."""

    def __init__(self, target, program, seed, seconds, folder):
        self.prefix = pathlib.Path(folder) / f"{target}-{seed}-"
        self.run = FuzzRun([program, f"-seed={seed}", f"-max_total_time={seconds}", "-print_final_stats=1",
                            f"-artifact_prefix={self.prefix}"])
        self.report = self.bytes = None

    def right(self):
        return self.report is not None

    def broken(self):
        """It ended by itself, before its time, and not because of what it found."""
        return self.report is None and self.run.status != 0 and not self.run.was_asked_to_stop()


def sentence(start):
    match = re.match(r"panic: [a-z-]+: (.*)", start.report.summary or "")
    return match[1] if match else start.report.summary


def counted(words):
    """The most frequent first: 'a x18, b x2'; a single one without its count."""
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    ordered = sorted(counts, key=lambda word: -counts[word])
    return ", ".join(ordered if len(ordered) == 1 else (f"{word} x{counts[word]}" for word in ordered)) or "-"


def row(target, flavour, starts):
    good = [start for start in starts if start.right()]
    executions = [start.executions() for start in good if start.executions() is not None]
    walls, inside = [start.wall_s() for start in good], [start.report.seconds for start in good if start.report.seconds is not None]

    def figure(function, values, shape):
        return shape(function(values)) if values else "-"

    return (target, flavour, f"{len(good)}/{len(starts)}", counted([start.verdict() for start in starts]),
            figure(statistics.median, executions, show.thousands), figure(max, executions, show.thousands),
            figure(statistics.median, walls, show.seconds), figure(max, walls, show.seconds),
            figure(statistics.median, inside, show.seconds), max(map(sentence, good), key=list(map(sentence, good)).count) if good else "-")


def starts_of(options, target, program, folder):
    wanted = [(target, program, seed) for seed in range(1, options.starts + 1)]
    try:
        return detection.run_starts(wanted, options.time, options.jobs, folder, start_class=LaneStart)
    except OSError as error:
        if error.errno in TOO_MANY:
            raise CannotRun(f"cannot run {options.jobs} of {target} at once: {error.strerror}; give less than --jobs {options.jobs}") from error
        raise CannotRun(f"cannot run {target}: {error.strerror}") from error


def start_all(options, flavours, names, kept, progress):
    """Rows of starts from an empty corpus, whether each found something, and why the last of these targets does not run (None: it does)."""
    rows, complete = [], True
    for flavour in flavours:
        for target in names:
            starts = starts_of(options, target, kept / flavour / target, kept)
            rows.append(row(target, flavour, starts))
            complete = complete and all(start.right() for start in starts)
            progress.say(f"{target} {flavour}: {rows[-1][2]}, {rows[-1][3]}")
            for start in filter(LaneStart.broken, starts):
                return rows, complete, f"{target} {flavour}: exit status {start.run.status}\n{last_lines(start.run.output(), 8)}".rstrip()
    return rows, complete, None


def stress_all(options, names, kept, progress):
    """Rows of starts on real threads. The stacks of the first thing that each target shows are printed."""
    rows = []
    with stress.stressed(options.stressors) as folder:
        for target in names:
            program = kept / "native" / f"{target}-replay"
            starts = [stress.run_start(program, seed, options.time, options.hang, folder) for seed in range(1, options.starts + 1)]
            rows.append((target, *stress.row("native", starts, options.hang)))
            progress.say("  ".join(map(str, rows[-1])))
            progress.say(next((start.output for start in starts if start.shown), "").rstrip())
    return rows


def print_tables(options, tables):
    print("\n\n".join(show.table(*table) for table in tables))
    if options.markdown:
        try:
            pathlib.Path(options.markdown).write_text("\n".join(show.markdown(*table) for table in tables), "utf-8")
        except OSError as error:
            raise CannotRun(f"cannot write {options.markdown}: {error.strerror}") from error


def run_starts(options, names, kept):
    tables, complete, broken, progress = [], True, None, show.Progress(sys.stderr)
    simulated = [flavour for flavour in options.flavour if flavour in qemubuild.SIMULATED]
    if simulated:
        rows, complete, broken = start_all(options, simulated, names, kept, progress)
        tables.append((HEADS, rows, RIGHT))
    if len(simulated) < len(options.flavour) and not broken:
        rows = stress_all(options, names, kept, progress)
        tables.append((("target", *stress.HEADS), rows, [column + 1 for column in stress.RIGHT]))
    print_tables(options, tables)
    if broken:
        raise CannotRun(broken)
    return 0 if complete else 1


def say(text):
    print(f"tools/qemu-lane: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def building():
    """What goes wrong with files here is one line."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads what we print
    except OSError as error:
        check_disk(BUILD)
        raise CannotRun(f"cannot build in {BUILD}: {error.strerror} ({error.filename})") from error


@contextlib.contextmanager
def folder_for_starts():
    """On the disk of the builds."""
    with building():
        BUILD.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="wakefuzz-", dir=BUILD, ignore_cleanup_errors=True)
    with folder:
        yield pathlib.Path(folder.name)


def build_all(options, source, version, names, kept):
    """kept: where the programs are as well, as FLAVOUR/PROGRAM, for starts: others may take their places meanwhile; or None."""
    with building():
        for flavour in options.flavour:
            place = qemubuild.build_objects(source, version, flavour, options.jobs, say)
            if kept:
                (kept / flavour).mkdir()
            qemubuild.link_targets(source, place, flavour, names, options.points, say, kept and kept / flavour)
            for target in names:
                print(relative(qemubuild.program(place, target, flavour not in qemubuild.SIMULATED, options.points)))


def main(arguments):
    options = parse(arguments)
    source, version = qemubuild.check_source(options.source)
    qemubuild.check_points(source, options.points)
    names = []
    for target in options.targets or qemubuild.targets():
        missing = qemubuild.missing_for(source, target)
        if not missing:
            names.append(target)
        elif options.targets:
            raise CannotRun(f"QEMU {version} has not what {target} attacks: {missing}")
        else:
            say(f"{target} is left out, as QEMU {version} has not what it attacks: {missing}")
    if not names:
        raise CannotRun(f"QEMU {version} has nothing that the lane attacks")
    qemubuild.check_needs()
    if not options.starts:
        build_all(options, source, version, names, None)
        return 0
    with folder_for_starts() as kept:
        build_all(options, source, version, names, kept)
        return run_starts(options, names, kept)


if __name__ == "__main__":
    run_main("tools/qemu-lane", main, sys.argv[1:])
