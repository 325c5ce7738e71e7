"""
tools/qemu-lane and the programs that it links: two at a time, which are replaced, how they are started, where they do not run. The trees and the
compilers are stand-ins.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from stand_in_qemu import DAEMON_OBJECT, PATIENCE_S, ROOT, StandInTest
import lane
import qemubuild
import show


class StartTest(unittest.TestCase):
    def test_a_start_that_was_stopped_is_not_one_that_does_not_run(self):
        for stopped in (False, True):
            start = lane.LaneStart("sleep", "/bin/sleep", 1, 1, "/tmp")  # which takes no such options
            if stopped:
                start.run.stop()
            while start.run.read():
                time.sleep(0.01)
            self.assertNotEqual(start.run.status, 0)
            self.assertEqual(start.broken(), not stopped)


class LinkingTest(StandInTest):
    """Programs, linked by stand-ins for compiler and linker."""

    def built_by(self, *arguments):
        """The programs that it says it has built."""
        status, output = self.lane(*arguments)
        self.assertEqual(status, 0, output)
        return [ROOT / line for line in output.splitlines() if "/wakefuzz" in line and not line.startswith("tools/")]

    def test_a_source_file_that_is_new_is_compiled_and_linked_at_once(self):
        tree = self.linking_tree()
        self.built_by(tree, "--flavour", "native", "qemu_co_sleep")
        rules = self.folder / "parts/build.ninja"
        text = rules.read_text("ascii").replace(f": ld a.o {DAEMON_OBJECT}", f": ld b.o {DAEMON_OBJECT}").replace("build a.o:", "build b.o:")
        self.assertIn("ld b.o", text)
        rules.write_text(text, "ascii")
        self.built_by(tree, "--flavour", "native", "qemu_co_sleep")
        self.assertIn("qemu/10.2.2/native/b.o", self.built())

    # ---- what programs with points do with the empty input

    def test_points_are_for_programs_that_find_something_in_the_empty_input(self):
        tree = self.linking_tree()
        for end in ("echo 'panic: assertion: no'; kill -ABRT $$", "echo 'SUMMARY: AddressSanitizer: heap-use-after-free'; exit 1",
                    "echo 'wakefuzz: the execution was ended by signal 11'; kill -ABRT $$", "echo '/dev/null verdict=assertion hash=0'; exit 1"):
            with self.subTest(end):
                (self.folder / "program").write_text(f"#!/bin/sh\n{end}\n", "ascii")
                self.built_by(tree, "--points", "block/graph-lock.c:1", "qemu_co_sleep")

    def test_points_are_not_for_programs_that_do_not_run(self):
        tree = self.linking_tree()
        for end, status in (("echo no library; exit 127", 127), ("echo 'panic: usage'; exit 2", 2), ("kill -KILL $$", -9)):
            with self.subTest(end):
                (self.folder / "program").write_text(f"#!/bin/sh\n{end}\n", "ascii")
                self.refused(f"qemu_co_sleep with these points does not run (status {status})", tree,
                             "--points", "block/graph-lock.c:1", "qemu_co_sleep")

    # ---- starts

    def test_a_program_that_does_not_run_is_no_start_that_found_nothing(self):
        tree = self.linking_tree("echo 'FATAL: ThreadSanitizer: unexpected memory mapping' >&2; exit 66")
        output = self.refused("qemu_co_sleep plain: exit status 66", tree, "--starts", "2", "qemu_co_sleep", "qemu_monitor")
        self.assertIn("\n    FATAL: ThreadSanitizer: unexpected memory mapping\n", output)
        self.assertRegex(output, r"\nqemu_co_sleep +plain +0/2 +exit status 66 ")  # nothing that was measured is lost
        self.assertNotIn("qemu_monitor plain", output)

    def test_a_start_that_finds_nothing_is_exit_status_1(self):
        status, output = self.lane(self.linking_tree(), "--starts", "2", "qemu_co_sleep")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"\nqemu_co_sleep +plain +0/2 +none ")

    def test_more_at_once_than_there_may_be_files_is_one_line(self):
        self.refused("cannot run 100 of qemu_co_sleep at once: Too many open files; give less than --jobs 100",
                     self.linking_tree("exec sleep 600"), "--starts", "100", "--jobs", "100", "qemu_co_sleep",
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        self.assertEqual(list(self.build.glob("wakefuzz-*")), [])

    def test_neither_stressors_nor_a_native_start_outlive_a_kill(self):
        self.shim("stress-ng", f"echo $$ >{self.folder}/new && mv {self.folder}/new {self.folder}/stressor; exec sleep 600")
        tree = self.linking_tree(f"until test -e {self.folder}/stressor; do sleep 0.1; done; echo $$ >{self.folder}/ready; exec sleep 600")
        ready = self.ready_pipe()
        tool = self.start(tree, "--flavour", "native", "--starts", "1", "qemu_co_sleep")
        with open(ready, encoding="ascii") as pipe:
            processes = [int(pipe.read()), int((self.folder / "stressor").read_text("ascii"))]
        tool.kill()
        tool.wait()
        end = time.monotonic() + PATIENCE_S
        while any(map(self.at_work, processes)) and time.monotonic() < end:
            time.sleep(0.1)
        left = [process for process in processes if self.at_work(process)]
        for process in left:
            os.kill(process, signal.SIGKILL)
        self.assertEqual(left, [])

    # ---- what it prints

    def test_a_target_that_is_named_twice_is_linked_once(self):
        self.assertEqual(len(self.built_by(self.linking_tree(), "--flavour", "native", "qemu_co_sleep", "qemu_co_sleep")), 1)

    def test_nobody_who_reads_is_no_trouble_with_the_build(self):
        self.environment["PYTHONUNBUFFERED"] = "1"
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as nobody:
            done = subprocess.run([self.tool, self.linking_tree(), "--flavour", "native", "qemu_co_sleep"], env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=nobody, stderr=subprocess.PIPE, encoding="utf-8", timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertNotIn("cannot build", done.stderr)

    def test_a_cell_of_a_table_in_markdown_may_have_a_bar(self):
        self.assertEqual(show.markdown(["a", "b"], [["x || y", 1]]), "| a | b |\n|---|---|\n| x \\|\\| y | 1 |\n")

    # ---- whose a folder is

    def test_objects_of_nobody_knows_which_tree_are_made_anew(self):
        tree = self.linking_tree()
        self.built_by(tree, "--flavour", "native", "qemu_co_sleep")
        for owner in (b"", None):
            with self.subTest(owner):
                (self.build / "qemu/10.2.2/source").unlink()
                if owner is not None:
                    (self.build / "qemu/10.2.2/source").write_bytes(owner)
                status, output = self.lane(tree, "--flavour", "native", "qemu_co_sleep")
                self.assertEqual(status, 0, output)
                self.assertIn("native was configured with other options, or not to its end: it is made anew", output)
                self.assertEqual((self.build / "qemu/10.2.2/source").read_bytes(), os.fsencode(tree))
        status, output = self.lane(tree, "--flavour", "native", "qemu_co_sleep")
        self.assertNotIn("anew", output)

    def test_a_flavour_that_fails_leaves_the_folder_to_another_that_begins(self):
        with unittest.mock.patch.object(qemubuild, "QEMU", self.build / "qemu"), unittest.mock.patch.object(qemubuild.build, "BUILD", self.build):
            source = self.folder / "tree"
            plain, asan = (qemubuild.folder(source, "10.2.2", flavour) for flavour in ("plain", "asan"))
            qemubuild._remove(asan)
            self.assertEqual(qemubuild.folder(self.folder / "other", "10.2.2", "plain").parent.name, "10.2.2-2")
            self.assertEqual(qemubuild.folder(source, "10.2.2", "plain"), plain)

    # ---- what is there already

    def test_what_is_linked_again_as_it_was_is_not_touched(self):
        tree = self.linking_tree()
        for points in ([], ["--points", "block/graph-lock.c:1"]):
            with self.subTest(points):
                [program] = self.built_by(tree, *points, "qemu_co_sleep")
                files = [program, program.with_name("qemu_co_sleep-replay")]
                before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
                self.built_by(tree, *points, "qemu_co_sleep")
                self.assertEqual([(path.stat().st_ino, path.stat().st_mtime_ns) for path in files], before)
        (self.folder / "program").write_text("#!/bin/sh\n# another\n", "ascii")
        self.built_by(tree, *points, "qemu_co_sleep")
        for path in files:
            self.assertEqual(path.read_text("ascii"), "#!/bin/sh\n# another\n")

    def test_of_another_choice_of_lines_only_what_the_lane_made_goes(self):
        tree = self.linking_tree()
        [program] = self.built_by(tree, "--points", "block/graph-lock.c:1", "qemu_monitor")
        (program.parent / "crash-of-a-hunt").write_bytes(b"input")
        (program.parent / "corpus").mkdir()
        self.assertTrue(program.exists())
        (self.folder / "program").write_text("#!/bin/sh\n# another\n", "ascii")
        self.built_by(tree, "--points", "block/graph-lock.c:2", "qemu_co_sleep")
        there = {path.name for path in program.parent.iterdir()}
        self.assertLessEqual({"crash-of-a-hunt", "corpus", "qemu_co_sleep", "qemu_co_sleep-replay"}, there)
        self.assertEqual({name for name in there if name.startswith("qemu_monitor")}, set())
        self.assertIn("{ 2, 2 }", (program.parent / "points.c").read_text("ascii"))

    def test_starts_are_of_the_programs_that_were_linked_for_them(self):
        finds = "case $1 in -seed=*) ;; *) exit 0; esac\n"
        waits = f"test -e {self.folder}/go || echo $$ >{self.folder}/ready\nuntil test -e {self.folder}/go; do sleep 0.1; done\n"
        says = "sed -n 's/^# /panic: /p' $0; exit 1"
        tree = self.linking_tree(f"{finds}{waits}{says}\n# assertion: of the first choice")
        ready = self.ready_pipe()
        first = self.start(tree, "--points", "block/graph-lock.c:1", "--starts", "2", "--jobs", "1", "qemu_co_sleep")
        with open(ready, encoding="ascii") as pipe:
            pipe.read()
        (self.folder / "program").write_text(f"#!/bin/sh\n{says}\n# assertion: of the second choice\n", "ascii")
        self.built_by(tree, "--points", "block/graph-lock.c:2", "qemu_co_sleep")
        (self.folder / "go").touch()
        output, _ = first.communicate(timeout=PATIENCE_S)
        self.assertIn(" 2/2 ", output)
        self.assertIn("of the first choice", output)
        self.assertNotIn("of the second choice", output)
        self.assertEqual(first.returncode, 0)
        self.assertEqual(list(self.build.glob("wakefuzz-*")), [])

    # ---- two at a time

    def start_linking(self, *arguments):
        """The tool while its first link is at work, as it is until there is a file 'go'; the process of that."""
        (self.folder / "pause").touch()
        (self.folder / "go").unlink(missing_ok=True)
        ready = self.ready_pipe()
        tool = self.start(*arguments)
        with open(ready, encoding="ascii") as pipe:
            return tool, int(pipe.read())

    def waits_for(self, tool, lock):
        for line in tool.stdout:
            if line.startswith("tools/qemu-lane: waiting for another build of"):
                self.assertEqual(line.strip(), f"tools/qemu-lane: waiting for another build of {lock}")
                return
        self.fail("it does not wait")

    def test_two_link_one_after_the_other(self):
        tree = self.linking_tree()
        for flavour, points in (("native", []), ("plain", []), ("plain", ["--points", "block/graph-lock.c:1"])):
            arguments = (tree, "--flavour", flavour, *points, "qemu_co_sleep")
            with self.subTest(arguments[1:]):
                self.built_by(*arguments)
                first, _ = self.start_linking(*arguments)
                following = self.start(*arguments)
                self.waits_for(following, f"qemu-10.2.2-{flavour}")
                (self.folder / "go").touch()
                for tool in (first, following):
                    output, _ = tool.communicate(timeout=PATIENCE_S)
                    self.assertEqual(tool.returncode, 0, output)

    def test_a_linker_that_outlives_a_kill_is_waited_for(self):
        arguments = (self.linking_tree(), "--flavour", "native", "qemu_co_sleep")
        first, linker = self.start_linking(*arguments)
        first.kill()
        first.wait()
        following = self.start(*arguments)
        self.waits_for(following, "qemu-10.2.2-native")
        self.assertTrue(self.at_work(linker))
        (self.folder / "go").touch()
        output, _ = following.communicate(timeout=PATIENCE_S)
        self.assertEqual(following.returncode, 0, output)

    def test_a_linker_does_not_outlive_an_interruption(self):
        first, linker = self.start_linking(self.linking_tree(), "--flavour", "native", "qemu_co_sleep")
        first.send_signal(signal.SIGTERM)
        output, _ = first.communicate(timeout=PATIENCE_S)
        self.assertEqual((first.returncode, output.splitlines()[-1]), (2, "tools/qemu-lane: interrupted"), output)
        self.assertFalse(self.at_work(linker))
        self.assertEqual([path for path in self.built() if path.endswith(".new")], [])


if __name__ == "__main__":
    unittest.main()
