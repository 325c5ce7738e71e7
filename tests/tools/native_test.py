"""
Flavour native with a program whose scenarios run in children: a hang is seen, with its stacks, and so is a crash; and stress.py counts them. The
program is native_program.c, not QEMU.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools" / "lib"))
import stress
from common import CannotRun

SOURCES = (ROOT / "fuzz/native.c", ROOT / "fuzz/native_child.c", HERE / "native_program.c")
PATIENCE_S = 60


class NativeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="wakefuzz-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.program = cls.folder / "program"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "glib-2.0"], capture_output=True, encoding="ascii", check=True).stdout
        subprocess.run(["clang-19", "-g", "-O1", "-fno-omit-frame-pointer", "-D_GNU_SOURCE", f"-I{ROOT}", "-o", cls.program, *SOURCES,
                        *shlex.split(flags), "-ldw", "-pthread"], check=True)

    def run_it(self, *arguments, cwd=None):
        done = subprocess.run([self.program, *map(str, arguments)], cwd=cwd or self.folder, stdin=subprocess.DEVNULL, capture_output=True,
                              encoding="utf-8", timeout=PATIENCE_S, check=False)
        return done.returncode, done.stdout + done.stderr

    def input(self, what):
        path = self.folder / f"input-{what}"
        path.write_text(what, "ascii")
        return path

    def test_a_scenario_that_ends_is_run_so_often(self):
        self.assertEqual(self.run_it("-n", 3, self.input("n")), (0, f"{self.input('n')} runs=3\n"))

    def test_a_hang_has_the_stacks_of_all_threads_and_is_killed(self):
        started = time.monotonic()
        status, output = self.run_it("--hang", 1, self.input("h"))
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"(?m)^hang after 0 runs, 1\.\d seconds$")
        self.assertEqual(len(re.findall(r"^  thread \d+ ", output, re.MULTILINE)), 2, output)
        self.assertRegex(output, r"(?m)^    wait_for_nobody \(\S+native_program\.c:\d+\)$")
        self.assertRegex(output, r"(?m)^    hang \(\S+native_program\.c:\d+\)$")
        self.assertLess(time.monotonic() - started, PATIENCE_S / 2)

    def test_a_crash_has_its_signal(self):
        status, output = self.run_it(self.input("c"))
        self.assertEqual(status, 1)
        self.assertRegex(output, r"^crash after 0 runs, 0\.\d seconds: signal 11\n")

    def test_an_end_in_the_middle_is_a_crash(self):
        self.assertRegex(self.run_it(self.input("e"))[1], r"^crash after 0 runs, 0\.\d seconds: exit status 3\n")

    def test_a_violated_invariant_is_told(self):
        status, output = self.run_it(self.input("v"))
        self.assertEqual(stress.judge(self.program, status, output), ("assertion", 0))
        self.assertIn("panic: assertion: the cat is out\n", output)

    def test_a_child_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as folder:
            status, output = self.run_it("-n", 2, self.input("f"), self.input("f"), cwd=folder)
            self.assertEqual((status, output.count("signal 11")), (1, 2), output)  # once for each file that is given
            self.assertEqual(os.listdir(folder), [])

    def test_a_folder_that_cannot_be_written_to_is_one_line(self):
        status, output = self.run_it(self.input("n"), cwd="/proc")
        self.assertEqual((status, len(output.splitlines())), (2, 1), output)
        self.assertTrue(output.startswith("wakefuzz: /proc/wakefuzz-"), output)

    def test_stress_finds_what_random_inputs_show(self):
        start = stress.run_start(self.program, 1, 30, 1, self.folder)
        self.assertIn(start.shown, ("hang", "signal 11", "exit status 3", "assertion"))
        self.assertGreater(start.runs, 0)

    def test_a_row_counts_what_was_found(self):
        starts = [stress.Start("hang", 10, 12.0, ""), stress.Start("signal 11", 30, 3.0, ""), stress.Start(None, 60, 10.0, "")]
        self.assertEqual(stress.row("native", starts, 5), ("native", "2/3", "hang 1, signal 11 1", "20", "7.50", "60", "5"))

    def test_nothing_that_was_found_is_a_dash(self):
        self.assertEqual(stress.row("native", [stress.Start(None, 60, 10.0, "")], 5), ("native", "0/1", "-", "-", "-", "60", "6"))

    def test_without_stress_ng_one_line_says_so(self):
        path, os.environ["PATH"] = os.environ["PATH"], str(self.folder)
        try:
            with self.assertRaisesRegex(CannotRun, "^cannot run stress-ng: No such file or directory; tools/setup installs it$"):
                with stress.stressed(1):
                    self.fail("nothing is under stress")
        finally:
            os.environ["PATH"] = path

    def test_a_program_that_cannot_run_is_no_result(self):
        with self.assertRaises(CannotRun):
            stress.judge(self.program, 2, "wakefuzz: no")


if __name__ == "__main__":
    unittest.main()
