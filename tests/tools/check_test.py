"""
What tools/check counts: it reads what Meson has written of its tests, and names what failed where no case owns up to it. What hangs or cannot run
is a case that failed, and no more; the lane's cases can fail.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import contextlib
import io
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lib"))
import check
import common
import merging
import replaying
import shows
import windows

PATIENCE_S = 60  # nothing here takes a tenth of it: only a hang does

JUNIT = """<testsuites>
  <testsuite name="one">
    <testcase name="good"/>
    <testcase name="bad"><failure>not equal</failure><system-out>what it said</system-out></testcase>
    <testcase name="left out"><skipped/></testcase>
  </testsuite>
  <testsuite name="two"><testcase name="broken"><error message="no plan"/></testcase></testsuite>
</testsuites>
"""


class CheckTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="wakefuzz-test-")
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)

    def stand_in(self, name, text):
        """A program; text: what it does, in sh."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n", "ascii")
        path.chmod(0o755)
        return path


class MesonLogsTest(CheckTest):
    def test_each_case_is_counted_by_its_result(self):
        path = self.folder / "testlog.junit.xml"
        path.write_text(JUNIT, "utf-8")
        self.assertEqual(list(check.junit_cases(path)), [("one: good", "passed", ""), ("one: bad", "failed", "not equal\nwhat it said"),
                                                         ("one: left out", "skipped", ""), ("two: broken", "failed", "no plan")])

    def test_a_program_that_failed_behind_its_cases_is_named(self):
        tests = [{"name": "good", "result": "OK", "returncode": 0, "stdout": "1..1"},
                 {"name": "left out", "result": "SKIP", "returncode": 77},
                 {"name": "meant to fail", "result": "EXPECTEDFAIL", "returncode": 1},
                 {"name": "races", "result": "ERROR", "returncode": 66, "stdout": "ok 1 a\n", "stderr": "WARNING: data race\n"},
                 {"name": "hangs", "result": "TIMEOUT", "returncode": -15}]
        path = self.folder / "testlog.json"
        path.write_text("".join(json.dumps(test) + "\n" for test in tests), "utf-8")
        self.assertEqual(list(check.programs_that_failed(path)),
                         [("races", "ERROR, exit status 66\nok 1 a\nWARNING: data race"), ("hangs", "TIMEOUT, exit status -15")])


class HangTest(CheckTest):
    """A program that never ends, for which nobody waits long."""

    def setUp(self):
        super().setUp()
        self.program = self.stand_in("hangs", "exec sleep 1000000")
        for module in (merging, replaying, shows, windows):
            self.enterContext(mock.patch.object(module, "PATIENCE_S", 0.1))
        self.input = self.folder / "input"
        self.input.touch()

    def test_a_call_that_takes_too_long_cannot_run(self):
        with self.assertRaisesRegex(common.CannotRun, f"^{self.program} -n 1 does not end in 0.1 s$"):
            common.call([self.program, "-n", 1], timeout=0.1)

    def test_a_replay_that_hangs_is_trouble_of_its_files(self):
        comparison = replaying.Comparison([self.input])
        comparison.add("plain", self.program, 2, 2)
        self.assertEqual(comparison.trouble, [f"{self.program} -n 1 --quiet {self.input} does not end in 0.1 s"] * 2)
        self.assertEqual(comparison.differing(), [(str(self.input), "not run")])

    def test_a_hang_is_a_case_that_failed(self):
        target = check.build.targets()[0]
        with mock.patch.object(merging, "ROOT", self.folder):
            (self.folder / "tools").mkdir()
            self.program.rename(self.folder / "tools" / "wakefuzz")
            name, good, said = merging.case(target)
        self.assertEqual((name, good), (f"corpus {target}: no file too many", False))
        self.assertIn("does not end in 0.1 s", said)
        self.program = self.stand_in("hangs", "exec sleep 1000000")
        [(name, good, said)] = windows.cases(target, self.program)
        self.assertEqual((name, good), (f"windows {target}", False))
        self.assertIn("does not end in 0.1 s", said)
        entry = ("plain", "some-fault", check.ROOT / "corpus" / target / "file", ["word"])
        with mock.patch.object(shows, "entries", lambda: [entry]), mock.patch.object(shows.build, "build"), \
                mock.patch.object(shows.build, "program", lambda *_, **__: self.program), mock.patch.object(shows.build, "goal"):
            [(name, good, said)] = shows.cases()
        self.assertEqual((name, good), (f"corpus/{target}/file shows some-fault", False))
        self.assertIn("does not end in 0.1 s", said)


