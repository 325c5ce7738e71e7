"""
What ClusterFuzz makes of our logs: for each verdict, in each flavour that has it, the log of a real fuzzer (every_verdict.c) is put to the
rules by which ClusterFuzz reads one (tools/lib/clusterfuzz.py). tests/oss-fuzz/crashers does the same for each fault.

    python3 -m unittest discover -s tests/cli -p 'clusterfuzz_test.py'
"""

import hashlib
import re
import sys
import unittest

import kit

sys.path.insert(0, str(kit.ROOT / "tools" / "lib"))
from clusterfuzz import Crash

# verdict: (first byte of the input, flavours, functions of the state below the message)
OURS = {
    "missed-wakeup": (1, ["pthread_cond_wait", "culprit_waits"]),
    "late-wakeup": (2, ["pthread_cond_timedwait", "culprit_waits_long"]),
    "deadlock": (3, ["pthread_mutex_lock", "culprit_locks_forwards"]),
    "livelock": (4, ["culprit_spins", "livelock"]),
    "lost-completion": (5, ["check_judge", "report_print"]),  # no thread is to blame: who judged
    "stack-overflow": (6, ["culprit_recurses", "culprit_recurses"]),
    "double-entry": (7, ["check_may_enter", "qemu_aio_coroutine_enter"]),
    "leak": (8, ["check_judge", "report_print"]),
    "assertion": (12, ["fuzz_violated", "culprit_violates"]),
    "unmodelled": (13, ["unmodelled_pause", "culprit_waits_for_a_signal"]),
}
SANITIZERS = {
    "data-race": (9, "tsan", "data race", "culprit_increments"),
    "use-after-free": (10, "asan", "heap-use-after-free", "culprit_uses_freed"),
    "undefined": (11, "asan", "signed integer overflow", "culprit_overflows"),
}
ONLY_BY_REPLAY = {"nondeterminism": 14}  # a fuzzer runs nothing twice
FLAVOURS = ("plain", "asan", "tsan")


class ClusterFuzzTest(kit.FolderTest):
    def setUp(self):
        super().setUp()
        self.flavours = [name for name in FLAVOURS if self.program(name).exists()]
        self.assertIn("plain", self.flavours)

    def program(self, flavour, replay=False):
        return kit.BUILD / flavour / "tests" / "cli" / ("every_verdict-replay" if replay else "every_verdict")

    def log(self, flavour, byte):
        """What the fuzzer prints when it meets this input in its corpus; it must have kept the input."""
        corpus = self.folder / f"corpus-{flavour}-{byte}"
        corpus.mkdir()
        (corpus / "input").write_bytes(bytes([byte, 0, 0]))  # and an empty plan
        status, out, err = kit.call(self.program(flavour), "-runs=0", f"-artifact_prefix={corpus}/", corpus)
        self.assertNotEqual(status, 0, out + err)
        self.assertIn(bytes([byte, 0, 0]), [path.read_bytes() for path in corpus.glob("crash-*")])
        return out + err

    def flavours_of(self, verdict):
        return [flavour for flavour in self.flavours if verdict in OURS or SANITIZERS[verdict][1] == flavour]

    def test_every_verdict_is_tested(self):
        header = (kit.ROOT / "src" / "check" / "verdict.h").read_text("utf-8")
        verdicts = re.findall(r'X\([A-Z_]+, +"([a-z-]+)"\)(?!\.)', header)
        self.assertEqual(set(verdicts) - {"none"}, OURS.keys() | SANITIZERS.keys() | ONLY_BY_REPLAY.keys())

    def test_kind_and_state_of_our_verdicts(self):
        crashes = {}
        for verdict, (byte, functions) in OURS.items():
            for flavour in self.flavours_of(verdict):
                with self.subTest(verdict=verdict, flavour=flavour):
                    log = self.log(flavour, byte)
                    crash = Crash(log)
                    self.assertEqual(crash.kind, "ASSERT", log)
                    self.assertRegex(crash.state[0], rf"^{verdict}: FuzzerHash=[a-z]{{8}}: ", log)
                    self.assertEqual(crash.state[1:], functions, log)
                    self.assertRegex(log, rf"(?m)^DEDUP_TOKEN: {verdict}(--[\w-]+)*$")
                    crashes[verdict, flavour] = crash
        for (verdict, flavour), crash in crashes.items():
            for (other_verdict, other_flavour), other in crashes.items():
                with self.subTest(verdict=verdict, flavour=flavour, other=other_verdict, other_flavour=other_flavour):
                    self.assertEqual(crash.is_like(other), verdict == other_verdict, (crash.state, other.state))

    def test_reports_of_sanitizers_stay_theirs(self):
        for verdict, (byte, flavour, kind, function) in SANITIZERS.items():
            with self.subTest(verdict=verdict):
                if flavour not in self.flavours:
                    self.skipTest(f"flavour {flavour} is not built")
                log = self.log(flavour, byte)
                crash = Crash(log)
                self.assertTrue(crash.kind.startswith(kind), (crash.kind, log))
                self.assertEqual(crash.state[0], function, log)
                self.assertNotIn("panic: ", log)

    def test_nondeterminism_is_told_by_the_replay(self):
        path = self.file("input", bytes([ONLY_BY_REPLAY["nondeterminism"], 0, 0]))
        for flavour in self.flavours:
            status, out, err = kit.call(self.program(flavour, replay=True), "-n", "2", path)
            self.assertEqual(status, 1, err)
            self.assertIn(" verdict=nondeterminism ", out)
            crash = Crash(err)
            self.assertEqual(crash.kind, "ASSERT")
            self.assertTrue(crash.state[0].startswith("nondeterminism: "), crash.state)

    def test_troubles_are_told(self):
        good = "panic: leak: FuzzerHash=abcdefgh: x\n    #1 0x1 in one f.c:1\n"
        self.assertIsNone(Crash(good).trouble("leak"))
        for log, says in (("", "no crash"), ("panic: leak: x\n    #1 0x1 in one f.c:1\n", "and its hash"),
                          (good.replace("leak", "deadlock"), "not with leak"), ("panic: leak: FuzzerHash=abcdefgh: x\n", "no frame"),
                          (good + "==1== ERROR: libFuzzer: timeout after 9 seconds\n", "time-out")):
            self.assertIn(says, Crash(log).trouble("leak"), log)

    def test_the_rules_bite(self):
        """What the rules would say of a log that is not as it must be."""
        frames = "    #1 0x1 in one f.c:1\n    #2 0x2 in two f.c:2\n    #3 0x3 in three f.c:3\n"
        self.assertEqual(Crash("ERROR: wakefuzz: missed-wakeup\n" + frames).kind, None)
        self.assertEqual(Crash("panic: leak: a\n    #0 0x1 in finding f.c:1\n").state, ["leak: a", "finding"])
        self.assertEqual(Crash("panic: x\n" + frames + "==1== ERROR: libFuzzer: timeout after 9 seconds\n").kind, "Timeout")
        self.assertTrue(Crash("panic: x\n" + frames).is_like(Crash("panic: y\n" + frames)))
        self.assertFalse(Crash("panic: x: FuzzerHash=ab\n" + frames).is_like(Crash("panic: y: FuzzerHash=cd\n" + frames)))
        self.assertEqual(Crash("panic: x\n    #0 0x1 in new_job f.c:1\n    #1 0x2 in my_assert f.c:1\n    #2 0x3 in job f.c:1\n").state, ["x", "job"])


