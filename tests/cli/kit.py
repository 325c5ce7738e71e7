"""What the tests of the wakefuzz command share: its path, a folder of their own, findings to work on."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WAKEFUZZ_BUILD") or ROOT / "build").resolve()
PROGRAM = BUILD / "plain" / "src" / "cli" / "wakefuzz"
FAULT = "graph-lock-unlock-no-kick"
PATIENCE_S = 300  # nothing here takes a tenth of it: only a hang does
BASE_WALK = 1
ATOMICS = 8
MORE_COUNTS = 7


def plan(seed, base=BASE_WALK, disturb=0):
    """The bytes of a plan (docs/input-format.md): a random walk with points at atomics, and calls disturbed with probability 1/2^disturb."""
    counts = bytes([MORE_COUNTS, disturb << 3] if disturb else [0])
    backward = bytes([base | ATOMICS]) + counts + seed.to_bytes(8, "little") + bytes([1, 0, 0, 0, 0, 0])
    return backward[::-1]


def call(*command, **options):
    """Run a program; returns (exit status, output, errors)."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                          errors="replace", timeout=PATIENCE_S, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def describe(program, *paths):
    """{path: {"verdict": ..., "key": ..., ...}} as TARGET-replay --describe says."""
    names = ("verdict", "bytes", "preemptions", "steps", "hash", "key", "summary")
    lines = [line.split("\t") for line in call(program, "--describe", *paths)[1].splitlines()]
    return {line[0]: dict(zip(names, line[1:])) for line in lines if len(line) == len(names) + 1}


class FolderTest(unittest.TestCase):
    """Each test has a folder of its own, and the command with a build folder."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wakefuzz-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        if not PROGRAM.exists():
            self.fail(f"{PROGRAM} is not built: tools/check builds it, or ninja -C build/plain")

    def wakefuzz(self, *arguments, **environment):
        done = call(PROGRAM, *arguments, env={**os.environ, **environment})
        sys.stdout.flush()
        return done

    def could_not(self, *arguments, says, **environment):
        """The command says in one line why it could not, and nothing else."""
        status, out, err = self.wakefuzz(*arguments, **environment)
        self.assertEqual((status, out), (2, ""), (arguments, err))
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertRegex(err, r"^wakefuzz [a-z]*: ", arguments)
        self.assertIn(says, err, arguments)

    def file(self, name, data=b""):
        path = self.folder / name
        path.write_bytes(data)
        return path


_finding = {}


def finding(fault=FAULT):
    """A finding of a fault's program in flavour plain, as the fuzzer writes it."""
    if fault not in _finding:
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as folder:
            call(BUILD / "plain" / "tests" / "faults" / fault, "-seed=3", "-max_total_time=60", f"-artifact_prefix={folder}/")
            found = list(pathlib.Path(folder).glob("crash-*"))
            if not found:
                raise AssertionError(f"the fuzzer did not find {fault} within a minute")
            _finding[fault] = found[0].read_bytes()
    return _finding[fault]
