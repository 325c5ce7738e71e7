"""
tools/check: every test there is, counted.

Exit status: 0 all passed, 1 some failed, 2 it could not run. The last line of the output is "N passed, N failed".
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import resource
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor, wait

import build
import conform
import detection
import merging
import orders
import ossfuzz
import qemubuild
import stress
import tidy
from common import BUILD, POLL_S, ROOT, CannotRun, call, check_disk, last_lines, relative, run_main
from findings import ARTIFACTS
from replaying import LINE, Comparison, corpus_files, replay
from shows import cases as shown_cases
from windows import cases as window_cases

CPUS = os.cpu_count() or 1
SIMULATED = ("plain", "asan", "tsan")
HUNTED = "asan"  # the flavour in which faults are looked for; what is found there is replayed in all of them
SHOWN_LINES = 30
CONFORM_INPUTS = 300  # for each scenario of fuzz/both
REWOUND_INPUTS = 200  # of each target of the lane
HUNT_S, HUNT_LEAST_S = 60, 4  # the short hunt, all of it; and for one target
OSS_FUZZ_S = 2  # for each target: that it runs there is the question
# Processes for each fault and flavour, beside the one that tells whether it comes to its end there; tests/corpus/replay --fault makes more.
CRASHER_REPLAYS = 1


def processor_time():
    """Seconds of processors that this process and those that it has waited for have used."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Tally:
    """What passed, what failed, what was not run and why. Nothing is left out in silence. A part of one keeps what it has to say for the end."""

    def __init__(self, part=False):
        self.passed, self.failed, self.not_run = 0, [], []
        self.kept = [] if part else None

    @contextlib.contextmanager
    def section(self, name):
        started, used_before = time.monotonic(), processor_time()
        print(f"== {name}", flush=True)
        with self.to_its_end(name):
            yield
        print(f"   {time.monotonic() - started:.0f} s, {processor_time() - used_before:.0f} s of processors", flush=True)

    @contextlib.contextmanager
    def to_its_end(self, name):
        """What cannot go on in here is a case that failed; what comes after it is not in its way."""
        try:
            yield
        except (CannotRun, OSError) as error:
            self.case(f"{name}: ran to its end", False, str(error))

    def say(self, text):
        if self.kept is None:
            print(text, flush=True)
        else:
            self.kept.append(text)

    def case(self, name, good, detail=""):
        if good:
            self.passed += 1
            return
        self.failed.append(name)
        self.say(f"   FAILED {name}" + (f"\n{last_lines(detail, SHOWN_LINES)}" if detail else ""))

    def leave_out(self, name, reason):
        self.not_run.append(f"{name}: {reason}")

    def together(self, tasks):
        """Call each of tasks with a part of this tally, as many at once as there are processors; the longest should come first."""
        def run(task):
            part = Tally(part=True)
            with part.to_its_end("each part"):
                task(part)
            return part

        with ThreadPoolExecutor(CPUS) as pool:
            try:
                for future in [pool.submit(run, task) for task in tasks]:
                    while not wait([future], POLL_S).done:
                        pass  # a signal that comes just before a sleep is handled after it
                    self.add(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def add(self, part):
        for text in part.kept:
            self.say(text)
        self.passed += part.passed
        self.failed += part.failed
        self.not_run += part.not_run

    def finish(self):
        for line in self.not_run:
            print(f"not run: {line}")
        for name in self.failed:
            print(f"failed: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0


# ---- builds and their tests

def goals_of(flavour, faults):
    """
    What to build of a flavour. In plain all programs of all faults: each patch is to compile, and tests of the wakefuzz command hunt some of
    them there. Elsewhere those that are run: crashers are replayed in all flavours, and looked for in one.
    """
    if flavour == "plain" and faults:
        return ["all", "faults"]
    return ["all"] + [build.goal(flavour, build.program(flavour, fault=name, replay=replay)) for name in faults
                      for replay in ((False, True) if flavour == HUNTED else (True,))]


def build_flavours(tally, names, faults):
    """Returns those that could be built. Compiler warnings are errors in all of them."""
    built = []
    for name in names:
        try:
            if name == "gcc":
                with build.build_lock(name) as lock:
                    build.configure(name, "-Dflavour=plain", "-Dlibfuzzer=false", lock=lock, environment={"CC": "gcc"})
                    build.ninja(name, [], lock)
            else:
                build.build(name, goals_of(name, faults) if name in SIMULATED else [])
            built.append(name)
            tally.case(f"build {name}", True)
        except CannotRun as error:
            tally.case(f"build {name}", False, str(error))
    return built


def junit_cases(path):
    """(name, "passed" | "failed" | "skipped", detail) of each test case, those inside of TAP programs too."""
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            name = f"{suite.get('name')}: {case.get('name')}"
            bad = case.find("failure") if case.find("failure") is not None else case.find("error")
            if bad is not None:
                said = [bad.text or bad.get("message") or ""] + [element.text or "" for element in case.iter() if "system" in element.tag]
                yield name, "failed", "\n".join(text.strip() for text in said if text.strip())
            elif case.find("skipped") is not None:
                yield name, "skipped", ""
            else:
                yield name, "passed", ""


def programs_that_failed(path):
    """(name, what it printed) of each test program that Meson calls neither good nor skipped; what went to stderr comes last."""
    for line in path.read_text().splitlines():
        test = json.loads(line)
        if test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP"):
            said = [f"{test['result']}, exit status {test['returncode']}", test.get("stdout", ""), test.get("stderr", "")]
            yield test["name"], "\n".join(text.strip() for text in said if text.strip())


def meson_tests(tally, name):
    log = BUILD / name / "meson-logs" / "testlog.junit.xml"
    log.unlink(missing_ok=True)
    status, output = call(["meson", "test", "-C", BUILD / name, "--no-rebuild", "--print-errorlogs", "--num-processes", CPUS,
                           "--timeout-multiplier", 4])
    if not log.exists():
        tally.case(f"{name}: meson test", False, output)
        return
    count = failures = 0
    for case, result, detail in junit_cases(log):
        if result == "skipped":
            tally.leave_out(f"{name}: {case}", "the test itself says so")
        else:
            tally.case(f"{name}: {case}", result == "passed", detail)
            failures += result == "failed"
        count += 1
    if status and not failures:  # no case owns up to it: a sanitizer has reported something, or the end was another than it should be
        programs = list(programs_that_failed(log.with_name("testlog.json")))
        for program, said in programs or [("meson test", output)]:
            tally.case(f"{name}: {program}", False, said)
    tally.say(f"   {name}: {count} cases")


# ---- replay

def replay_corpus(tally, flavours, runs, processes):
    for target in build.targets():
        files = corpus_files(target)
        if not files:
            tally.case(f"corpus {target}", False, f"corpus/{target} has no files")
            continue
        comparison = Comparison(files)
        for flavour in flavours:
            comparison.add(flavour, build.program(flavour, target, replay=True), runs, processes)
        for trouble in comparison.trouble:
            tally.case(f"corpus {target}: replay", False, trouble)
        differing = dict(comparison.differing())
        for path in comparison.files:
            verdicts = comparison.verdicts(path)
            tally.case(f"corpus {relative(path)}: one hash, no finding", path not in differing and verdicts == ["none"],
                       differing.get(path, ", ".join(verdicts)))


def nothing_too_many(tally):
    """What a merge would take away stays only where it shows something."""
    tally.together([lambda part, target=target: part.case(*merging.case(target)) for target in build.targets()])


def windows_entered(tally, flavour):
    for target in build.targets():
        for name, good, said in window_cases(target, build.program(flavour, target, replay=True)):
            tally.case(name, good, said)


# ---- faults

def fault_starts(tally, names, seconds, replays):
    """Each fault is found by the first start; its input is the same finding, by the same trace hash, in all flavours of ours."""
    with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
        starts = detection.run_starts([(name, HUNTED, 1) for name in names], seconds, min(2, CPUS), folder)
        tally.together([lambda part, start=start: judge_start(part, start, replays) for start in sorted(starts, key=lambda start: start.fault)])


def judge_start(tally, start, replays):
    tally.case(f"fault {start.fault} found in {HUNTED}", start.right(), f"{start.verdict()}\n{start.run.output()[-3000:]}")
    if start.right():
        missed = start.cause_missed()
        if start.has_cause():
            tally.case(f"fault {start.fault}: the report names the cause", not missed,
                       f"{' and '.join(missed)} not named:\n{start.report.text_from_first_line()}")
        replay_crasher(tally, start, replays)


def replay_crasher(tally, start, replays):
    """A process for each replay: one that has a finding is of no use for a second."""
    comparison, stopped = Comparison([start.crasher()]), False
    for flavour in SIMULATED:
        path = build.program(flavour, fault=start.fault, replay=True)
        summary = stopped_by_sanitizer(path, start.crasher())
        if summary:
            stopped = True
            tally.leave_out(f"fault {start.fault}: replay in {flavour}", f"the sanitizer ends the process before: {summary}")
            continue
        comparison.add(flavour, path, replays, replays)
    bad = comparison.trouble + [seen for _, seen in comparison.differing()]
    silent = not stopped and comparison.verdicts(start.crasher()) == ["none"]
    tally.case(f"fault {start.fault}: its input has one hash, and is a finding", not bad and not silent, "\n".join(bad or ["no finding"]))


def stopped_by_sanitizer(path, crasher):
    """The summary of the sanitizer's report that ends a replay before its result is printed; None where it is printed."""
    lines, trouble = replay(path, [crasher], 1)
    match = re.search(r"SUMMARY: (?:Address|Thread|UndefinedBehavior)Sanitizer: .*", trouble or "")
    return match[0] if match and not lines else None


# ---- the fixed core stays silent

def short_hunt(tally, flavours):
    """About HUNT_S seconds in all, however many targets there are. The seed is fixed: a check judges a change, the same way each time;
    tools/hunt by itself looks for what is new."""
    seconds = max(HUNT_LEAST_S, HUNT_S * CPUS // (len(build.targets()) * len(flavours)))
    arguments = [ROOT / "tools" / "hunt", "--time", seconds, "--seed", 1]
    for flavour in flavours:
        arguments += ["--flavour", flavour]
    status, output = call(arguments)
    tally.case(f"tools/hunt finds nothing in {seconds} s a target in {' and '.join(flavours)}", status == 0, output)


# ---- OSS-Fuzz, played

def oss_fuzz(tally):
    """What OSS-Fuzz builds for one sanitizer is as it wants it. Returns the task that runs each target in its sandbox; tests/oss-fuzz/play does more."""
    folder = ossfuzz.build("address", "19")
    good, said = ossfuzz.strict(folder, "address")
    tally.case("oss-fuzz/build.sh, strictly checked", good, said)

    def sandbox(part):
        try:
            ossfuzz.require_sandbox()
        except CannotRun as error:
            part.leave_out("targets in OSS-Fuzz's sandbox", str(error))
            return
        for target in build.targets():
            _, _, trouble = ossfuzz.fuzz(folder, target, "address", "19", OSS_FUZZ_S)
            part.case(f"{target} in OSS-Fuzz's sandbox", not trouble, trouble or "")
    return sandbox


# ---- the sources themselves

def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.[ch]"))


def formatting(tally):
    files = sources("src", "fuzz", "tests")
    status, output = call(["clang-format-19", "--dry-run", "--Werror", *files])
    tally.case(f"clang-format: {len(files)} files", status == 0, output)


def clang_tidy(tally, flavour):
    """One case for all files: a warning of clang-tidy is no test."""
    files, remembered, left_out, said = tidy.look(flavour, CPUS)
    tally.case(f"clang-tidy: {len(files)} files", not said, "\n".join(said))
    print(f"   clang-tidy: {len(files)} files, {remembered} of them silent before and unchanged", flush=True)
    for path in left_out:
        tally.leave_out(f"clang-tidy {relative(path)}", f"it is not compiled in flavour {flavour}")


def documents(tally):
    """Programs shown in the documents compile, and what they refer to exists."""
    example = (ROOT / "docs" / "writing-a-target.md").read_text("utf-8").split("```c\n")[1].split("```")[0]
    _, glib = call(["pkg-config", "--cflags", "glib-2.0"])
    with tempfile.NamedTemporaryFile("w", suffix=".c", encoding="utf-8") as file:
        file.write(example)
        file.flush()
        status, output = call(["clang-19", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", ROOT,
                               "-I", ROOT / "src", *glib.split(), file.name])
    tally.case("docs/writing-a-target.md: the target compiles", status == 0, output)
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
        missing = [link for link in links if not (path.parent / link).exists()]
        tally.case(f"{relative(path)}: links", not missing, ", ".join(missing))


def order_comments(tally):
    count, wrong = orders.check(build.faults())
    tally.case(f"{count} ORDER comments name what exists", not wrong, "\n".join(wrong))


def scripts(tally):
    for path in ("tools/setup", "tools/hunt", "tools/qemu-lane", "tools/check", "tools/wakefuzz", ".ci/run", "tests/faults/list",
                 "tests/faults/apply", "tests/sanitizers/bites", "oss-fuzz/build.sh", "oss-fuzz/run_tests.sh"):
        status, output = call(["sh", "-n", ROOT / path])
        tally.case(f"sh -n {path}", status == 0, output)


def python_tests(*folders):
    """Tasks: the files of tests in Python, each in a process of its own, the longest text first."""
    files = sorted((path for folder in folders for path in (ROOT / "tests" / folder).glob("*_test.py")), key=lambda path: -path.stat().st_size)
    return [lambda part, path=path: python_test(part, path) for path in files]


def python_test(tally, path):
    started = time.monotonic()
    status, output = call([sys.executable, "-B", ROOT / "tools" / "lib" / "unittests.py", path])
    try:
        result = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        tally.case(relative(path), False, f"exit status {status}\n{output}")
        return
    tally.passed += result["passed"]
    if not any(result.values()):
        tally.case(f"{relative(path)} holds a test", False)
    for test, trace in result["failed"].items():
        tally.case(test, False, trace)
    for test, reason in result["skipped"].items():
        tally.leave_out(test, reason)
    tally.say(f"   {relative(path)}: {result['passed']} passed, {time.monotonic() - started:.0f} s")


def rates(tally):
    """What performance.md was measured with still measures. The figures are not looked at: machines differ."""
    status, output = call([ROOT / "tests" / "bench" / "rates", "--flavour", "plain", "--seconds", 0.05, build.targets()[0]])
    tally.case("tests/bench/rates measures", status == 0 and re.search(r"^\S+ +plain( +[\d,]+){5}$", output, re.MULTILINE), output)


# ---- the lane: QEMU's own code, where sources are given

def stamps(folder):
    """What would show a write into a tree."""
    return {path: path.lstat().st_mtime_ns for path in pathlib.Path(folder).rglob("*")}


def lane_programs(output, folder=qemubuild.OURS_FOLDER):
    """The programs that tools/qemu-lane has printed; with its own name before them are other things."""
    return [ROOT / line for line in output.splitlines() if pathlib.Path(line).parent.name == folder and not line.startswith("tools/qemu-lane: ")]


def lane(tally, source):
    """The lane builds from these sources and leaves them alone; its targets replay exactly, and so does what they find."""
    before = stamps(source)
    status, output = call([ROOT / "tools" / "qemu-lane", source])
    tally.case(f"tools/qemu-lane {source}", status == 0, output)
    after = stamps(source)
    changed = [str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    tally.case(f"tools/qemu-lane {source} writes nothing there", not changed, "\n".join(changed[:SHOWN_LINES]))
    if status:
        return
    programs = lane_programs(output)
    tally.case(f"tools/qemu-lane {source} names its programs", programs, output)
    for program in programs:
        with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
            lane_target(tally, f"{program.name} on {source}", program, pathlib.Path(folder))


def lane_flavours(tally, source):
    """Real threads run the lane's scenarios; under TSan an execution has one hash."""
    target = "qemu_co_sleep"
    status, output = call([ROOT / "tools" / "qemu-lane", source, "--flavour", "native", "--flavour", "tsan", target])
    tally.case(f"tools/qemu-lane {source} --flavour native --flavour tsan {target}", status == 0, output)
    if status:
        return
    programs = lane_programs(output)
    tally.case(f"tools/qemu-lane {source} names a program of each flavour", len(programs) == 2, output)
    if len(programs) != 2:
        return
    native, tsan = programs
    with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
        try:
            start = stress.run_start(native, 1, 5, 10, folder)  # it may find what the tree has
            tally.case(f"{native.name} native on {source}: scenarios are run", start.shown or start.runs, start.output)
        except CannotRun as error:
            tally.case(f"{native.name} native on {source}", False, str(error))
        empty = pathlib.Path(folder) / "empty"
        empty.touch()
        lane_replay(tally, f"{tsan.name} tsan on {source}: the empty input has one hash", tsan, empty, ["none"])


def lane_points(tally, source):
    """Plain accesses of whole files, one of which is linked from an archive, are points: more steps, and as exact."""
    target, points = "qemu_co_sleep", []
    for file in ("util/qemu-coroutine-sleep.c", "block/graph-lock.c"):
        lines = (pathlib.Path(source) / file).read_text("utf-8", "replace").count("\n")
        points += ["--points", f"{file}:1-{lines}"]
    status, output = call([ROOT / "tools" / "qemu-lane", source, *points, target])
    tally.case(f"tools/qemu-lane {source} {' '.join(points)} {target}", status == 0, output)
    if status:
        return
    programs = lane_programs(output, qemubuild.POINTS_FOLDER)
    tally.case(f"tools/qemu-lane {source} names a program with points", len(programs) == 1, output)
    if len(programs) != 1:
        return
    program = programs[0]
    with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
        empty = pathlib.Path(folder) / "empty"
        empty.touch()
        said = [call([f"{path}-replay", "-q", empty])[1] for path in (program.parents[1] / qemubuild.OURS_FOLDER / target, program)]
        steps = [int(number) for number in re.findall(r"steps=(\d+)", "\n".join(said))]
        tally.case(f"{program.name} with points on {source}: has more steps", len(steps) == 2 and steps[1] > steps[0], "\n".join(said))
        lane_rewinds(tally, f"{program.name} with points on {source}", program, pathlib.Path(folder))


def conformance(tally, source):
    """Core and QEMU do the same."""
    try:
        tree, _ = qemubuild.check_source(source)
        targets = []
        for target in qemubuild.both_targets():
            other = qemubuild.missing_for(tree, target, qemubuild.AGREES)
            if other:
                tally.leave_out(f"{target} on {source}", f"known to differ there: {other}")
            else:
                targets.append(target)
        place = conform.build_both(source, targets, CPUS, lambda text: None)
    except CannotRun as error:
        tally.case(f"tests/conform on {source}", False, str(error))
        return
    with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
        paths = conform.make_inputs(pathlib.Path(folder), CONFORM_INPUTS, 1)
        for agreement in conform.compare_all(place, targets, paths):
            tally.case(f"{agreement.target} on {source}: {len(paths)} inputs, one history", not agreement.differing,
                       "\n".join(f"{pathlib.Path(path).name}: {conform.first_difference(core, qemu)}"
                                 for path, core, qemu in agreement.differing))


def lane_target(tally, name, program, folder):
    empty = folder / "empty"
    empty.touch()
    lane_replay(tally, f"{name}: the empty input has one hash", program, empty, None)  # and a finding, where the tree has a bug for it
    lane_rewinds(tally, name, program, folder)
    status, output = call([program, "-max_total_time=20", "-seed=1", f"-artifact_prefix={folder}/"])
    tally.case(f"{name}: fuzzing ends well, or with an input", status == 0 or any(path.name.startswith(ARTIFACTS) for path in folder.iterdir()),
               f"exit status {status}\n{output}")
    for found in folder.glob("crash-*"):
        verdict = re.search(r"panic: ([a-z-]+):", output)
        if verdict:
            lane_replay(tally, f"{name}: what it finds has one hash", program, found, [verdict[1]])
        else:
            tally.leave_out(f"{name}: what it finds has one hash", "a sanitizer or a signal ended the execution before it had one")


def lane_rewinds(tally, name, program, folder):
    """What many executions in one process show, each shows in a process of its own."""
    draw, paths = random.Random(1), []
    for number in range(REWOUND_INPUTS):
        paths.append(folder / f"random-{number:04}")
        paths[-1].write_bytes(draw.randbytes(draw.randint(0, 200)))
    command = [f"{program}-replay", "--quiet", *paths]
    one, each = (output_lines(call(command, env={**os.environ, **more})[1]) for more in ({}, {"WAKEFUZZ_FORK": "1"}))
    tally.case(f"{name}: {len(paths)} inputs in one process are what they are in processes of their own", len(one) == len(paths) and one == each,
               "\n".join(sorted(one ^ each)[:SHOWN_LINES]))


def output_lines(output):
    return {line for line in output.splitlines() if LINE.match(line)}


def lane_replay(tally, name, program, path, verdicts):
    comparison = Comparison([path])
    comparison.add("plain", pathlib.Path(f"{program}-replay"), 4, 2)
    bad = comparison.trouble + [seen for _, seen in comparison.differing()]
    tally.case(name, not bad and verdicts in (None, comparison.verdicts(path)), "\n".join(bad) or ", ".join(comparison.verdicts(path)))


# ---- all of it

class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise CannotRun(f"{message} (tools/check --help lists the options)")


def parse(arguments):
    parser = Parser(prog="tools/check", allow_abbrev=False, description="Build everything, run every test, count.",
                    epilog="Exit status: 0 all passed, 1 some failed, 2 could not run.")
    parser.add_argument("--quick", action="store_true", help="under 3 minutes: plain and asan only, fewer replays, no clang-tidy")
    parser.add_argument("--qemu-src", action="append", metavar="DIR", default=[],
                        help="QEMU's sources: tests the lane on them (default: WAKEFUZZ_QEMU_SRC); may be repeated")
    return parser.parse_args(arguments)


QUICK = "left out by --quick"


def run(tally, quick, trees):
    flavours = ("plain", "asan") if quick else SIMULATED
    everything = flavours if quick else SIMULATED + ("native", "gcc")
    faults = [name for name in build.faults() if name not in build.unseen_faults()]

    built = []
    with tally.section("builds: " + ", ".join(everything)):
        built = build_flavours(tally, everything, [] if quick else faults)
    if not built:
        return
    with tally.section("meson test"):
        slowest_first = sorted(built, key=lambda name: name != "tsan")
        tally.together([lambda part, name=name: meson_tests(part, name) for name in slowest_first])
    if all(name in built for name in flavours):
        run_programs(tally, quick, flavours, faults)
    else:
        tally.case("corpus, faults and hunt", False, "not all flavours could be built")
    if trees:
        with tally.section("the lane: " + ", ".join(trees)):
            for tree in trees:
                run_lane(tally, quick, tree)
    else:
        tally.leave_out("the lane", "no sources of QEMU are given (--qemu-src DIR, or WAKEFUZZ_QEMU_SRC)")
    if quick:
        with tally.section("the tools"):
            tally.together(python_tests("tools"))
    with tally.section("sources and scripts"):
        run_sources(tally, quick, built)


def run_programs(tally, quick, flavours, faults):
    """What takes the targets of all these flavours."""
    runs, processes = (10, 2) if quick else (100, 4)
    with tally.section(f"corpus: {runs} replays a file and flavour"):
        replay_corpus(tally, flavours, runs, processes)
        windows_entered(tally, "plain")
        nothing_too_many(tally)
    if quick:
        tally.leave_out("faults", QUICK)
        tally.leave_out("short hunt", QUICK)
        tally.leave_out("the wakefuzz command, mutants of the core, OSS-Fuzz", QUICK)
        return
    with tally.section(f"{len(faults)} faults"):
        for name in build.unseen_faults():
            tally.leave_out(f"fault {name}", "it needs a store buffer, which is not simulated")
        fault_starts(tally, faults, 120, CRASHER_REPLAYS)  # twice what the table allows: CI machines are shared
        for name, good, said in shown_cases():
            tally.case(name, good, said)
    with tally.section("the wakefuzz command, some mutants of the core, the tools, OSS-Fuzz played"):
        tasks = python_tests("cli", "mutants", "tools", "oss-fuzz")
        with tally.to_its_end("OSS-Fuzz"):
            tasks.insert(0, oss_fuzz(tally))
        tally.together(tasks)
    with tally.section("a short hunt"):
        short_hunt(tally, ("asan", "tsan"))


def run_lane(tally, quick, tree):
    steps = [lane, lane_points, conformance] if quick else [lane, lane_flavours, lane_points, conformance]
    if quick:
        tally.leave_out(f"flavours native and tsan of the lane on {tree}", QUICK)
    for step in steps:
        with tally.to_its_end(f"{step.__name__.replace('_', ' ')} on {tree}"):
            step(tally, tree)


def run_sources(tally, quick, built):
    formatting(tally)
    order_comments(tally)
    documents(tally)
    scripts(tally)
    if "plain" in built:
        rates(tally)
    if quick:
        tally.leave_out("clang-tidy; flavours tsan, native, gcc", QUICK)
    elif "plain" in built:
        clang_tidy(tally, "plain")
    else:
        tally.case("clang-tidy", False, "flavour plain could not be built")


def main(arguments):
    options = parse(arguments)
    trees = options.qemu_src or os.environ.get("WAKEFUZZ_QEMU_SRC", "").split()
    for tree in trees:
        qemubuild.check_source(tree)
    build.ensure_setup()
    check_disk(BUILD)
    started = time.monotonic()
    tally = Tally()
    with tally.to_its_end("tools/check"):
        run(tally, options.quick, trees)
    print(f"{time.monotonic() - started:.0f} s")
    return tally.finish()


if __name__ == "__main__":
    run_main("tools/check", main, sys.argv[1:])
