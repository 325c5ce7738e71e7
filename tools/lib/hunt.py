"""
tools/hunt: build the targets, fuzz them, list what was found.

Exit status: 0 nothing was found, 1 findings, 2 it could not run.
"""

import argparse
import base64
import collections
import configparser
import contextlib
import fcntl
import os
import random
import selectors
import shutil
import signal
import sys
import time

import build
import findings
import show
from common import BUILD, ROOT, CannotRun, check_disk, last_lines, relative, run_main, take_signals
from fuzzrun import FuzzRun

HEADS = ("target", "flavour", "executions", "exec/s", "coverage", "corpus", "findings", "again")
RIGHT = (2, 3, 4, 5, 6, 7)
DEFAULT_FLAVOURS = ("asan", "tsan")
EARLIER_LISTED = 10
ENDED_BY_US = (-signal.SIGUSR1, -signal.SIGKILL)  # the first where libFuzzer had not yet taken the signal over


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise CannotRun(f"{message} (tools/hunt --help lists the options)")


def positive(text):
    value = int(text) if text.isdigit() else 0
    if not 0 < value < 1 << 31:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 to {(1 << 31) - 1}")
    return value


def parse(arguments):
    parser = Parser(prog="tools/hunt", allow_abbrev=False, description="Build the fuzz targets and hunt for bugs in the core.",
                    epilog="Exit status: 0 nothing found, 1 findings (each with its file and replay command), 2 could not run.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="what to fuzz (default: every target)")
    parser.add_argument("--time", type=positive, default=60, metavar="SECONDS", help="for each target and flavour (default 60)")
    parser.add_argument("--flavour", action="append", metavar="F", help="may be repeated (default: asan and tsan; for a fault asan)")
    parser.add_argument("--fault", action="append", metavar="NAME",
                        help="hunt a bug that tests/faults/NAME.patch puts into the core, from an empty corpus; may be repeated")
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="fuzzers at once (default: CPUs)")
    parser.add_argument("--seed", type=positive, default=None, metavar="N", help="of libFuzzer (default: drawn, and printed)")
    parser.add_argument("--json", action="store_true", help="print the table as an array of objects, and all else to stderr")
    parser.add_argument("--keep-going", action="store_true", help="after a finding go on until the time is up")
    options = parser.parse_args(arguments)

    usable = build.hunting_flavours()
    options.targets, options.fault = list(dict.fromkeys(options.targets)), list(dict.fromkeys(options.fault or []))
    options.flavour = list(dict.fromkeys(options.flavour or (DEFAULT_FLAVOURS[:1] if options.fault else DEFAULT_FLAVOURS)))
    build.check_names("flavour", options.flavour, usable)
    build.check_names("target", options.targets, build.targets())
    build.check_names("fault", options.fault, build.faults())
    if options.fault and options.targets:
        raise CannotRun("give targets or --fault, not both: a fault names its own target")
    return options


