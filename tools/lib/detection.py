"""Fresh starts: how often, how fast and with which verdict a fault's program finds its fault from an empty corpus."""

import pathlib
import re
import selectors
import shutil
import statistics
import tempfile

import build
import show
from common import call
from fuzzrun import FuzzRun

HEADS = ("fault", "flavour", "found", "verdict", "executions", "worst", "seconds", "worst", "in target", "crasher", "cause", "otherwise")
RIGHT = (2, 4, 5, 6, 7, 8, 9, 10)
CAUSE_KEYS = ("Cause-write", "Cause-check", "Cause-function")
CAUSE = re.compile(r"^\s*cause\b")
WAKEUPS = {"missed-wakeup", "late-wakeup"}
SLACK_S = 60  # beyond its time, for a process that starts slowly or does not stop
MINIMIZED_STARTS = 3  # of each fault: their crashers are minimized for the table
MINIMIZE_S = 60


class Start:
    """One start: its process while it runs, what it found afterwards."""

    def __init__(self, fault, flavour, seed, seconds, folder):
        self.fault, self.flavour, self.seed, self.seconds = fault, flavour, seed, seconds
        self.prefix = pathlib.Path(folder) / f"{flavour}-{fault}-{seed}-"
        self.run = FuzzRun([build.program(flavour, fault=fault), f"-seed={seed}", f"-max_total_time={seconds}",
                            "-print_final_stats=1", f"-artifact_prefix={self.prefix}"])
        self.report = self.bytes = self.minimized_bytes = None

    def finish(self):
        self.report = self.run.found()
        self.bytes = self.crasher().stat().st_size if self.crasher() else None

    def verdict(self):
        if self.report:
            return self.report.verdict
        return "none" if self.run.status == 0 else f"exit status {self.run.status}"

    def right(self):
        """Found: with a verdict that the fault's header allows in this flavour."""
        return self.verdict() in build.fault_verdicts(build.fault_header(self.fault), self.flavour)

    def has_cause(self):
        """Is there a root cause to be named? Of a fault that may also end otherwise than in a lost wakeup, only where it is one."""
        header = build.fault_header(self.fault)
        lost = set(build.fault_verdicts(header, self.flavour)) & WAKEUPS
        return has_cause(header) and (not lost or self.verdict() in WAKEUPS)

    def cause_missed(self):
        """What the report's root cause should name by the fault's header, and does not."""
        return cause_missed(build.fault_header(self.fault), self.report.text)

    def executions(self):
        return self.report.execution if self.report and self.report.execution is not None else self.run.executions

    def wall_s(self):
        return self.run.ended - self.run.started

    def minimize(self):
        """Find out how few bytes the crasher can have; it must be on disk still."""
        if not self.crasher():
            return
        small = self.prefix.with_name(self.prefix.name + "small")
        status, _ = call([build.program(self.flavour, fault=self.fault, replay=True), "--minimize", self.crasher(), "--output", small,
                          "--seconds", MINIMIZE_S], timeout=MINIMIZE_S + SLACK_S)
        if status == 0:
            self.minimized_bytes = small.stat().st_size

    def crasher(self):
        """The input that it found, as a file; None where there is none."""
        return self.report.artifact if self.report and self.report.artifact and self.report.artifact.exists() else None


def run_starts(wanted, seconds, jobs=2, folder=None, on_start_done=lambda start: None, start_class=Start):
    """
    Run a start for each (fault, flavour, seed) of wanted, jobs at a time; returns them as they ended. folder: where inputs are kept;
    None: they are not. Another class of starts has what it takes in wanted.
    """
    own = folder is None and tempfile.mkdtemp(prefix="wakefuzz-")
    waiting, done = list(wanted), []
    selector = selectors.DefaultSelector()
    running = 0
    try:
        while waiting or running:
            while waiting and running < jobs:
                start = start_class(*waiting.pop(0), seconds, folder or own)
                selector.register(start.run, selectors.EVENT_READ, start)
                running += 1
            for key, _ in selector.select(0.5):
                start, descriptor = key.data, key.fd
                if not start.run.read():
                    selector.unregister(descriptor)
                    running -= 1
                    start.finish()
                    done.append(start)
                    on_start_done(start)
            for key in list(selector.get_map().values()):
                if key.data.run.seconds() > seconds + SLACK_S:
                    key.data.run.stop()
    finally:
        for key in list(selector.get_map().values()):
            with key.data.run.process as process:  # it has ended, and its pipe is closed, before the folder is taken away
                process.kill()
        if own:
            shutil.rmtree(own, ignore_errors=True)
    return done


def _median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def _worst(values):
    values = [value for value in values if value is not None]
    return max(values) if values else None


def _seconds(value):
    return "-" if value is None else show.seconds(value)


def has_cause(header):
    """Does a fault's header say what the report has to name?"""
    return any(key in header for key in CAUSE_KEYS)


def cause_missed(header, text):
    """
    What the report's root cause should name by the fault's header and does not: a list of words, empty where all is well. "a, b" in
    the header: either will do.
    """
    lines = iter(text.splitlines())
    cause = ""
    for line in lines:
        if line.startswith("panic: ") and not cause:
            cause = line  # who waits, and who did not wake it
        if CAUSE.match(line):
            cause += "\n" + line
            break
    for line in lines:
        if not line.startswith("  "):
            break
        cause += "\n" + line
    return [header[key] for key in CAUSE_KEYS
            if header.get(key) and not any(re.search(rf"\b{re.escape(word.strip())}\b", cause) for word in header[key].split(","))]


def found(starts):
    """Those that found the fault. A wrong verdict is not found."""
    return [start for start in starts if start.right()]


def minimize_some(starts):
    """Minimize the crashers of the first starts that found the fault, by their seeds: the table says how small they get."""
    for start in sorted(found(starts), key=lambda start: start.seed)[:MINIMIZED_STARTS]:
        start.minimize()


def _size(starts):
    """"34 B", and where some were minimized "4 of 34 B": medians."""
    size, small = _median([start.bytes for start in starts]), _median([start.minimized_bytes for start in starts])
    return "-" if size is None else f"{size:.0f} B" if small is None else f"{small:.0f} of {size:.0f} B"


def row(fault, flavour, starts):
    """The row of the detection table. Figures are over the starts that found it."""
    good = found(starts)
    other = {}
    for start in starts:
        if start not in good:
            other[start.verdict()] = other.get(start.verdict(), 0) + 1
    executions = [start.executions() for start in good]
    walls = [start.wall_s() for start in good]
    told = [start for start in good if start.has_cause()]
    cause = f"{sum(not start.cause_missed() for start in told)}/{len(told)}" if told else "-"
    return (fault, flavour, f"{len(good)}/{len(starts)}",
            ", ".join(build.fault_verdicts(build.fault_header(fault), flavour)),
            show.thousands(_median(executions)), show.thousands(_worst(executions)), _seconds(_median(walls)), _seconds(_worst(walls)),
            _seconds(_median([start.report.seconds for start in good])), _size(good), cause,
            ", ".join(f"{verdict} x{count}" for verdict, count in sorted(other.items())) or "-")
