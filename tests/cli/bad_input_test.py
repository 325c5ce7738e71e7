"""
What goes wrong around a command: folders that cannot be written to, full disks, cut and foreign files, an interrupt, terminals that are none.
One line says what it is, the status is 2, and nothing is lost.

    python3 -m unittest discover -s tests/cli -p 'bad_input_test.py'
"""

import json
import os
import pty
import select
import signal
import subprocess
import time
import unittest

import kit

NAME = f"plain-{kit.FAULT}-missed-wakeup-1"
# $1: the file system's options; $2: its folder; $3: what goes into it; then the command. Its files are listed on stdout at the end.
IN_SMALL_FOLDER = """
mount -t tmpfs -o size=64k small "$2" && cp "$3" "$2" || exit 99
[ "$1" != full ] || { dd if=/dev/zero of="$2/filler" bs=4k 2>/dev/null; :; }
[ "$1" != read-only ] || mount -o remount,ro "$2" || exit 99
folder=$2
shift 3
"$@" >&2
status=$?
cd "$folder" && for name in *; do printf '%s %s\\n' "$name" "$(sha256sum <"$name" | cut -c1-64)"; done
exit $status
"""


class BadInputTest(kit.FolderTest):
    def in_small_folder(self, kind, *command, **environment):
        """
        Run a command with "small" below this test's folder as a file system of 64 KiB, "full" or "read-only", that holds a finding. Returns
        its status, what it printed and {name: hash} of the files.
        """
        small = self.folder / "small"
        small.mkdir(exist_ok=True)
        finding = self.file(NAME, kit.finding())
        if kit.call("unshare", "-rm", "sh", "-c", 'mount -t tmpfs small "$1"', "sh", small)[0] != 0:
            self.skipTest("a small file system cannot be mounted here")
        status, out, err = kit.call("unshare", "-rm", "sh", "-c", IN_SMALL_FOLDER, "sh", kind, small, finding, *command,
                                    env={**os.environ, **environment})
        self.assertNotEqual(status, 99, err)
        return status, err, dict(line.split() for line in out.splitlines())

    def nothing_done(self, kind, *arguments, says, **environment):
        status, err, files = self.in_small_folder(kind, kit.PROGRAM, *arguments, **environment)
        self.assertEqual(status, 2, err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(says, err)
        self.assertEqual(files.keys() - {"filler"}, {NAME})
        return files

    # ---- folders that cannot be written to, and full ones

    def test_what_is_printed_onto_a_full_disk(self):
        for arguments in (["list"], ["--help"], ["--version"], ["explain", "--fault", kit.FAULT, "--flavour", "plain", self.file(NAME, kit.finding())]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([kit.PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, encoding="utf-8",
                                      timeout=kit.PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertRegex(done.stderr, r"\Awakefuzz[a-z ]*: cannot write what was to be printed.*\n\Z")

    def test_minimize_into_a_folder_that_is_read_only(self):
        self.nothing_done("read-only", "minimize", self.folder / "small" / NAME, says="cannot write into")

    def test_minimize_onto_a_full_disk(self):
        status, err, files = self.in_small_folder("full", kit.PROGRAM, "minimize", self.folder / "small" / NAME)
        self.assertEqual(status, 2, err)
        self.assertIn("cannot write ", err)
        self.assertEqual(files.keys(), {NAME, "filler"})  # no half of a result

    def test_merge_into_a_folder_that_is_read_only(self):
        self.nothing_done("read-only", "merge", "--output", self.folder / "small" / "out", "graph_lock", self.folder,
                          says="cannot make the folder")

    def test_cover_into_a_folder_that_is_read_only(self):
        self.nothing_done("read-only", "cover", "--html", self.folder / "small" / "page", "graph_lock", says="cannot make the folder")

    def test_hunt_where_nothing_can_be_written(self):
        for kind, says in (("read-only", "disk full"), ("full", "disk full")):
            status, err, files = self.in_small_folder(kind, kit.PROGRAM, "run", "graph_lock", WAKEFUZZ_BUILD=str(self.folder / "small"))
            self.assertEqual(status, 2, err)
            self.assertIn(says, err)
            self.assertIn(NAME, files)

    def test_what_only_reads_works_where_nothing_can_be_written(self):
        small = self.folder / "small"
        for arguments, wanted in ((("repro", "-n", "1", "--flavour", "plain", small / NAME), 1), (("explain", small / NAME), 0),
                                  (("triage", small), 1)):
            status, err, files = self.in_small_folder("read-only", kit.PROGRAM, *arguments)
            self.assertEqual((status, files.keys()), (wanted, {NAME}), err)

    # ---- files

    def test_a_finding_that_was_cut(self):
        """Each beginning and each end of an input is an input."""
        data = kit.finding()
        for cut in range(0, len(data) + 1, max(1, len(data) // 8)):
            self.file(f"begin-{cut}", data[:cut])
            self.file(f"end-{cut}", data[cut:])
        status, out, err = self.wakefuzz("triage", "--fault", kit.FAULT, "--flavour", "plain", "--json", self.folder)
        self.assertEqual(status, 1, err)
        told = sum(row["files"] for row in json.loads(out)) + len(err.splitlines())
        self.assertEqual(told, len(list(self.folder.iterdir())))  # each is in a group, or told to be no finding
        self.assertNotIn("did not get through", err)

    def test_what_is_too_large_is_told_and_the_rest_is_done(self):
        huge = self.file("huge")
        os.truncate(huge, 1 << 40)
        self.file(NAME, kit.finding())
        status, out, err = self.wakefuzz("triage", "--fault", kit.FAULT, "--flavour", "plain", self.folder)
        self.assertEqual(status, 2)
        self.assertIn("huge has 1099511627776 bytes, and no input has more than", err)
        self.assertIn("missed-wakeup", out)
        self.could_not("merge", "--output", self.folder / "out", "graph_lock", self.folder, says="huge has 1099511627776 bytes")
        self.assertFalse((self.folder / "out").exists())

    def test_what_is_no_file(self):
        for command in ("repro", "explain", "minimize"):
            self.could_not(command, "--target", "graph_lock", "/dev/zero", says="/dev/zero is no regular file")

    def test_a_flavour_without_schedules(self):
        for flavour in ("native", "coverage"):
            self.could_not("repro", "--flavour", flavour, self.file(NAME, kit.finding()), says="there are: ")

    # ---- an interrupt

    def interrupt(self, seconds):
        """Ctrl-C reaches the command and what it runs, some time after the first result is on disk."""
        path = self.file(NAME, kit.finding())
        small, text = self.folder / (NAME + ".min"), self.folder / (NAME + ".min.txt")
        with subprocess.Popen([kit.PROGRAM, "minimize", "--flavour", "plain", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True) as process:
            deadline = time.monotonic() + kit.PATIENCE_S
            while not small.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(seconds)
            try:
                os.killpg(process.pid, signal.SIGINT)
            except ProcessLookupError:
                pass  # it was faster
            _, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(path.read_bytes(), kit.finding())
        self.assertIn("panic: missed-wakeup: ", text.read_text("utf-8"))
        found = kit.describe(kit.BUILD / "plain" / "tests" / "faults" / f"{kit.FAULT}-replay", path, small)
        before, after = found[str(path)], found[str(small)]
        self.assertEqual(before["key"], after["key"])
        cost_before, cost_after = [(int(one["preemptions"]), int(one["bytes"])) for one in (before, after)]
        self.assertLessEqual(cost_after, cost_before)  # fewer preemptions come first, then bytes

    def test_interrupted_minimize_keeps_the_best_so_far(self):
        self.interrupt(0)

    def test_interrupted_a_little_later(self):
        self.interrupt(0.1)

    # ---- terminals

    def on_terminal(self, *arguments, **environment):
        """(stdout, stderr) of a command, both of which are terminals."""
        pairs = [pty.openpty() for _ in range(2)]
        with subprocess.Popen([str(word) for word in (kit.PROGRAM, *arguments)], stdin=subprocess.DEVNULL, stdout=pairs[0][1],
                              stderr=pairs[1][1], env={**os.environ, **environment}) as process:
            texts = {master: b"" for master, _ in pairs}
            for _, slave in pairs:
                os.close(slave)
            waiting = set(texts)
            while waiting:
                for master in select.select(waiting, [], [], kit.PATIENCE_S)[0]:
                    try:
                        block = os.read(master, 1 << 16)
                    except OSError:
                        block = b""
                    texts[master] += block
                    if not block:
                        waiting.discard(master)
        for master in texts:
            os.close(master)
        return [text.decode() for text in texts.values()]

    def test_colours_are_for_terminals_only(self):
        path = self.file(NAME, kit.finding())
        for arguments in (("list", "flavours"), ("explain", path), ("triage", self.folder)):
            self.assertIn("\033[1", self.on_terminal(*arguments, NO_COLOR="")[0], arguments)
            self.assertNotIn("\033", self.on_terminal(*arguments, NO_COLOR="1")[0], arguments)
            self.assertNotIn("\033", "".join(self.wakefuzz(*arguments)[1:]), arguments)

    def test_work_that_takes_its_time_shows_a_bar(self):
        path = self.file(NAME, kit.finding())
        out, err = self.on_terminal("repro", "-n", "4", "--flavour", "plain", path, NO_COLOR="1")
        for n in range(4):
            self.assertIn(f"] {n}/4 plain", err)
        self.assertTrue(err.endswith("\r\033[K"), err)  # it goes away
        self.assertNotIn("/4 ", out)
        self.assertNotIn("#", self.wakefuzz("repro", "-n", "4", "--flavour", "plain", path)[2])
        self.assertIn("] 0/1 ", self.on_terminal("triage", self.folder)[1])
        self.assertIn("probes", self.on_terminal("minimize", path)[1])

    # ---- JSON

    def test_every_command_that_prints_a_table_has_json(self):
        lines = [line.split() for line in self.wakefuzz("--help")[1].splitlines() if line.startswith("  ")]
        without = [line[0] for line in lines if "--json" not in self.wakefuzz(line[0], "--help")[1]]
        self.assertLessEqual(set(without), {"explain", "promote", "completion"})  # a report, files, a script


if __name__ == "__main__":
    unittest.main()