def target_options(target):
    """What fuzz/TARGET.options says to libFuzzer: the file that ClusterFuzz reads too."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "fuzz" / f"{target}.options")
    options = dict(parser.items("libfuzzer")) if parser.has_section("libfuzzer") else {}
    if "dict" in options:
        options["dict"] = ROOT / "fuzz" / options["dict"]  # ClusterFuzz has both files beside the program
    return [f"-{key}={value}" for key, value in options.items()]


class Hunt:
    """One target or fault in one flavour: as many runs of its program as fit into the time."""

    def __init__(self, flavour, name, fault, options, seed):
        self.flavour, self.name = flavour, name
        self.target, self.fault = (None, name) if fault else (name, None)
        self.seconds, self.keep_going, self.seed = options.time, options.keep_going, seed
        self.run = None
        self.left_s = float(options.time)
        self.executions = self.fuzzed_s = 0
        self.coverage = self.corpus = None
        self.found = []     # (Kept, Report), in order, what was found again, too
        self.trouble = None  # why it could not run
        self.done = False

    def label(self):
        return f"{self.name} {self.flavour}"

    def distinct(self):
        """[(Kept, Report, how often)]: what has verdict and root cause of another one is that one again."""
        times = collections.Counter(kept.repeats or kept.path or id(kept) for kept, _ in self.found)
        first = {}
        for kept, report in self.found:
            first.setdefault(kept.repeats or kept.path or id(kept), (kept, report))
        return [(kept, report, times[place]) for place, (kept, report) in first.items()]

    def start(self):
        place = findings.folder(findings.RUNS / f"{self.flavour}-{self.name}")
        corpus = findings.HUNT / "corpus" / f"{self.flavour}-{self.name}"
        command = [build.program(self.flavour, self.target, self.fault), f"-max_total_time={max(1, round(self.left_s))}",
                   "-print_final_stats=1", "-reload=0", f"-artifact_prefix={place}/", f"-seed={self.seed}"]
        if self.fault:
            shutil.rmtree(corpus, ignore_errors=True)
        else:
            command += target_options(self.target)
        command.append(findings.folder(corpus))
        if not self.fault and (ROOT / "corpus" / self.target).is_dir():
            command.append(ROOT / "corpus" / self.target)
        try:
            self.run = FuzzRun(command, place / "log")
        except OSError as error:
            raise CannotRun(f"cannot start {relative(command[0])}: {error.strerror}") from error

    def finish(self, interrupted):
        """The program has ended. True: start it once more."""
        run = self.run
        report = run.found()
        self.executions += run.executions or 0
        self.fuzzed_s += run.ended - (run.fuzzing_since or run.started)
        self.coverage, self.corpus = run.coverage or self.coverage, run.corpus or self.corpus
        self.left_s -= run.seconds()
        if report:
            self.found.append((findings.keep(self.flavour, self.name, report), report))
        elif run.status != 0 and not (interrupted and run.status in ENDED_BY_US):
            self.trouble = f"exit status {run.status}:\n{last_lines(run.output(), 12)}"
        self.seed = self.seed % 0x7ffffffe + 1
        self.done = interrupted or not (report and self.keep_going and self.left_s >= 1)
        return not self.done

    def progress(self):
        run = self.run
        rate = run.executions_per_second()
        return (f"{self.label()}: {run.seconds():.0f}/{self.seconds} s, {show.thousands(run.executions)} executions, "
                f"{show.thousands(rate)}/s, coverage {show.thousands(run.coverage)}, corpus {show.thousands(run.corpus)}"
                + (f", {len(self.distinct())} found" if self.found else ""))

    def row(self):
        rate = self.executions / self.fuzzed_s if self.executions and self.fuzzed_s > 0.05 else None
        return (self.name, self.flavour, show.thousands(self.executions), show.thousands(rate), show.thousands(self.coverage),
                show.thousands(self.corpus), "could not run" if self.trouble else len(self.distinct()), len(self.found) - len(self.distinct()))


def describe(hunt, kept, report, times=1):
    """What a person needs of one finding: its file, its summary, its replay command; and its bytes where no disk took them."""
    path = kept.repeats or kept.path
    lines = [f"  {relative(path) if path else '(not on disk)'}", f"    {report.summary}"]
    if kept.repeats or times > 1:
        known = "known from an earlier hunt, " if kept.repeats else ""
        lines.append(f"    {known}found {times} time{'s' * (times > 1)}; what repeats it is in {relative(findings.REPEATS)}")
    if path:
        lines.append(f"    replay: {findings.replay_command(hunt.flavour, hunt.target, hunt.fault, path)}")
    elif (data := report.input()) is not None:
        lines.append(f"    the input, in base64: {base64.b64encode(data).decode()}")
    else:
        lines.append("    the input is lost: too long for libFuzzer to print; --seed repeats the hunt")
    return "\n".join(lines)


class Supervisor:
    """Runs the hunts, a few at a time, until all are done or somebody interrupts."""

    def __init__(self, hunts, jobs, progress):
        self.waiting, self.jobs, self.progress = list(hunts), jobs, progress
        self.selector = selectors.DefaultSelector()
        self.running = []
        self.interrupted = False

    def interrupt(self, *_):
        self.interrupted = True

    def loop(self):
        take_signals(self.interrupt)
        while self.running or (self.waiting and not self.interrupted):
            while self.waiting and len(self.running) < self.jobs and not self.interrupted:
                self.begin(self.waiting.pop(0))
            for key, _ in self.selector.select(0.2):
                self.take(key.data)
            if self.interrupted:
                for hunt in self.running:
                    hunt.run.stop()
            if self.running and self.progress.due():
                self.progress.update([hunt.progress() for hunt in self.running])

    def begin(self, hunt):
        hunt.start()
        self.running.append(hunt)
        self.selector.register(hunt.run, selectors.EVENT_READ, hunt)

    def take(self, hunt):
        run = hunt.run
        descriptor = run.fileno()
        if run.read():
            return
        self.selector.unregister(descriptor)
        self.running.remove(hunt)
        found_before = len(hunt.found)
        again = hunt.finish(self.interrupted)
        for kept, report in hunt.found[found_before:]:
            self.announce(hunt, kept, report)
        if again:
            self.begin(hunt)

    def announce(self, hunt, kept, report):
        again = f" again: {kept.repeats.name}," if kept.repeats else ""
        self.progress.say(f"{hunt.label()}: found{again} after {show.thousands(hunt.run.executions)} executions")
        if report.artifact and hash_fits_not(report.artifact):
            self.progress.say(f"  could not write {relative(report.artifact)}: "
                              f"{shutil.disk_usage(report.artifact.parent).free >> 10} KiB free there (disk full?)")
        if kept.path is None:
            self.progress.say(last_lines(report.text, 400))
        self.progress.say(f"  {report.summary}")


def hash_fits_not(path):
    """A file of this name is there, but not with its contents. (A finding that was kept is no longer there.)"""
    return findings.hash_fits(path) is False


def tell_earlier():
    taken, left = findings.take_over()
    for kept in taken:
        print(f"taken over from a hunt that was killed: {relative(kept.path)}" + (f", {kept.repeats.name} again" if kept.repeats else ""))
    for path, reason in left:
        print(f"left where a hunt that was killed had put it: {relative(path)}: {reason}; the next hunt tries again")
    kept = findings.earlier()
    if kept:
        print(f"{len(kept)} finding{'s' * (len(kept) > 1)} of earlier hunts in {relative(findings.FINDINGS)}" +
              (f", the last {EARLIER_LISTED}:" if len(kept) > EARLIER_LISTED else ":"))
        for path in kept[-EARLIER_LISTED:]:
            print(f"  {relative(path)}")


def build_all(options):
    for flavour in options.flavour:
        print(f"building {flavour}", flush=True)
        paths = [build.program(flavour, fault=name) for name in options.fault]
        paths += [build.program(flavour, fault=name, replay=True) for name in options.fault]
        if not options.fault:
            paths = [build.program(flavour, name, replay=replay) for name in options.targets for replay in (False, True)]
        build.build(flavour, [build.goal(flavour, path) for path in paths], lambda text: print(text, flush=True))


def only_hunt():
    """Two hunts in one folder would take over each other's findings. Returns what must stay open."""
    path = findings.folder(findings.HUNT) / ".lock"
    try:
        lock = open(path, "w", encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"cannot hunt in {relative(findings.HUNT)}: {path.name}: {error.strerror}; WAKEFUZZ_BUILD names another folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CannotRun(f"another hunt is at work in {relative(findings.HUNT)}; wait for it, or set WAKEFUZZ_BUILD") from error
    return lock


def main(arguments):
    options = parse(arguments)
    if options.json:
        with contextlib.redirect_stdout(sys.stderr):
            status, rows = hunt(options)
        print(show.json_rows(HEADS, rows))
        return status
    return hunt(options)[0]


def hunt(options):
    """Returns the exit status and the rows of the table."""
    options.targets = options.targets or build.targets()
    build.ensure_setup()
    check_disk(BUILD)
    lock = only_hunt()
    build_all(options)
    findings.folder(findings.FINDINGS)
    tell_earlier()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    hunts = []
    for name in options.fault or options.targets:
        for flavour in options.flavour:
            hunts.append(Hunt(flavour, name, bool(options.fault), options, seed + len(hunts)))
    print(f"hunting: {len(hunts)} x {options.time} s, {min(options.jobs, len(hunts))} at once, seed {seed}", flush=True)
    progress = show.Progress(sys.stdout)
    supervisor = Supervisor(hunts, options.jobs, progress)
    started = time.monotonic()
    supervisor.loop()
    started_hunts = [hunt for hunt in hunts if hunt.run]
    progress.say("")
    progress.say(show.table(HEADS, [hunt.row() for hunt in started_hunts], RIGHT))
    for hunt in started_hunts:
        if hunt.found:
            print(f"\n{hunt.label()}:")
        for kept, report, times in hunt.distinct():
            print(describe(hunt, kept, report, times))
        if hunt.trouble:
            print(f"\n{hunt.label()} could not run, {hunt.trouble}")
    if supervisor.interrupted:
        print(f"\ninterrupted after {time.monotonic() - started:.0f} s")
    lock.close()
    sys.stdout.flush()
    rows = [hunt.row() for hunt in started_hunts]
    if any(hunt.found for hunt in hunts):
        return 1, rows
    if any(hunt.trouble for hunt in hunts) or not any(hunt.executions for hunt in hunts):
        return 2, rows
    return 0, rows


if __name__ == "__main__":
    run_main("tools/hunt", main, sys.argv[1:])
