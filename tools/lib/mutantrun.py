"""
One mutant against the targets: first the corpus of each target whose executions reach its point, then fuzzing.

A mutant is killed by any verdict that is not "none", by a sanitizer, by a crash; by a program that does not end (its processor time is limited)
or eats the memory. What a program cannot do without a mutant either, it is never blamed for: see Reach.
"""

import os
import pathlib
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import build
import mutants
from common import CannotRun, last_lines, relative
from fuzzrun import FuzzRun, Report, end_with_parent
from replaying import LINE, corpus_files

CPU_S = 4                  # of a replay; a whole corpus takes less than one
PATIENCE_S = 900           # the same where it waits for ever instead
MEMORY_BYTES = 3 << 30     # resident
FUZZ_TIMEOUT_S = 30        # for one input
REACH_FUZZ_S = 5           # for each target: what fuzzing reaches beyond the corpus
REACH_CPU_S = 15           # with its start


def _limited(cpu_s):
    end_with_parent(signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def resident_bytes(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


class Stopped(Exception):
    """Somebody interrupts."""


class Replay:
    """TARGET-replay on files, until the first that is a finding. .verdict is None where there is none; .path is the file."""

    def __init__(self, command, files, environment, stop, cpu_s=CPU_S):
        self.verdict = self.path = None
        self.output = ""
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen([str(word) for word in [*command, *files]], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=lambda: _limited(cpu_s),
                                            start_new_session=True, env={**os.environ, **environment})
        except OSError as error:
            raise CannotRun(f"cannot start {relative(command[0])}: {error.strerror}") from error
        seen = self._follow(stop)
        self.process.kill()
        status = self.process.wait()
        self.process.stdout.close()
        if self.verdict is None and (status != 0 or seen < len(files)):
            self._ended_badly(status, files[min(seen, len(files) - 1)])

    def _follow(self, stop):
        """Returns how many files had a verdict of none."""
        seen, rest = 0, b""
        while not self.verdict:
            if stop.is_set():
                self.process.kill()
                self.process.wait()
                raise Stopped
            if resident_bytes(self.process.pid) > MEMORY_BYTES:
                self.verdict = "out-of-memory"
            elif time.monotonic() - self.started > PATIENCE_S:
                self.verdict = "timeout"
            if not select.select([self.process.stdout], [], [], 0.3)[0]:
                continue
            block = os.read(self.process.stdout.fileno(), 65536)
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "replace")
                self.output = (self.output + text + "\n")[-100000:]
                match = LINE.match(text)
                if match and match["verdict"] == "none":
                    seen += 1
                elif match and not self.verdict:
                    self.verdict, self.path = match["verdict"], match["file"]
        return seen

    def _ended_badly(self, status, path):
        self.path = str(path)
        if status == -signal.SIGXCPU:
            self.verdict = "timeout"
        elif status < 0:
            self.verdict = Report(self.output).verdict or f"crash ({signal.Signals(-status).name})"
        else:
            self.verdict = Report(self.output).verdict
        if not self.verdict and status == 2:
            raise CannotRun(f"{relative(self.process.args[0])} cannot run:\n{last_lines(self.output, 8)}")
        self.verdict = self.verdict or f"exit status {status}"


class Reach:
    """Which files of each corpus execute which mutant's point, and which targets reach it when they are fuzzed."""

    def __init__(self, flavour, targets, count, fuzz, stop):
        self.fuzzed = fuzz
        self.files = {target: corpus_files(target) for target in targets}
        self.of_file = {}     # target -> [set of numbers, ...], one a file
        self.by_fuzzing = {}  # target -> set of numbers
        self.count = count
        with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
            for target in targets:
                self._corpus(flavour, target, pathlib.Path(folder), stop)
                self.by_fuzzing[target] = self._fuzzing(flavour, target, pathlib.Path(folder)) if fuzz else set()

    def _rows(self, path):
        data = path.read_bytes()
        return [{number for number, byte in enumerate(data[start:start + self.count + 1]) if byte}
                for start in range(0, len(data), self.count + 1)]

    def _corpus(self, flavour, target, folder, stop):
        files, note = self.files[target], folder / f"{target}.files"
        command = [mutants.program(flavour, target, replay=True), "--quiet"]
        environment = {"WAKEFUZZ_MUTANT_REACHED": str(note), "WAKEFUZZ_MUTANT_ROWS": str(len(files) + 1), "WAKEFUZZ_MUTANT": ""}
        replay = Replay(command, files, environment, stop, REACH_CPU_S)
        if replay.verdict:
            raise CannotRun(f"{relative(replay.path)} is a finding ({replay.verdict}) with no mutant chosen: the core is not in order")
        self.of_file[target] = self._rows(note)[1:]

    def _fuzzing(self, flavour, target, folder):
        note = folder / f"{target}.fuzzing"
        environment = {**os.environ, "WAKEFUZZ_MUTANT_REACHED": str(note), "WAKEFUZZ_MUTANT": ""}
        command = [mutants.program(flavour, target), f"-max_total_time={REACH_FUZZ_S}", "-seed=1", "-reload=0",
                   f"-artifact_prefix={folder}/", folder / f"{target}.inputs", build.ROOT / "corpus" / target]
        (folder / f"{target}.inputs").mkdir()
        done = subprocess.run([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, preexec_fn=lambda: _limited(REACH_CPU_S))
        if done.returncode:
            raise CannotRun(f"{target} has a finding with no mutant chosen:\n{last_lines(done.stdout.decode('utf-8', 'replace'), 20)}")
        return set().union(*self._rows(note))

    def seeds(self, target, number):
        """The files of the target's corpus that execute the point."""
        return [path for path, numbers in zip(self.files[target], self.of_file[target]) if number in numbers]

    def targets(self, number):
        """The targets that execute the point: those with the fewest files that do come first, for these are there because of it."""
        found = [target for target in self.files if self.seeds(target, number) or number in self.by_fuzzing[target]]
        return sorted(found, key=lambda target: len(self.seeds(target, number)) or 1000)


class Trial:
    """How mutants are tried: flavours, time. Any number of threads."""

    def __init__(self, flavours, reach, fuzz_s, stop):
        self.flavours, self.reach, self.fuzz_s, self.stop = flavours, reach, fuzz_s, stop
        self.kills = {}  # (file, target) -> how many: who has killed neighbours is asked first
        self.lock = threading.Lock()

    def run(self, row, fuzz=True):
        """Returns the result: a line for mutants.Results."""
        started = time.monotonic()
        result = {"name": row["name"], "function": row["function"], "status": "unreached", "fuzzed_s": 0.0, "executions": 0,
                  "targets": self.order(row), "corpus_alone": not self.reach.fuzzed}
        if result["targets"]:
            result["status"] = "survived"
            killed = self.by_corpus(row, result["targets"])
            if not killed and fuzz and self.fuzz_s:
                killed = self.by_fuzzing(row, result)
            if killed:
                result.update(killed, status="killed")
                with self.lock:
                    key = (row["name"].split(":")[0], killed["target"])
                    self.kills[key] = self.kills.get(key, 0) + 1
        result["seconds"] = round(time.monotonic() - started, 1)
        return result

    def order(self, row):
        with self.lock:
            file = row["name"].split(":")[0]
            return sorted(self.reach.targets(row["number"]), key=lambda target: -self.kills.get((file, target), 0))

    def by_corpus(self, row, targets):
        for flavour in self.flavours:
            for target in targets:
                files = self.reach.seeds(target, row["number"])
                if not files:
                    continue
                command = [mutants.program(flavour, target, replay=True), "--quiet"]
                replay = Replay(command, files, {"WAKEFUZZ_MUTANT": row["name"]}, self.stop)
                if replay.verdict:
                    return {"by": "corpus", "flavour": flavour, "target": target, "verdict": replay.verdict,
                            "input": relative(replay.path or files[0])}
        return None

    def by_fuzzing(self, row, result):
        """The time is for all targets together; those with more seeds get more of it."""
        targets = result["targets"]
        weight = {target: 2 + min(8, len(self.reach.seeds(target, row["number"]))) for target in targets}
        for target in sorted(targets, key=lambda target: -weight[target]):
            share = max(1, round(self.fuzz_s * weight[target] / sum(weight.values())))
            with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
                found = self.fuzz(row, target, share, pathlib.Path(folder), result)
            if found:
                return found
        return None

    def fuzz_flavour(self, row):
        """A lock that is missing is first of all a data race."""
        return "tsan" if ":unlocked:" in row["name"] and "tsan" in self.flavours else self.flavours[0]

    def fuzz(self, row, target, seconds, folder, result):
        flavour = self.fuzz_flavour(row)
        seeds = folder / "seeds"
        seeds.mkdir()
        for path in self.reach.seeds(target, row["number"]) or self.reach.files[target]:
            shutil.copy(path, seeds)
        command = ["env", f"WAKEFUZZ_MUTANT={row['name']}", mutants.program(flavour, target), f"-max_total_time={seconds}", "-seed=1",
                   "-reload=0", "-print_final_stats=1", f"-timeout={FUZZ_TIMEOUT_S}", f"-rss_limit_mb={MEMORY_BYTES >> 20}",
                   f"-artifact_prefix={folder}/", seeds]
        run = FuzzRun(command)
        while True:
            if self.stop.is_set():
                run.process.kill()
            elif run.seconds() > seconds + PATIENCE_S:
                run.process.kill()
            if select.select([run], [], [], 0.3)[0] and not run.read():
                break
        if self.stop.is_set():
            raise Stopped
        result["fuzzed_s"] += round(run.seconds(), 1)
        result["executions"] += run.executions or 0
        if run.status == 0:
            return None
        report = run.found()
        kept = self.keep(row, target, report)
        return {"by": "fuzzing", "flavour": flavour, "target": target, "input": kept,
                "verdict": report.verdict if report else f"exit status {run.status}", "summary": report.summary if report else ""}

    @staticmethod
    def keep(row, target, report):
        data = report.input() if report else None
        if data is None:
            return None
        path = mutants.FOLDER / "inputs" / f"{target}-{mutants.file_name(row['name'])}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return relative(path)