class EmptyInputTest(kit.FolderTest):
    """What a sanitizer or a signal ends while the driver warms up with the empty input, before libFuzzer can keep one."""

    def test_it_is_kept(self):
        for flavour in FLAVOURS:
            program = kit.BUILD / flavour / "tests" / "cli" / "fails_at_once"
            if not program.exists() and flavour != "plain":
                continue
            with self.subTest(flavour=flavour):
                folder = self.folder / flavour
                folder.mkdir()
                status, out, err = kit.call(program, "-runs=10", f"-artifact_prefix={folder}/")
                self.assertNotEqual(status, 0, out + err)
                path = folder / f"crash-{hashlib.sha1(b'').hexdigest()}"
                self.assertEqual([kept.name for kept in folder.iterdir()], [path.name], out + err)
                self.assertEqual(path.read_bytes(), b"")
                self.assertIn(f"Test unit written to {path}", err)

    def test_each_input_is_said_to_fail_like_it(self):
        first, second = self.file("first"), self.file("second", b"\x07")
        verdicts = {"asan": "use-after-free", "tsan": "data-race"}
        programs = {flavour: kit.BUILD / flavour / "tests" / "cli" / "fails_at_once-replay" for flavour in verdicts}
        built = [flavour for flavour in verdicts if programs[flavour].exists()]
        if not built:
            self.skipTest("neither asan nor tsan is built")
        for flavour in built:
            said, verdict = kit.describe(programs[flavour], first, second), verdicts[flavour]
            self.assertEqual([(said[str(path)]["verdict"], said[str(path)]["bytes"]) for path in (first, second)], [(verdict, "0"), (verdict, "1")])

    def test_it_is_named_where_a_file_is_replayed(self):
        status, _, err = kit.call(kit.BUILD / "plain" / "tests" / "cli" / "fails_at_once", self.file("input", b"\x07"), cwd=self.folder)
        self.assertNotEqual(status, 0)
        self.assertIn("wakefuzz: this is the empty input", err)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["input"])


if __name__ == "__main__":
    unittest.main()
