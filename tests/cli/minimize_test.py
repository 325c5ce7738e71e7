"""
The minimizer on a target with several bugs (two_bugs.c): it never slips from one to another, keeps what it meets, and stops when asked.

    python3 -m unittest discover -s tests/cli -p '*_test.py'
"""

import json
import re
import signal
import subprocess
import time
import unittest

import kit

SEEDS = 40  # one in four or five has the hard bug
HARD = {"update": 0, "locks": 1, "pointer": 2, "freed": 3, "endless": 4, "turns": 5, "interrupted": 6, "waits": 7}
RECORDS_MAX = 31  # of an input
JUNK = bytes(range(1, 30))


class MinimizeTest(kit.FolderTest):
    def program(self, flavour="plain"):
        path = kit.BUILD / flavour / "tests" / "cli" / "two_bugs-replay"
        if not path.exists():
            self.skipTest(f"flavour {flavour} is not built")
        return path

    def input(self, program, hard, kind, words, disturb=0):
        """An input with this bug, drawn; words are in its key."""
        files = [self.file(f"input-{seed}", bytes([kind, HARD[hard]]) + JUNK + kit.plan(seed, disturb=disturb)) for seed in range(SEEDS)]
        for path, found in kit.describe(program, *files).items():
            if words in found["key"]:
                return path, found["key"]
        self.fail(f"no input of {SEEDS} has {hard}")

    def minimize(self, program, path, output="out", **options):
        status, out, err = kit.call(program, "--minimize", path, "--output", self.folder / output, **options)
        lines = [line.split(" ", 1) for line in out.splitlines()]
        self.assertEqual(status, 0, err)
        return dict(lines), [value.split("\t") for name, value in lines if name == "other"]

    def stays(self, flavour, hard, kind, words, bytes_most, disturb=0):
        program = self.program(flavour)
        path, key = self.input(program, hard, kind, words, disturb)
        result, others = self.minimize(program, path)
        small = self.folder / "out"
        now = kit.describe(program, small)[str(small)]
        self.assertEqual(now["key"], key)
        self.assertEqual(now["hash"], result["hash"])
        self.assertEqual(int(now["bytes"]), small.stat().st_size)
        self.assertLessEqual(small.stat().st_size, bytes_most)
        self.assertLessEqual(int(now["preemptions"]), 1)
        self.assertEqual((result["rewritten"], result["unwritten"]), ("yes", "0"))
        if now["verdict"] != "livelock":
            self.assertEqual(result["step_bound"], "0")
        for verdict, other, other_key in others:
            found = kit.describe(program, other)[other]
            self.assertEqual((found["verdict"], found["key"]), (verdict, other_key))
            self.assertNotEqual(other_key, key)
        self.assertTrue(any("easy_bug" in other[2] for other in others), "the easy bug was met and not kept")
        return now, result

    def test_lost_update_beside_an_easy_bug(self):
        self.stays("plain", "update", 197, "hard_bug", 5)

    def test_lost_update_and_easy_bug_in_one_input(self):
        self.stays("plain", "update", 255, "hard_bug", 5)

    def test_deadlock_beside_an_easy_bug(self):
        self.stays("plain", "locks", 197, "lock_both", 6)

    def test_crash_beside_an_easy_bug(self):
        self.stays("plain", "pointer", 255, "use_pointer", 6)

    def test_livelock_beside_what_only_takes_long(self):
        # the probes end long before the two differ
        now, result = self.stays("plain", "endless", 197, "livelock", 6)
        self.assertGreater(int(result["step_bound"]), 0)
        self.assertLess(int(result["step_bound"]), int(now["steps"]) // 5)

    def test_interrupted_call(self):
        # nothing without disturbances, whose plan alone takes 17 bytes
        self.stays("plain", "interrupted", 197, "hard_bug", 21, disturb=1)

    def test_disturbances_that_nothing_needs(self):
        self.stays("plain", "update", 197, "hard_bug", 5, disturb=1)

    def test_disturbances_that_only_the_numbers_of_decisions_need(self):
        self.stays("plain", "waits", 197, "nothing_lost_after_waits", 6, disturb=1)

    def test_finding_of_address_sanitizer(self):
        self.stays("asan", "freed", 197, "use-after-free", 6)

    def test_crash_under_address_sanitizer(self):
        self.stays("asan", "pointer", 197, "use_pointer", 6)

    def test_easy_bug_does_not_become_a_hard_one(self):
        program = self.program()
        path = self.file("easy", bytes([77, 1]) + JUNK + kit.plan(5))
        result, _ = self.minimize(program, path)
        self.assertIn("easy_bug", result["key"])
        self.assertEqual((self.folder / "out").read_bytes(), b"\1\0\0")  # the least value that has it, and an empty plan

    def test_more_records_than_an_input_holds(self):
        # its schedule stays the one that was drawn; what it does not need of the scenario goes
        program = self.program()
        path, key = self.input(program, "turns", 197, "hard_bug")
        result, _ = self.minimize(program, path)
        small = self.folder / "out"
        now = kit.describe(program, small)[str(small)]
        self.assertEqual((now["key"], now["hash"]), (key, result["hash"]))
        self.assertGreater(int(result["unwritten"]), RECORDS_MAX)
        self.assertEqual(result["rewritten"], "no")
        self.assertLess(small.stat().st_size, len(JUNK) + len(kit.plan(0)))

    def test_the_command_says_of_more_records_than_an_input_holds(self):
        path, _ = self.input(self.program(), "turns", 197, "hard_bug")
        programs = self.folder / "build" / "plain" / "fuzz"
        programs.mkdir(parents=True)
        (programs / "graph_lock-replay").symlink_to(self.program())  # a name that the command knows
        options = ("minimize", "--force", "--target", "graph_lock", "--flavour", "plain", path)
        status, out, err = self.wakefuzz(*options, WAKEFUZZ_BUILD=str(self.folder / "build"))
        said = re.search(r"takes (\d+) records, more than an input holds", out)
        self.assertTrue(status == 0 and said, (out, err))
        status, out, err = self.wakefuzz(*options, "--json", WAKEFUZZ_BUILD=str(self.folder / "build"))
        self.assertEqual(json.loads(out)["records_unwritten"], int(said[1]), err)
        self.assertGreater(int(said[1]), RECORDS_MAX)

    def test_same_input_gives_the_same_result(self):
        program = self.program()
        path, _ = self.input(program, "update", 255, "hard_bug")
        self.minimize(program, path, "first")
        self.minimize(program, path, "second")
        self.assertEqual((self.folder / "first").read_bytes(), (self.folder / "second").read_bytes())

    def test_no_finding_is_not_minimized(self):
        status, out, err = kit.call(self.program(), "--minimize", self.file("none"), "--output", self.folder / "out")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("no finding", err)
        self.assertFalse((self.folder / "out").exists())

    def interrupt(self, wait_for_output):
        """SIGINT in the middle: what is on disk afterwards is the finding, and no longer than it was."""
        program = self.program()
        path, key = self.input(program, "locks", 255, "lock_both")
        output = self.folder / "out"
        with subprocess.Popen([program, "--minimize", path, "--output", output], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8") as process:
            deadline = time.monotonic() + kit.PATIENCE_S
            while not output.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(wait_for_output)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(kit.describe(program, output)[str(output)]["key"], key)
        self.assertLessEqual(output.stat().st_size, len(JUNK) + 2 + len(kit.plan(0)))
        return out

    def test_interrupted_at_once(self):
        self.assertIn("stopped yes", self.interrupt(0))

    def test_interrupted_later(self):
        self.interrupt(0.3)  # it may have ended by then: what counts is what is on disk


if __name__ == "__main__":
    unittest.main()
