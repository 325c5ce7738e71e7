"""
wakefuzz doctor --strict: what it says of programs that OSS-Fuzz should not take. It takes flavours plain and asan with their targets.

    python3 -m unittest discover -s tests/oss-fuzz -p '*_test.py'
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "lib"))
import build
import ossfuzz
from common import ROOT

TARGET = "graph_lock"
CALL = re.compile(r"\tcallq?\s+[0-9a-f]+ <(__asan_|__ubsan_)")


class StrictTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wakefuzz-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def strict(self, *arguments):
        done = subprocess.run([ROOT / "tools" / "wakefuzz", "doctor", "--json", "--strict", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, encoding="utf-8", check=False)
        return done.returncode, done.stdout, done.stderr

    def place(self, flavour):
        shutil.copy(build.program(flavour, TARGET), self.folder / TARGET)

    def bad(self, check, sanitizer="address"):
        """What it says is bad about one check."""
        status, output, _ = self.strict(self.folder, "--sanitizer", sanitizer)
        self.assertEqual(status, 2)
        return [row["says"] for row in json.loads(output) if row["check"] == check and row["state"] == "BAD"]

    def test_a_program_without_instrumentation_is_refused(self):
        self.place("plain")
        self.assertRegex(self.bad(f"{TARGET}: instrumentation")[0], r"^0 calls into __asan_ in its own functions, 1000 at least")

    def test_a_program_for_two_sanitizers_is_refused(self):
        self.place("asan")
        self.assertRegex(self.bad(f"{TARGET}: instrumentation")[0], r"calls into __ubsan_ in its own functions: it was also built for")

    def test_missing_targets_and_side_files_are_named(self):
        self.place("asan")
        self.assertTrue(any("options" in says for says in self.bad(f"{TARGET}: side files")))
        self.assertTrue(any("seed corpus" in says for says in self.bad(f"{TARGET}: side files")))
        self.assertRegex(self.bad("linux_aio")[0], "^it is not in ")

    def test_a_library_that_is_not_beside_the_program_is_named(self):
        self.place("asan")
        self.assertTrue(any("needs what is not beside it" in says for says in self.bad(f"{TARGET}: start")))

    def test_calls_are_counted_as_objdump_does(self):
        self.place("asan")
        output = subprocess.run(["objdump", "-d", "--no-show-raw-insn", self.folder / TARGET], capture_output=True, encoding="utf-8",
                                check=True).stdout
        counted = [match[1] for match in CALL.finditer(output)]
        _, said, _ = self.strict(self.folder)
        row = next(row["says"] for row in json.loads(said) if "with the runtime's own" in row["says"])
        self.assertEqual(int(re.search(r"\((\d+) with", row)[1]), counted.count("__asan_"))
        self.assertGreater(counted.count("__asan_"), 1000)

    def test_a_question_without_sense_is_refused(self):
        for arguments, says in ((("/nonexistent",), "takes a folder"), ((self.folder, "--sanitizer", "nonsense"), "takes address")):
            status, output, error = self.strict(*arguments)
            self.assertEqual((status, output), (2, ""))
            self.assertIn(says, error)


class OptionsTest(unittest.TestCase):
    def test_each_target_has_options_that_the_environment_there_does_not_override(self):
        for target in build.targets():
            arguments, variables = ossfuzz.target_options(ROOT / "fuzz", target)
            self.assertIn("-len_control=0", arguments)
            self.assertRegex(variables["ASAN_OPTIONS"], r"detect_stack_use_after_return=1.*:detect_stack_use_after_return=0")

    def test_what_has_to_be_filled_in_is_told(self):
        """Each address is true, or is told as one that is not; and both files name the same repository."""
        told = [(file, line) for file, _, line in ossfuzz.to_fill_in()]
        for name, key in (("project.yaml", "homepage"), ("project.yaml", "primary_contact"), ("project.yaml", "main_repo"),
                          ("project.yaml", "help_url"), ("Dockerfile", "RUN git clone")):
            line = next(line for line in (ROOT / "oss-fuzz" / name).read_text("utf-8").splitlines() if line.startswith(key))
            self.assertEqual("example.org" in line, (f"oss-fuzz/{name}", line) in told, line)
        repository = re.search(r'^main_repo: "(.*)"', (ROOT / "oss-fuzz" / "project.yaml").read_text("utf-8"), re.MULTILINE)[1]
        self.assertIn(f" {repository} ", (ROOT / "oss-fuzz" / "Dockerfile").read_text("utf-8"))

    def test_the_seeds_are_small_and_named(self):
        """OSS-Fuzz unpacks them for each start; and each says by its name what it shows."""
        files = [path for path in (ROOT / "corpus").rglob("*") if path.is_file()]
        self.assertLess(sum(path.stat().st_size for path in files), 2 << 20)
        self.assertEqual([str(path) for path in files if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.name) or
                          re.fullmatch(r"[0-9a-f]{32,}", path.name)], [])
        for target in build.targets():
            contents = [path.read_bytes() for path in (ROOT / "corpus" / target).iterdir()]
            self.assertEqual(len(contents), len(set(contents)), target)

    def test_there_are_no_suppressions(self):
        """A suppression needs a test that it is still needed; until there is one, there is none."""
        self.assertEqual([str(path) for path in (ROOT / "sanitizers").glob("*.supp")], [])
        found = [str(path) for folder in ("src", "fuzz") for path in (ROOT / folder).rglob("*.c")
                 if re.search(r"__\w+_default_suppressions|[:\"]suppressions=", path.read_text("utf-8"))]
        self.assertEqual(found, [])


if __name__ == "__main__":
    unittest.main()
