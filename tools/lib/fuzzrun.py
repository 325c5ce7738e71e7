"""
One run of a libFuzzer program: start it, follow its output, know what it found.

Nothing that it finds is lost:
  - the program writes the input to disk itself, before anybody else hears of it;
  - it keeps running to its own end when this process dies: SIGPIPE is ignored, and SIGUSR1 (libFuzzer: finish the input at hand,
    then stop) is what it gets at our death and at an interruption;
  - where the disk did not take the input, it is read from the program's output.
"""

import base64
import ctypes
import hashlib
import os
import pathlib
import re
import signal
import subprocess
import time

OUTPUT_BYTES_KEPT = 4 << 20
STOP_PATIENCE_S = 15.0  # from asking a fuzzer to stop to killing it
PR_SET_PDEATHSIG = 1

LINE = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) (?:ft: (\d+) )?corp: (\d+)/.*?exec/s: (\d+)")
STAT = re.compile(r"^stat::number_of_executed_units:\s*(\d+)")
ARTIFACT = re.compile(r"^artifact_prefix='[^']*'; Test unit written to (.+)")
BASE64 = re.compile(r"^Base64: ([A-Za-z0-9+/=]*)$")
BYTES = re.compile(r"^((?:0x[0-9a-f]{1,2},)+)$")
PANIC = re.compile(r"^(?:==\d+==\s*)?panic: ([a-z][a-z-]*): (.*)")
REPORT_COUNTS = re.compile(r"(\d+) preemptions?, (\d+) bytes?(?:; execution (\d+))?")
REPORT_TIME = re.compile(r"(?:^|; )(\d+\.\d+) s\b")
SUMMARY = re.compile(r"^SUMMARY: (\w+): (.*)")
FIRST_LINE = re.compile(r"^(?:panic: |=+$|==\d+== ?ERROR|WARNING: ThreadSanitizer|.*: runtime error: )", re.MULTILINE)
HASH_NAME = re.compile(r"-([0-9a-f]{40})$")

# How a sanitizer's summary is called in the closed list of verdicts; what is not listed keeps the sanitizer's word.
SANITIZER_VERDICTS = (
    ("data race", "data-race"),
    ("use-after", "use-after-free"),
    ("double-free", "use-after-free"),
    ("stack-overflow", "stack-overflow"),
    ("undefined-behavior", "undefined"),
    ("leak", "leak"),
    ("out-of-memory", "out-of-memory"),
    ("timeout", "timeout"),
    ("deadly signal", "crash"),
)

_libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent(number):
    """In a child: the signal comes when the tool dies, in whatever way."""
    _libc.prctl(PR_SET_PDEATHSIG, number)


def _in_child():
    end_with_parent(signal.SIGUSR1)


def sanitizer_verdict(text):
    """The verdict in the words after "SUMMARY: Name: "."""
    for words, verdict in SANITIZER_VERDICTS:
        if words in text:
            return verdict
    return re.sub(r"[^a-z]+", "-", text.split()[0].lower()).strip("-") or "crash"


def hash_fits(path):
    """Does the file hold what its name says? libFuzzer names an input by its SHA-1. None: no such file."""
    match = HASH_NAME.search(path.name)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return not match or hashlib.sha1(data).hexdigest() == match[1]


