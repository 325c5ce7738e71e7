"""
A target under libFuzzer, as somebody runs it by hand: the command at the end of a report replays the input that failed.

    python3 -m unittest discover -s tests/cli -p '*_test.py'
"""

import re
import unittest

import kit

PROGRAM = kit.BUILD / "plain" / "tests" / "cli" / "every_verdict"
DEAD = b"\3\0\0"  # of every_verdict.c: a deadlock; and an empty plan
SILENT = b"\0\0\0"


class EngineTest(kit.FolderTest):
    def setUp(self):
        super().setUp()
        if not PROGRAM.exists():
            self.skipTest("libFuzzer's programs are not built")

    def replays(self, *arguments):
        """The file that the report of a run with these arguments says to replay."""
        status, out, err = kit.call(PROGRAM, "-runs=0", f"-artifact_prefix={self.folder}/", *arguments, cwd=self.folder)
        self.assertNotEqual(status, 0, out + err)
        said = re.findall(rf"replay: {re.escape(str(PROGRAM))} (.*)$", err, re.MULTILINE)
        self.assertEqual(len(set(said)), 1, err)
        return said[0]

    def test_one_file(self):
        path = self.file("dead", DEAD)
        self.assertEqual(self.replays(path), str(path))

    def test_the_one_of_several_files_that_fails(self):
        dead, silent, other = self.file("dead", DEAD), self.file("silent", SILENT), self.file("other", SILENT + SILENT)
        for paths in ((dead, silent), (silent, dead), (silent, dead, other)):
            with self.subTest(paths=[path.name for path in paths]):
                self.assertEqual(self.replays(*paths), str(dead))

    def test_a_folder(self):
        """What is run from a corpus is kept, under the name that is said."""
        (self.folder / "corpus").mkdir()
        (self.folder / "corpus" / "seed").write_bytes(DEAD)
        kept = self.replays("corpus")
        self.assertRegex(kept, rf"^{re.escape(str(self.folder))}/crash-[0-9a-f]{{40}}$")
        with open(kept, "rb") as file:
            self.assertEqual(file.read(), DEAD)


if __name__ == "__main__":
    unittest.main()
