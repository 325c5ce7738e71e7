"""
The rules by which ClusterFuzz reads a log, as far as they touch ours:

  1. "panic: MESSAGE" at the start of a line is an assertion whose state begins with MESSAGE; a later one replaces an earlier one.
  2. Frames are "#N 0xADDRESS in FUNCTION ..."; three lines of state at most, the message being one.
  3. Frames of fuzzing engine, sanitizers and libc are left out, and those whose names begin with abort, free, main or new, or hold "assert".
  4. Numbers in the state do not count, and a line is cut after 80 characters.
  5. A sanitizer's report has its own kind; libFuzzer's "timeout" wins over everything.
  6. Two states that share two lines of three are one bug, unless FuzzerHash= stands in them: then they are one if they are equal.
"""

import re

PANIC = re.compile(r"panic: (.*)")
SANITIZER = re.compile(r".*(?:ERROR: AddressSanitizer|WARNING: ThreadSanitizer): ([^(:;]+)|(?:.*): runtime error: (.*)")
TIMEOUT = re.compile(r".*ERROR:\s*libFuzzer:\s*timeout")
FRAME = re.compile(r"\s*#\d+\s+(?:0x[0-9a-f]+\s+)?(?:in )?([A-Za-z_][\w:]*)")  # ThreadSanitizer's have no addresses
LEFT_OUT = re.compile(r"abort|free|main|new|malloc|calloc|realloc|fuzzer::|__sanitizer|__asan|__tsan|__ubsan|__interceptor_|__pthread_kill|__libc_|"
                      r"_start|raise$|gsignal|LLVMFuzzerTestOneInput|.*assert")
OURS = re.compile(r"([a-z-]+): FuzzerHash=[a-z]{8}: ")
LINES, LINE_BYTES = 3, 80


class Crash:
    """Kind and state of a log, by the rules above."""

    def __init__(self, log):
        self.kind, self.state, timeout = None, [], False
        for line in log.splitlines():
            if (match := PANIC.match(line)):
                self.kind, self.state = "ASSERT", [match[1]]
            elif (match := SANITIZER.match(line)):
                self.kind, self.state = (match[1] or match[2]).strip(), []
            elif (match := FRAME.match(line)) and self.kind and not LEFT_OUT.match(match[1]) and len(self.state) < LINES:
                self.state.append(match[1])
            timeout = timeout or TIMEOUT.match(line)
        self.kind = "Timeout" if timeout else self.kind
        self.state = [re.sub(r"\b\d+\b", "NUMBER", line)[:LINE_BYTES] for line in self.state]

    def is_like(self, other):
        if "FuzzerHash=" in "".join(self.state + other.state):
            return self.state == other.state
        return len(set(self.state) & set(other.state)) >= 2

    def trouble(self, verdict):
        """What is wrong with it as a crash with this verdict; None: it is as intended."""
        if self.kind is None or self.kind == "Timeout":
            return f"ClusterFuzz takes it for {'a time-out' if self.kind else 'no crash'}"
        if not any(self.state[1:] if self.kind == "ASSERT" else self.state):
            return "its state has no frame"
        if self.kind == "ASSERT":
            match = OURS.match(self.state[0])
            if not match or match[1] != verdict:
                return f"its state begins with '{self.state[0]}', not with {verdict} and its hash"
        return None
