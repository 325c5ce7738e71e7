"""
A sample of tests/cli/every-crasher, which takes all faults: each command that takes a finding, on a lost wakeup in plain and on what only
AddressSanitizer sees.

    python3 -m unittest discover -s tests/cli -p 'every_crasher_test.py'
"""

import unittest

import crashers
import kit

LOST_WAKEUP = kit.ROOT / "corpus" / "graph_lock" / "last-reader-leaves-while-the-writer-polls"
FREED_CALL = bytes.fromhex("03000101ef1129112e202d2017202808")  # of backup-speed-kicks-a-freed-call
MINIMIZE_S = 2  # what it has by then has to hold as well


class EveryCrasherTest(kit.FolderTest):
    def each_command(self, fault, flavour, data):
        program = kit.BUILD / flavour / "tests" / "faults" / f"{fault}-replay"
        if not program.exists():
            self.skipTest(f"{program} is not built")
        crasher = crashers.Crasher(fault, flavour, data, self.folder, MINIMIZE_S)
        self.assertEqual({name: said for name, said in crasher.try_all().items() if said}, {})
        return crasher

    def test_lost_wakeup(self):
        self.each_command(kit.FAULT, "plain", LOST_WAKEUP.read_bytes())

    def test_what_only_a_sanitizer_sees(self):
        crasher = self.each_command("backup-speed-kicks-a-freed-call", "asan", FREED_CALL)
        self.assertEqual(crasher.before["verdict"], "use-after-free")
        listed = (crasher.root / "tests" / "corpus" / "shows.list").read_text("utf-8")
        self.assertRegex(listed, "^asan:backup-speed-kicks-a-freed-call co_sleep/what-it-shows  use-after-free block_copy_kick ")


if __name__ == "__main__":
    unittest.main()