class Report:
    """What a program's output says about a finding."""

    def __init__(self, text):
        self.verdict = self.summary = self.artifact = self.data = self.execution = self.seconds = None
        self.text = text
        for line in text.splitlines():
            self._read(line)

    def _read(self, line):
        if (match := PANIC.match(line)):
            if not self.summary or not self.summary.startswith("panic"):
                self.verdict, self.summary = match[1], line[line.index("panic"):]
        elif (match := SUMMARY.match(line)):
            if not self.verdict:
                self.verdict, self.summary = sanitizer_verdict(match[2]), line
        elif (match := ARTIFACT.match(line)):
            self.artifact = pathlib.Path(match[1])
        elif (match := BASE64.match(line)):
            self.data = base64.b64decode(match[1])
        elif (match := BYTES.match(line)) and self.data is None:
            self.data = bytes(int(byte, 16) for byte in match[1].rstrip(",").split(","))
        elif (match := REPORT_COUNTS.search(line)):
            self.execution = int(match[3]) if match[3] else None
        if self.seconds is None and self.execution is not None and (match := REPORT_TIME.search(line)):
            self.seconds = float(match[1])

    def text_from_first_line(self):
        """The text without the progress before the first line about the finding."""
        start = FIRST_LINE.search(self.text)
        return self.text[start.start():] if start else self.text

    def input(self):
        """The input's bytes, from disk or from the output; None where both failed."""
        if self.artifact and hash_fits(self.artifact):
            return self.artifact.read_bytes()
        return self.data


class FuzzRun:
    """A libFuzzer process. Call read() whenever its output descriptor is readable."""

    def __init__(self, command, log=None):
        self.executions = self.coverage = self.features = self.corpus = self.rate = None
        self.started = time.monotonic()
        self.fuzzing_since = None
        self.ended = None
        self.status = None
        self._kept = bytearray()
        self._line = b""
        self._log = None
        self._asked_to_stop = None
        if log:
            try:
                self._log = open(log, "ab", buffering=0)
            except OSError:
                pass  # the output is kept in memory
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True, restore_signals=False,
                                        preexec_fn=_in_child)
        os.set_blocking(self.process.stdout.fileno(), False)

    def fileno(self):
        return self.process.stdout.fileno()

    def was_asked_to_stop(self):
        return self._asked_to_stop is not None

    def read(self):
        """Take what there is to read. False: the process has ended (and self.status is its exit status)."""
        while True:
            try:
                block = os.read(self.fileno(), 1 << 16)
            except BlockingIOError:
                return True
            if not block:
                break
            self._take(block)
        self._take_line(self._line)
        self.status = self.process.wait()
        self.ended = time.monotonic()
        self.process.stdout.close()
        if self._log:
            self._log.close()
        return False

    def _take(self, block):
        self._kept += block
        if len(self._kept) > 2 * OUTPUT_BYTES_KEPT:
            del self._kept[:-OUTPUT_BYTES_KEPT]
        if self._log:
            try:
                self._log.write(block)
            except OSError:
                self._log = None  # disk full: what matters is in memory
        *lines, self._line = (self._line + block).split(b"\n")
        for line in lines:
            self._take_line(line)

    def _take_line(self, raw):
        line = raw.decode("utf-8", "replace")
        if (match := LINE.match(line)):
            self.executions, self.coverage = int(match[1]), int(match[3])
            self.features, self.corpus = int(match[4] or 0), int(match[5])
            self.rate = int(match[6]) or self.rate
            if self.fuzzing_since is None:
                self.fuzzing_since = time.monotonic()
        elif (match := STAT.match(line)):
            self.executions = int(match[1])

    def output(self):
        return self._kept.decode("utf-8", "replace")

    def seconds(self):
        """How long it has fuzzed: from its start to its end or to now."""
        return (self.ended or time.monotonic()) - self.started

    def executions_per_second(self):
        """Since it began to fuzz, over its whole run; None before it has a figure."""
        since = self.fuzzing_since or self.started
        spent = (self.ended or time.monotonic()) - since
        return self.executions / spent if self.executions and spent > 0.05 else self.rate

    def stop(self):
        """Ask it to stop, harder each time that patience has run out. Call until read() returns False."""
        now = time.monotonic()
        if self._asked_to_stop is None:
            self._asked_to_stop = now
            self.process.send_signal(signal.SIGUSR1)
        elif now - self._asked_to_stop > STOP_PATIENCE_S:
            self.process.kill()

    def found(self):
        """After the end: a Report where it found something, else None."""
        report = Report(self.output())
        if self.status != 0 and (report.artifact or report.verdict):
            report.verdict = report.verdict or "crash"
            report.summary = report.summary or f"exit status {self.status}"
            return report
        return None
