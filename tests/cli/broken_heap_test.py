"""
A program that breaks libc's heap: libc finds it inside of malloc(), holding its lock, and what tells of the crash allocates too.

    python3 -m unittest discover -s tests/cli -p '*_test.py'
"""

import subprocess
import unittest

import kit

BROKEN = {"culprit_writes_to_freed": 16, "culprit_writes_behind": 17}  # of every_verdict.c: a fault in malloc(); abort() in malloc()
PATIENCE_S = 30


class BrokenHeapTest(kit.FolderTest):
    def run_one(self, name, path, *arguments):
        """Returns (exit status, all that it said); a hang is an error."""
        program = kit.BUILD / "plain" / "tests" / "cli" / name
        done = subprocess.run([program, *arguments, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", errors="replace", timeout=PATIENCE_S, check=False, cwd=self.folder)
        return done.returncode, done.stdout

    def input(self, byte):
        return self.file(f"input-{byte}", bytes([byte, 0, 0]))

    def test_a_fuzzer_tells_of_it_and_keeps_the_input(self):
        for culprit, byte in BROKEN.items():
            with self.subTest(culprit=culprit):
                folder = self.folder / culprit
                (folder / "corpus").mkdir(parents=True)
                (folder / "corpus" / "seed").write_bytes(self.input(byte).read_bytes())
                status, said = self.run_one("every_verdict", folder / "corpus", "-runs=10", f"-artifact_prefix={folder}/")
                self.assertNotEqual(status, 0, said)
                self.assertIn(f" in {culprit} ", said)
                kept = list(folder.glob("crash-*"))
                self.assertEqual([path.read_bytes() for path in kept], [bytes([byte, 0, 0])], said)

    def test_a_replay_ends(self):
        for culprit, byte in BROKEN.items():
            with self.subTest(culprit=culprit):
                status, said = self.run_one("every_verdict-replay", self.input(byte))
                self.assertNotIn(status, (0, 2), said)

    def test_it_is_described(self):
        for culprit, byte in BROKEN.items():
            with self.subTest(culprit=culprit):
                path = self.input(byte)
                found = kit.describe(kit.BUILD / "plain" / "tests" / "cli" / "every_verdict-replay", path)[str(path)]
                self.assertEqual(found["verdict"], "crash", found)
                self.assertRegex(found["key"], rf"^crash signal=[0-9]+ stack={culprit}\b")  # not where in libc it was found
                self.assertIn(" of libc.so", found["summary"])


if __name__ == "__main__":
    unittest.main()