class TallyTest(CheckTest):
    def test_what_cannot_run_fails_its_section_and_no_other(self):
        tally, said = check.Tally(), io.StringIO()
        with contextlib.redirect_stdout(said):
            for number, error in enumerate((common.CannotRun("the sky is down"), FileNotFoundError(2, "No such file", "sky"), None)):
                with tally.section(f"number {number}"):
                    tally.case("before", True)
                    if error:
                        raise error
                    tally.together([lambda part: part.case("one", True), lambda part: common.call(["/no/such/program"])])
            self.assertEqual(tally.finish(), 1)
        self.assertEqual(tally.failed, ["number 0: ran to its end", "number 1: ran to its end", "each part: ran to its end"])
        self.assertIn("    the sky is down\n", said.getvalue())
        self.assertEqual(said.getvalue().splitlines()[-1], "4 passed, 3 failed")

    def test_a_signal_that_is_ignored_stays_so(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        others = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        try:
            common.take_signals(common.interrupt)
            self.assertEqual([signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)], [signal.SIG_IGN, common.interrupt])
        finally:
            for number, handler in zip((signal.SIGHUP, signal.SIGINT, signal.SIGTERM), (before, *others)):
                signal.signal(number, handler)

    def test_a_signal_ends_what_all_parts_wait_for(self):
        """The parts that wait write into the pipe; a third one is never begun. Without end they would be waited for without end."""
        ready = self.folder / "ready"
        os.mkfifo(ready)
        program = self.stand_in("waits", f"echo >{ready}\nexec sleep 1000000")
        main = ("import sys; sys.path.insert(0, sys.argv[1]); import check, common; check.CPUS = 2\n"
                "tasks = [lambda part: common.call(sys.argv[2:])] * 2 + [lambda part: print('begun')]\n"
                "common.run_main('tool', check.Tally().together, tasks)")
        process = subprocess.Popen([sys.executable, "-c", main, ROOT / "tools" / "lib", program], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(process.kill)
        pipe = os.open(ready, os.O_RDWR)  # who writes comes and goes
        self.addCleanup(os.close, pipe)
        words = b""
        while len(words) < 2:
            self.assertTrue(select.select([pipe], [], [], PATIENCE_S)[0])
            words += os.read(pipe, 2)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
        self.assertEqual((process.returncode, out, err), (2, "", "tool: interrupted\n"))


class LaneTest(CheckTest):
    def test_a_tree_that_is_none_is_refused_before_anything_is_built(self):
        environment = {**os.environ, "WAKEFUZZ_BUILD": str(self.folder / "build"), "PATH": f"{self.folder}:{os.environ['PATH']}"}
        for name in ("meson", "ninja"):
            self.stand_in(name, "exit 1")
        for arguments, more in ((["--qemu-src", "/nonexistent"], {}), ([], {"WAKEFUZZ_QEMU_SRC": "/nonexistent"})):
            with self.subTest(arguments=arguments):
                done = subprocess.run([ROOT / "tools" / "check", "--quick", *arguments], env={**environment, **more}, stdin=subprocess.DEVNULL,
                                      capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertEqual(done.stderr, "tools/check: /nonexistent is no folder; give the root of QEMU's sources (apt-get source qemu)\n")
                self.assertFalse((self.folder / "build").exists())

    def test_a_step_that_lacks_a_file_of_the_tree_fails_alone(self):
        with mock.patch.multiple(check, lane=mock.DEFAULT, lane_flavours=mock.DEFAULT, conformance=mock.DEFAULT) as steps:
            for name, step in steps.items():
                step.__name__ = name
            tally = check.Tally(part=True)
            check.run_lane(tally, False, str(self.folder))
            for step in steps.values():
                step.assert_called_once_with(tally, str(self.folder))
        self.assertEqual(tally.failed, [f"lane points on {self.folder}: ran to its end"])
        self.assertIn("util/qemu-coroutine-sleep.c", tally.kept[0])

    def test_programs_are_told_from_what_is_said_of_the_work(self):
        said = ("tools/qemu-lane: configuring QEMU 10.0.0 in /there/wakefuzz/build\ntools/qemu-lane: in /there/wakefuzz/plain\n"
                "/there/wakefuzz/build/qemu/10.0.0/plain/wakefuzz/qemu_job\nbuild/qemu/10.0.0/plain/wakefuzz-points/qemu_job\n")
        self.assertEqual(check.lane_programs(said), [pathlib.Path("/there/wakefuzz/build/qemu/10.0.0/plain/wakefuzz/qemu_job")])
        self.assertEqual(check.lane_programs(said, "wakefuzz-points"), [ROOT / "build/qemu/10.0.0/plain/wakefuzz-points/qemu_job"])

    def test_no_programs_are_a_failure(self):
        for step, arguments in ((check.lane, ""), (check.lane_flavours, ""), (check.lane_points, "")):
            with self.subTest(step=step.__name__), mock.patch.object(check, "call", lambda *_, **__: (0, "tools/qemu-lane: compiling\n")):
                for name in ("util/qemu-coroutine-sleep.c", "block/graph-lock.c"):
                    (self.folder / name).parent.mkdir(exist_ok=True)
                    (self.folder / name).touch()
                tally = check.Tally(part=True)
                step(tally, self.folder)
                self.assertEqual(len(tally.failed), 1)
                self.assertRegex(tally.failed[0], " names (its programs|a program of each flavour|a program with points)$")

    def test_a_fuzzer_that_ends_badly_without_an_input_is_a_failure(self):
        self.stand_in("target-replay", 'for word; do [ ! -f "$word" ] || echo "$word verdict=none hash=0123456789abcdef steps=1 runs=1"; done')
        fuzzing = "target: fuzzing ends well, or with an input"
        for fuzzer, failed in (("exit 0", []), ("exit 3", [fuzzing]), (f"touch {self.folder}/oom-0; exit 71", [])):
            with self.subTest(fuzzer=fuzzer):
                program, tally = self.stand_in("target", fuzzer), check.Tally(part=True)
                check.lane_target(tally, "target", program, self.folder)
                self.assertEqual(tally.failed, failed, tally.kept)
                self.assertEqual(tally.passed + len(failed), 3)


if __name__ == "__main__":
    unittest.main()
