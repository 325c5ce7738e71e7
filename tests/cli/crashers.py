"""
Each command that takes a finding, on one crasher: what it must say and leave behind. For tests/cli/every-crasher and its sample in
every_crasher_test.py.

The tree that is promoted into is made here, with nothing in its corpus.
"""

import json
import os
import re
import shutil
import sys

import kit

sys.path.insert(0, str(kit.ROOT / "tools" / "lib"))
import build
import detection
from shows import missing, report_of

COMMANDS = ("repro", "explain", "explain --html", "minimize", "triage", "promote", "its test", "its program")
NAME = "what-it-shows"
LINK = re.compile(r"\n\n(    ninja .*?)\n\n", re.DOTALL)


class Trouble(Exception):
    """What a command did not do."""


def require(good, said):
    if not good:
        raise Trouble(" ".join(str(said).split())[-500:])


class Crasher:
    """A finding of a fault's program in a flavour, and what became of it."""

    def __init__(self, fault, flavour, data, folder, minimize_s=60):
        self.fault, self.flavour, self.folder, self.minimize_s = fault, flavour, folder, minimize_s
        self.header = build.fault_header(fault)
        self.target = self.header["Target"]
        self.path = folder / f"{flavour}-{fault}-crasher-1"
        self.path.write_bytes(data)
        self.small = folder / f"{flavour}-{fault}-crasher-2"
        self.program = build.program(flavour, fault=fault, replay=True)
        self.before = self.describe(self.path)
        self.after = None  # of the minimized one
        self.root = folder / "root"

    def describe(self, path):
        return kit.describe(self.program, path).get(str(path))

    def wakefuzz(self, *arguments, status, **environment):
        done, out, err = kit.call(kit.PROGRAM, *arguments, env={**os.environ, **environment})
        require(done == status, f"exit status {done} in place of {status}: {err or out}")
        return out, err

    # ---- the commands, in the order in which they are given

    def repro(self):
        out, _ = self.wakefuzz("repro", "-n", "2", "--json", self.path, status=1)
        rows = [row for row in json.loads(out) if row["flavour"] == self.flavour]
        require([(row["verdict"], row["runs"]) for row in rows] == [(self.before["verdict"], 2)], rows)

    def explain(self):
        out, err = self.wakefuzz("explain", self.path, status=0)
        require(not err and (out.startswith("panic: " + self.before["verdict"]) or "Sanitizer: " in out), err or out)
        missed = detection.cause_missed(self.header, out) if self.before["verdict"] in detection.WAKEUPS else []
        require(not missed, f"the cause does not name {', '.join(missed)}")

    def explain_html(self):
        page = self.folder / "page.html"
        self.wakefuzz("explain", "--html", page, self.path, status=0)
        text = page.read_text("utf-8")
        require("<svg" in text and self.before["verdict"] in text and 'id="decisions"' in text, "no picture, verdict or decisions")

    def minimize(self):
        out, _ = self.wakefuzz("minimize", "--json", "--time", self.minimize_s, "--output", self.small, self.path, status=0)
        result, self.after = json.loads(out), self.describe(self.small)
        require(self.after["key"] == self.before["key"], f"became {self.after['key']}, was {self.before['key']}")
        require(int(self.after["bytes"]) == result["bytes"] and (self.folder / f"{self.small.name}.txt").exists(), result)
        require(int(self.after["preemptions"]) <= int(self.before["preemptions"]), result)

    def triage(self):
        folder = self.folder / "findings"
        folder.mkdir()
        for path in (self.path, self.small):
            shutil.copy(path, folder)
        out, _ = self.wakefuzz("triage", "--json", folder, status=1)
        rows = json.loads(out)
        require([(row["verdict"], row["files"], row["program"]) for row in rows] == [(self.before["verdict"], 2, self.fault)], rows)

    def promote(self):
        for folder in ("fuzz", "sanitizers", "tests/faults"):
            shutil.copytree(kit.ROOT / folder, self.root / folder)
        (self.root / "corpus" / self.target).mkdir(parents=True)
        (self.root / "tests" / "corpus").mkdir()
        (self.root / "tests" / "corpus" / "shows.list").touch()
        self.wakefuzz("promote", "--name", NAME, "--program", self.folder / "walk.c", self.small, status=0, WAKEFUZZ_ROOT=str(self.root),
                      WAKEFUZZ_BUILD=str(kit.BUILD))

    def its_test(self):
        """As tests/corpus/shows holds it: the words stand in the fault's report, and in none without the fault."""
        where, _, *words = (self.root / "tests" / "corpus" / "shows.list").read_text("utf-8").split()
        flavour, fault = (["plain"] + where.split(":"))[-2:]
        path = self.root / "corpus" / self.target / NAME
        require(fault == self.fault and len(words) > 1, f"{where} {words}")
        lost = missing(report_of(build.program(flavour, fault=fault, replay=True), path), words)
        require(lost is None, f"'{lost}' is not in the report")
        silent = report_of(build.program(flavour, self.target, replay=True), path)
        require(" verdict=none " in silent and missing(silent, words) is not None, silent)

    def its_program(self):
        command = LINK.search((self.folder / "walk.c").read_text("utf-8"))[1]
        status, out, err = kit.call("sh", "-ec", command)
        require(status == 0, out + err)
        status, out, err = kit.call(self.folder / "walk")
        require(status == 1, f"exit status {status}: {err}")
        require(f"verdict={self.after['verdict']} hash={self.after['hash']}\n" in out, out)

    def try_all(self):
        """What each of COMMANDS did not do; "" where it did it."""
        said, ended = {}, False
        for name in COMMANDS:
            try:
                require(not ended, "not tried")
                getattr(self, name.replace(" --", "_").replace(" ", "_"))()
                said[name] = ""
            except Trouble as trouble:
                said[name] = str(trouble)
                ended = ended or name in ("minimize", "promote")  # what follows takes what these leave
        return said
