"""
wakefuzz promote: what becomes of a finding of each of the four bugs that the project began with, that its program compiles as its head says
and walks through the schedule, also under gdb, and that nothing is left of a promotion that fails.

    python3 -m unittest discover -s tests/cli -p 'promote_test.py'
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import unittest

import kit

sys.path.insert(0, str(kit.ROOT / "tools" / "lib"))
from shows import missing

CORPUS = kit.ROOT / "corpus"
SEEDS = {  # fault -> target, crasher, a function in which a step of the bug is made
    "graph-lock-unlock-no-kick": ("graph_lock", CORPUS / "graph_lock" / "last-reader-leaves-while-the-writer-polls", "bdrv_graph_co_rdunlock"),
    "co-sleep-early-wake": ("co_sleep", CORPUS / "co_sleep" / "image-closes-while-its-cleaner-goes-back-to-sleep", "qemu_co_sleep_wake"),
    "monitor-cleanup-no-kick": ("monitor", None, "aio_bh_enqueue"),
    "linux-aio-unbounded-recursion": ("linux_aio", CORPUS / "linux_aio" / "copy-from-cached-to-cached", None),
}
NAME = "what-it-shows"
STOP = re.compile(r"^([> ])([* ]) +(\d+)  (.+?): (\S+): (.*)  \((\?\?|.+:(\d+))\)$")


class PromoteTest(kit.FolderTest):
    """The sources that are promoted into are a copy."""

    def setUp(self):
        super().setUp()
        self.root = self.folder / "root"
        for folder in ("corpus", "fuzz", "sanitizers", "tests/corpus", "tests/faults"):
            shutil.copytree(kit.ROOT / folder, self.root / folder)
        self.environment = {"WAKEFUZZ_ROOT": str(self.root), "WAKEFUZZ_BUILD": str(kit.BUILD)}
        self.program = self.folder / "walk.c"

    def crasher(self, fault):
        target, seed, _ = SEEDS[fault]
        if seed:
            (self.root / "corpus" / target / seed.name).unlink()
        return self.file(f"plain-{fault}-1", seed.read_bytes() if seed else kit.finding(fault))

    def promote(self, fault, *options):
        path = self.crasher(fault)
        status, out, err = self.wakefuzz("promote", "--fault", fault, "--name", NAME, "--program", self.program, *options, path, **self.environment)
        self.assertEqual((status, err), (0, ""))
        return path, out

    def command(self):
        """What the head of the program says, to compile it."""
        return re.search(r"\n\n(    ninja .*?)\n\n", self.program.read_text("utf-8"), re.DOTALL)[1]

    def compile(self):
        status, out, err = kit.call("sh", "-ec", self.command())
        self.assertEqual(status, 0, out + err)
        return self.folder / "walk"

    def snapshot(self):
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def fails(self, *arguments, says, **environment):
        """With one line, and nothing is there that was not there before."""
        before = self.snapshot()
        self.could_not("promote", *arguments, says=says, **{**self.environment, **environment})
        self.assertEqual(self.snapshot(), before)

    # ---- each of the four

    def test_it_becomes_a_file_a_test_and_a_program(self):
        for fault, (target, _, function) in SEEDS.items():
            with self.subTest(fault):
                self.program.unlink(missing_ok=True)
                list_before = (self.root / "tests" / "corpus" / "shows.list").read_text("utf-8")
                path, out = self.promote(fault)
                promoted = self.root / "corpus" / target / NAME
                self.assertEqual(promoted.read_bytes(), path.read_bytes())
                self.assertIn(f"corpus/{target}/{NAME}: {path.stat().st_size} byte", out)
                self.shows(fault, target, promoted, list_before)
                self.walks(fault, function)

    def shows(self, fault, target, promoted, list_before):
        """The line is one that tests/corpus/shows understands, and that holds."""
        text = (self.root / "tests" / "corpus" / "shows.list").read_text("utf-8")
        self.assertTrue(text.startswith(list_before))
        (line,) = text[len(list_before):].splitlines()
        named_fault, name, *words = line.split()
        self.assertEqual((named_fault, name), (fault, f"{target}/{NAME}"))
        self.assertGreaterEqual(len(words), 2)
        output = kit.call(kit.BUILD / "plain" / "tests" / "faults" / f"{fault}-replay", promoted)
        self.assertIsNone(missing(output[2] + output[1], words))
        silent = kit.call(kit.BUILD / "plain" / "fuzz" / f"{target}-replay", promoted)
        self.assertIsNotNone(missing(silent[2] + silent[1], words))

    def walks(self, fault, function):
        """The program stops where the report says, in order, and is the same execution."""
        status, out, err = kit.call(self.compile())
        self.assertEqual(status, 1, out + err)
        stops = [match.groups() for match in map(STOP.match, out.splitlines()) if match]
        steps = [int(stop[2]) for stop in stops]
        self.assertEqual(steps, sorted(set(steps)))
        text = self.program.read_text("utf-8")
        listed = [int(step) for step in re.findall(r"(?m)^    \{ (\d+), ", text)]
        self.assertEqual(steps, listed)
        self.assertGreater(len(steps), 5)
        if function:
            self.assertIn(function, [stop[4] for stop in stops if stop[1] == "*"])
        report = kit.call(kit.BUILD / "plain" / "tests" / "faults" / f"{fault}-replay", "--quiet", self.folder / f"plain-{fault}-1")[1]
        self.assertIn(re.search(r"verdict=\S+ hash=\S+", report)[0], out)
        self.assertIn("panic: ", err)
        if not fault.startswith("linux-aio"):
            self.assertIn(">", [stop[0] for stop in stops])

    def test_gdb_walks_it(self):
        if not shutil.which("gdb"):
            self.skipTest("no gdb here: tools/setup installs it")
        self.promote(kit.FAULT)
        program = self.compile()
        command = re.search(r"(?m)^    (gdb .*)$", self.program.read_text("utf-8"))[1]
        words = [*command.replace("'", "").split(" -ex "), ]
        self.assertEqual(words[1:], ["break wakefuzz_step", f"run {program}"])
        stops = [stop for stop in map(STOP.match, kit.call(program)[1].splitlines()) if stop]
        bug = next(i for i, stop in enumerate(stops) if stop[2] == "*")
        status, out, err = kit.call("gdb", "-q", "-batch", "-ex", "break wakefuzz_step", "-ex", "run", "-ex", f"continue {bug}", "-ex",
                                    "print stop->step", "-ex", f"frame function {stops[bug][5]}", "-ex", "delete", "-ex", "continue", program)
        self.assertEqual(status, 0, err)
        self.assertIn(f"$1 = {stops[bug][3]}\n", out, err)
        self.assertRegex(out, rf"\n#\d+ +0x[0-9a-f]+ in {stops[bug][5]} \(.*\) at .*/{stops[bug][7]}\n")
        self.assertIn("verdict=missed-wakeup hash=", out)

    # ---- the program tells when it is not what it was

    def changed(self, old, new):
        text = self.program.read_text("utf-8")
        self.assertEqual(len(re.findall(old, text)), 1, old)
        self.program.write_text(re.sub(old, new, text), "utf-8")
        return kit.call(self.compile())

    def test_the_program_of_a_bug_that_is_gone_ends_with_0(self):
        self.promote(kit.FAULT)
        status, out, _ = self.changed(r"0x11, 0x20, 0x08, 0x08,", "0x11, 0x20, 0x00, 0x08,")  # no decision: first in, first out
        self.assertEqual(status, 0, out)
        self.assertIn("verdict=none", out)

    def test_another_execution_is_none_that_was_promoted(self):
        self.promote(kit.FAULT)
        status, _, err = self.changed(r'\.hash = "[0-9a-f]+"', '.hash = "0123456789abcdef"')
        self.assertEqual(status, 2)
        self.assertIn("the code has changed since", err)

    # ---- whoever asks for too much

    def test_names(self):
        path = self.crasher(kit.FAULT)
        self.fails("--fault", kit.FAULT, path, says="--name NAME is missing")
        for name in ("", "Big", "a b", "../a", "a/b", "-a", "a-", "a--b", "a_b", ".", "ä", "a\n", "x" * 101):
            self.fails("--fault", kit.FAULT, "--name", name, path, says="is no name for a file of the corpus")
        self.fails("--name", NAME, says="give one FILE")
        self.fails("--fault", kit.FAULT, "--name", NAME, "--program", "walk.py", path, says="ends with .c")

    def test_what_is_there_already(self):
        path = self.crasher(kit.FAULT)
        there = self.root / "corpus" / "graph_lock" / NAME
        there.write_bytes(b"precious")
        self.fails("--fault", kit.FAULT, "--name", NAME, path, says=f"{NAME} is there already")
        there.write_bytes(path.read_bytes())
        self.fails("--fault", kit.FAULT, "--name", "another-name", path, says=f"corpus/graph_lock/{NAME} holds the same bytes already")
        there.unlink()
        there.symlink_to(self.folder / "nowhere")
        self.fails("--fault", kit.FAULT, "--name", NAME, path, says=f"{NAME} is there already")
        there.unlink()
        self.program.write_text("int precious;\n")
        self.fails("--fault", kit.FAULT, "--name", NAME, "--program", self.program, path, says="not generated by this command")

    def test_a_program_that_was_generated_is_written_anew(self):
        path, _ = self.promote(kit.FAULT)
        (self.root / "corpus" / "graph_lock" / NAME).unlink()
        self.assertEqual(self.wakefuzz("promote", "--fault", kit.FAULT, "--name", "other", "--program", self.program, path, **self.environment)[0], 0)
        self.assertIn("graph_lock/other, step by step", self.program.read_text("utf-8"))

    def test_no_finding_and_the_wrong_target(self):
        path = self.crasher(kit.FAULT)
        self.fails("--target", "graph_lock", "--flavour", "plain", "--name", NAME, path, says="no finding")
        self.fails("--target", "monitor", "--flavour", "plain", "--name", NAME, path, says="no finding")
        self.fails("--fault", kit.FAULT, "--name", NAME, self.file("empty"), says="no finding")
        self.fails("--target", "nonsense", "--name", NAME, path, says="'nonsense'; there are: ")
        self.fails("--name", NAME, self.file("crash-0123"), says="whose input is it?")
        self.fails("--fault", kit.FAULT, "--name", NAME, self.folder / "none", says="none")
        self.fails("--fault", kit.FAULT, "--name", NAME, path, says="is not built: ninja -C ", WAKEFUZZ_BUILD=str(self.folder / "none"))

    def test_a_folder_that_cannot_be_written_to(self):
        path = self.crasher(kit.FAULT)
        shutil.rmtree(self.root / "corpus" / "graph_lock")
        self.fails("--fault", kit.FAULT, "--name", NAME, path, says="cannot write into ")
        (self.root / "corpus" / "graph_lock").symlink_to("/proc/self")
        self.fails("--fault", kit.FAULT, "--name", NAME, "--program", self.program, path, says="cannot write ")
        self.assertFalse(self.program.exists())

    def test_a_program_that_cannot_be_written(self):
        path = self.crasher(kit.FAULT)
        self.fails("--fault", kit.FAULT, "--name", NAME, "--program", "/proc/none/walk.c", path, says="cannot make the folder")

    def test_a_full_disk_leaves_nothing(self):
        """At the first of the three files, and at the last: what was written before it is taken back."""
        path = self.crasher(kit.FAULT)
        shows = self.root / "tests" / "corpus" / "shows.list"
        for room in (0, 1 << 16):
            if room:
                shows.write_text(shows.read_text("utf-8") + "# a comment\n" * 8000, "utf-8")

            def little_room(room=room):
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

            before = self.snapshot()
            done = subprocess.run([kit.PROGRAM, "promote", "--fault", kit.FAULT, "--name", NAME, "--program", self.folder / "new" / "walk.c", path],
                                  stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=kit.PATIENCE_S, check=False,
                                  preexec_fn=little_room, env={**os.environ, **self.environment})
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertRegex(done.stderr, r"^wakefuzz promote: cannot write \S+: .*; nothing was promoted\n$")
            self.assertIn("shows.list" if room else "walk.c", done.stderr)
            self.assertEqual(self.snapshot(), before)
            self.assertFalse((self.folder / "new").exists())


if __name__ == "__main__":
    unittest.main()
