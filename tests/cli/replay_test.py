"""
TARGET-replay by itself, as somebody types it who has no wakefuzz command at hand: what it cannot do it says, and does nothing in silence.

    python3 -m unittest discover -s tests/cli -p '*_test.py'
"""

import collections
import os
import re
import shutil
import subprocess
import unittest

import kit

REPLAY = kit.BUILD / "plain" / "fuzz" / "graph_lock-replay"
EVERY = kit.BUILD / "plain" / "tests" / "cli" / "every_verdict-replay"
BROKEN = (15, 16, 17)  # the first bytes of what ends the process: a trap, a fault in malloc(), libc's abort()
CRASHES = {15: "culprit_traps", 18: "culprit_calls_null", 19: "culprit_copies_from_null"}
NAMES = re.compile(r"^panic: .*|(?<= in )\w+ (?:src|fuzz|tests)/.*", re.MULTILINE)
PATIENCE_S = 120
VERDICTS = 9  # the first bytes; the last of them is silent without a sanitizer


class ReplayTest(kit.FolderTest):
    def refused(self, *arguments, says):
        status, out, err = kit.call(REPLAY, *arguments)
        self.assertEqual((status, out), (2, ""), err)
        self.assertIn(says, err.splitlines()[0])

    def test_policy_and_a_file(self):
        self.refused("--policy", "fifo", "--executions", "1", self.file("input"), says="takes no FILE")
        self.assertEqual(kit.call(REPLAY, "--policy", "fifo", "--executions", "1")[0], 0)

    def test_options_that_do_not_go_together(self):
        self.refused("--minimize", self.file("input"), says="go together")
        self.refused("--minimize", self.file("input"), "--output", self.folder / "out", self.file("more"), says="takes one FILE")
        self.refused("--minimize", self.file("input"), "--output", self.folder / "out", "--policy", "walk", says="takes one FILE")
        self.assertFalse((self.folder / "out").exists())

    def test_a_folder_without_files(self):
        (self.folder / "below").mkdir()
        status, out, err = kit.call(REPLAY, self.folder)
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(err.splitlines(), [f"{REPLAY}: {self.folder} holds no files: nothing was run (folders in it are not looked into)"])

    def test_a_folder_beside_one_without_files(self):
        """What can be run is run; the status says that not all could be."""
        full = self.folder / "full"
        full.mkdir()
        (full / "empty").touch()
        (self.folder / "none").mkdir()
        status, out, err = kit.call(REPLAY, full, self.folder / "none")
        self.assertEqual(status, 2, err)
        self.assertRegex(out, r"empty verdict=none ")

    def test_a_crash_is_named_after_the_program_s_functions(self):
        """Not after libc's, nor after NULL."""
        for byte, culprit in CRASHES.items():
            with self.subTest(culprit=culprit):
                path = self.file(f"crash-{byte}", bytes([byte, 0, 0]))
                found = kit.describe(EVERY, path)[str(path)]
                self.assertRegex(found["key"], rf"^crash signal=[0-9]+ stack={culprit},run$")
                self.assertIn(f" in {culprit},run", found["summary"])

    def test_a_program_that_is_replaced_while_it_runs_is_named_after_its_own_functions(self):
        """As by a build: the file of that name is another one by then."""
        data = self.file("input", bytes([1, 0, 0]))
        program, pipe = self.folder / "program", self.folder / "pipe"
        shutil.copy(EVERY, program)
        wanted = NAMES.findall(kit.call(program, data)[2])
        self.assertGreater(len(wanted), 3)
        os.mkfifo(pipe)
        with subprocess.Popen([program, pipe], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8") as run:
            with open(pipe, "wb") as writer:  # it has begun
                shutil.copy(REPLAY, self.folder / "other")
                os.rename(self.folder / "other", program)
                writer.write(data.read_bytes())
            said = run.communicate(timeout=PATIENCE_S)[1]
        self.assertEqual(NAMES.findall(said), wanted, said)

    def test_a_crash_and_files_after_it(self):
        for byte in BROKEN:
            with self.subTest(byte=byte):
                folder = self.folder / f"{byte}"
                folder.mkdir()
                for name, first in (("1", 0), ("2", byte), ("3", 0), ("4", 0)):
                    (folder / name).write_bytes(bytes([first, 0, 0]))
                status, out, err = kit.call(EVERY, "-q", folder)
                self.assertNotIn(status, (0, 2), err)
                self.assertEqual([line.split()[0] for line in out.splitlines()], [str(folder / "1")], err)
                self.assertIn(f"{EVERY}: {folder / '2'} ended the process: 2 files after it are not run", err.splitlines())
                err = kit.call(EVERY, "-q", folder / "2")[2]
                self.assertNotIn("not run", err)

    def test_a_folder_with_findings(self):
        """One file's finding is no other's: each has the line that it has alone, good ones among them."""
        for byte in range(VERDICTS + 1):
            (self.folder / f"{VERDICTS - byte}").write_bytes(bytes([byte, 0, 0]))  # and an empty plan
        alone = [kit.call(EVERY, "-q", self.folder / f"{i}")[1] for i in range(VERDICTS + 1)]
        status, out, err = kit.call(EVERY, "-q", self.folder)
        self.assertEqual((status, out), (1, "".join(alone)), err)
        self.assertGreater(len({line.split()[1] for line in alone}), 5)
        status, out, err = kit.call(EVERY, "-q", "-n", "2", self.folder)
        self.assertEqual((status, out), (1, "".join(alone).replace("runs=1", "runs=2")), err)

    def test_what_comes_after_a_finding(self):
        """A name like an option's, a file that is not there, a folder without files: as they would be before it, and said once."""
        finding, silent = self.folder / "finding", self.folder / "--silent"
        finding.write_bytes(bytes([3, 0, 0]))
        silent.touch()
        (self.folder / "none").mkdir()
        status, out, err = kit.call(EVERY, "-q", "--", "finding", "--silent", "gone", "finding", "none", "--silent", cwd=self.folder)
        verdicts = [re.match(r"(\S+) verdict=(\S+)", line).groups() for line in out.splitlines()]
        self.assertEqual(verdicts, [("finding", "deadlock"), ("--silent", "none"), ("finding", "deadlock"), ("--silent", "none")], err)
        self.assertEqual((status, err.count("gone"), err.count("holds no files")), (2, 1, 1), err)

    def test_its_own_option_is_no_others(self):
        for arguments in (["--resume", "1 2 0", self.file("input")], [self.file("input"), "--resume=1 2 0"], ["--resume=1 2 0", "--describe", self.file("input")]):
            self.refused(*arguments, says="--resume is this program's own")
        status, out, err = kit.call(EVERY, "--resume=1 5 0", self.file("input"))
        self.assertEqual((status, out), (2, ""))
        self.assertIn("there were 5 files before the finding, and are 1 now", err)

    def test_windows_after_a_finding(self):
        fault = kit.BUILD / "plain" / "tests" / "faults" / "canary-deadlock-replay"
        inputs = sorted((kit.ROOT / "corpus" / "graph_lock").iterdir())

        def windows(out):
            return collections.Counter({words[1]: int(words[2].split("=")[1])
                                        for words in map(str.split, out.splitlines()) if words[0] == "window"})

        sum_alone = sum((windows(kit.call(fault, "-q", "--windows", one)[1]) for one in inputs), collections.Counter())
        status, out, err = kit.call(fault, "-q", "--windows", kit.ROOT / "corpus" / "graph_lock")
        verdicts = [line.split()[1] for line in out.splitlines() if not line.startswith("window")]
        self.assertEqual((status, len(verdicts)), (1, len(inputs)), err)
        self.assertTrue({"verdict=none", "verdict=deadlock"} <= set(verdicts[1:]) and "verdict=deadlock" in verdicts[:-1], out)
        self.assertEqual(+windows(out), +sum_alone)

    def test_nothing_given(self):
        self.refused(says="no file given")
        self.refused("-n", "0", self.file("input"), says="-n takes")


if __name__ == "__main__":
    unittest.main()
