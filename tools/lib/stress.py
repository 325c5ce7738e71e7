"""
What one has without wakefuzz: scenarios at random on real threads and the real kernel, all CPUs under stress-ng. A start is a process that runs one
after another until something shows itself as a hang (nothing happens for some seconds), a crash or a sanitizer's report, or its time is up.
"""

import collections
import contextlib
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time

import show
from common import BUILD, CannotRun, TimedOut, call, last_lines, relative
from fuzzrun import end_with_parent

HEADS = ("flavour", "found", "as", "runs", "seconds", "runs that found nothing", "runs a second")
RIGHT = (1, 3, 4, 5, 6)
HANG = re.compile(r"^hang after (\d+) runs", re.MULTILINE)
NO_HANG = re.compile(r"^no hang in (\d+) runs", re.MULTILINE)
CRASH = re.compile(r"^crash after (\d+) runs, [\d.]+ seconds: (signal \d+|exit status \d+)", re.MULTILINE)
PANIC = re.compile(r"^panic: ([a-z-]+)", re.MULTILINE)
TSAN = re.compile(r"^SUMMARY: ThreadSanitizer: ([a-zA-Z -]+?)(?: \(|$| /)", re.MULTILINE)
SLACK_S = 30  # beyond its time and a hang's, for a process that starts slowly on a loaded machine

# TSan's first report ends the start; GLib's own allocator of slices hides its order from TSan, so malloc() takes its place.
ENVIRONMENT = {"TSAN_OPTIONS": "halt_on_error=1:exitcode=66:detect_deadlocks=1", "G_SLICE": "always-malloc"}

Start = collections.namedtuple("Start", "shown runs seconds output")  # shown: how something showed itself, None where nothing did


def _in_child():
    """Where we are killed, so is what runs on all CPUs."""
    end_with_parent(signal.SIGTERM)


@contextlib.contextmanager
def stressed(stressors):
    """A scratch folder to run in, on the disk of the builds, while so many stressors keep the CPUs busy; 0: none do."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wakefuzz-", dir=BUILD) as folder:
        if not stressors:
            yield folder
            return
        try:
            stressor = subprocess.Popen(["stress-ng", "--quiet", "--cpu", str(stressors)], stdin=subprocess.DEVNULL, preexec_fn=_in_child)
        except OSError as error:
            raise CannotRun(f"cannot run stress-ng: {error.strerror}; tools/setup installs it") from error
        with stressor:
            try:
                yield folder
            finally:
                stressor.terminate()


def judge(program, status, output):
    """How the end of a start shows something, None where it does not, and after how many runs."""
    if status == 0 and (quiet := NO_HANG.search(output)):
        return None, int(quiet[1])
    if status == 1 and (hang := HANG.search(output)):
        return "hang", int(hang[1])
    if status == 1 and (crash := CRASH.search(output)):
        why = TSAN.search(output) or PANIC.search(output)
        return why[1] if why else crash[2], int(crash[1])
    raise CannotRun(f"{relative(program)}: exit status {status}\n{last_lines(output, 8)}")


def run_start(program, seed, seconds, hang_s, folder):
    started = time.monotonic()
    try:
        status, output = call([program, "--stress", seconds, "--hang", hang_s, "--seed", seed], cwd=folder,
                              env={**os.environ, **ENVIRONMENT}, timeout=seconds + hang_s + SLACK_S, preexec_fn=_in_child)
    except TimedOut as error:
        raise CannotRun(f"{relative(program)} --seed {seed} does not end, not even as a hang") from error
    return Start(*judge(program, status, output), time.monotonic() - started, output)


def row(flavour, starts, hang_s):
    """Cells below HEADS. "runs" and "seconds" are medians over the starts that found something, the time to notice it included."""
    found = [start for start in starts if start.shown]
    kinds = [f"{kind} {count}" if len(found) > count else kind
             for kind, count in collections.Counter(start.shown for start in found).most_common()]
    busy_s = sum(start.seconds - (hang_s if start.shown == "hang" else 0) for start in starts)
    return (flavour, f"{len(found)}/{len(starts)}", ", ".join(kinds) or "-",
            show.thousands(statistics.median(start.runs for start in found) if found else None),
            show.seconds(statistics.median(start.seconds for start in found)) if found else "-",
            show.thousands(sum(start.runs for start in starts if not start.shown)),
            show.thousands(sum(start.runs for start in starts) / busy_s if busy_s > 0 else None))
