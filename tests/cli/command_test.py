"""
The wakefuzz command as a user meets it: what each command prints and returns, on a finding of a real fault and on all that is none.

    python3 -m unittest discover -s tests/cli -p '*_test.py'
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest

import kit

VERDICT = "missed-wakeup"
SUMMARY = "missed-wakeup: main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it"
ON_A_FILE = ("repro", "explain", "minimize")


def named(number=1):
    return f"asan-{kit.FAULT}-{VERDICT}-{number}"


class CommandTest(kit.FolderTest):
    def finding(self, name=named()):
        return self.file(name, kit.finding())

    # ---- repro

    def test_repro_runs_in_each_flavour_that_is_built(self):
        status, out, err = self.wakefuzz("repro", "-n", "2", "--json", self.finding())
        rows = json.loads(out)
        self.assertEqual(status, 1, err)
        self.assertIn("plain", [row["flavour"] for row in rows])
        self.assertEqual({(row["verdict"], row["runs"], row["of"]) for row in rows}, {(VERDICT, 2, 2)})
        self.assertEqual(len({row["trace_hash"] for row in rows}), 1)

    def test_repro_of_no_finding_ends_with_0(self):
        corpus = sorted((kit.ROOT / "corpus" / "graph_lock").iterdir())[0]
        status, out, err = self.wakefuzz("repro", "-n", "1", "--flavour", "plain", corpus)
        self.assertEqual(status, 0, err)
        self.assertRegex(out, r"(?m)^plain +none +1 +1 ")

    # ---- explain

    def test_explain_prints_the_report(self):
        status, out, err = self.wakefuzz("explain", "--flavour", "plain", self.finding())
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.startswith(f"panic: {SUMMARY}\n"), out)
        self.assertRegex(out, r"reader_count -?\d+ -> -?\d+ made main's condition true")
        self.assertIn("DEDUP_TOKEN: ", out)
        self.assertNotIn("\033", out)  # no terminal, no colours

    # ---- minimize

    def test_minimize_writes_the_input_and_its_report(self):
        path = self.finding()
        before = path.read_bytes()
        status, out, err = self.wakefuzz("minimize", "--json", path)
        result = json.loads(out)
        small = self.folder / (path.name + ".min")
        self.assertEqual(status, 0, err)
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual(result["bytes"], small.stat().st_size)
        self.assertLessEqual(result["bytes"], 16)
        self.assertLessEqual(result["preemptions"], 3)
        self.assertEqual(result["verdict"], VERDICT)
        self.assertIn("waiter=bdrv_graph_wrlock waker=bdrv_graph_co_rdunlock object=reader_count", result["key"])
        self.assertIn(f"panic: {SUMMARY}", small.with_name(small.name + ".txt").read_text("utf-8"))
        status, out, err = self.wakefuzz("repro", "-n", "1", small)  # whose it is stands beside it
        self.assertEqual(status, 1, err)

    def test_minimize_overwrites_nothing_unless_told(self):
        path = self.finding()
        there = self.file(path.name + ".min", b"precious")
        self.could_not("minimize", path, says="--force")
        self.assertEqual(there.read_bytes(), b"precious")
        self.assertEqual(self.wakefuzz("minimize", "--force", path)[0], 0)
        self.assertNotEqual(there.read_bytes(), b"precious")

    def test_minimize_where_nothing_can_be_written(self):
        self.could_not("minimize", "--output", "/proc/none/out", self.finding(), says="cannot write into /proc/none")
        status, _, err = self.wakefuzz("minimize", "--output", "/proc/out", self.finding())
        self.assertEqual(status, 2)
        self.assertIn("cannot write /proc/out", err)

    def test_minimize_on_a_full_disk(self):
        """A file that cannot grow fails as on a full disk."""
        def no_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

        path = self.finding()
        done = subprocess.run([kit.PROGRAM, "minimize", path], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                              timeout=kit.PATIENCE_S, check=False, preexec_fn=no_room)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"cannot write .*: .*File too large")
        self.assertEqual([file.name for file in self.folder.iterdir()], [path.name])

    def test_minimize_with_no_time_keeps_the_finding(self):
        path = self.finding()
        status, out, err = self.wakefuzz("minimize", "--time", "0.001", path)
        self.assertEqual(status, 0, err)
        self.assertIn("stopped", out)
        self.assertEqual(self.wakefuzz("repro", "-n", "1", str(path) + ".min")[0], 1)

    # ---- triage

    def test_triage_groups_by_root_cause(self):
        self.finding(named(1))
        large = self.file(named(2), kit.finding())
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as other:
            self.assertEqual(self.wakefuzz("minimize", "--output", f"{other}/small", large)[0], 0)
            shutil.copy(f"{other}/small", self.folder / named(3))
        self.file("plain-canary-leak-leak-1")
        status, out, err = self.wakefuzz("triage", "--flavour", "plain", "--json", self.folder)
        rows = json.loads(out)
        self.assertEqual(status, 1, err)
        self.assertEqual([(row["verdict"], row["files"], row["program"]) for row in rows],
                         [(VERDICT, 3, kit.FAULT), ("leak", 1, "canary-leak")])
        self.assertEqual(rows[0]["smallest"], str(self.folder / named(3)))

    def test_triage_tells_what_it_cannot_run_and_does_the_rest(self):
        self.finding()
        self.file("nobody-knows-whose")
        status, out, err = self.wakefuzz("triage", "--flavour", "plain", self.folder)
        self.assertEqual(status, 2)
        self.assertIn("nobody-knows-whose: whose input is it?", err)
        self.assertIn(VERDICT, out)

    def test_triage_of_nothing(self):
        self.could_not("triage", self.folder, says="holds no inputs")
        self.could_not("triage", self.folder / "none", says="none")

    # ---- merge

    def test_merge_keeps_names_and_drops_what_adds_nothing(self):
        corpus = kit.ROOT / "corpus" / "graph_lock"
        more = self.folder / "more"
        more.mkdir()
        for path in corpus.iterdir():
            shutil.copy(path, more / ("copy-of-" + path.name))
        status, out, err = self.wakefuzz("merge", "--json", "--output", self.folder / "out", "graph_lock", more)
        self.assertEqual(status, 0, err)
        files = {path.name: path.read_bytes() for path in (self.folder / "out").iterdir()}
        originals = {path.name: path.read_bytes() for path in corpus.iterdir()}
        self.assertTrue(files)
        self.assertLessEqual(files.items(), originals.items())  # the copies add nothing, and no name is new
        own, copies = json.loads(out)
        self.assertEqual((own["files"], own["kept"], copies["files"], copies["kept"]), (len(originals), len(files), len(originals), 0))
        self.could_not("merge", "--output", self.folder / "out", "graph_lock", more, says="holds files already")

    def test_merge_of_bad_folders(self):
        self.could_not("merge", says="give one TARGET")
        self.could_not("merge", "nonsense", self.folder, says="'nonsense'; there are: ")
        self.could_not("merge", "--output", self.folder / "out", "graph_lock", self.folder / "none", says="none")
        self.could_not("merge", "--output", "/proc/none/out", "graph_lock", self.folder, says="cannot make the folder")
        self.could_not("merge", "graph_lock", self.folder, says="is not built: ninja -C", WAKEFUZZ_BUILD=str(self.folder / "none"))
        self.assertFalse((self.folder / "out").exists())

    # ---- run and faults: tools/hunt and tests/faults/table, whose tests are their own

    def test_run_and_faults_are_the_tools(self):
        for command, tool in (("run", "tools/hunt"), ("faults", "tests/faults/table")):
            self.assertEqual(self.wakefuzz(command, "nonsense"), kit.call(kit.ROOT / tool, "nonsense"))
            self.assertEqual(self.wakefuzz(command, "nonsense")[0], 2)

    def test_the_table_of_faults_minimizes_crashers(self):
        status, out, err = self.wakefuzz("faults", "--starts", "1", "--flavour", "plain", "--json", kit.FAULT)
        self.assertEqual(status, 0, err)
        small, large = re.fullmatch(r"(\d+) of (\d+) B", json.loads(out)[0]["crasher"]).groups()
        self.assertLess(int(small), int(large))

    # ---- doctor

    def test_doctor_looks_at_machine_and_programs(self):
        status, out, err = self.wakefuzz("doctor", "--json")
        rows = {row["check"]: row for row in json.loads(out)}
        self.assertIn(status, (0, 2), err)
        self.assertEqual(status == 2, any(row["state"] == "BAD" for row in rows.values()))
        for check in ("packages", "FSGSBASE", "address randomization", "disk", "threads", "memory maps"):
            self.assertIn(check, rows)

    def instrumented(self, flavour, program):
        """What the doctor says where this program stands for the target in a flavour."""
        place = self.folder / flavour / "fuzz" / "graph_lock"
        place.parent.mkdir(parents=True)
        (self.folder / flavour / "build.ninja").touch()
        place.write_text(f"#!/bin/sh\n{program}\n", "ascii")
        place.chmod(0o755)
        status, out, _ = self.wakefuzz("doctor", "--json", WAKEFUZZ_BUILD=str(self.folder))
        row = next(row for row in json.loads(out) if row["check"] == f"graph_lock in {flavour}")
        self.assertEqual(row["state"] == "good" or status == 2, True)
        return row["state"], row["says"]

    def test_doctor_asks_the_program_whether_it_is_instrumented(self):
        counters = "echo 'INFO: Loaded 1 modules (7 inline 8-bit counters)'"
        self.assertEqual(self.instrumented("plain", counters)[0], "good")
        state, says = self.instrumented("asan", counters)
        self.assertEqual(state, "BAD")
        self.assertIn("AddressSanitizer is not in it", says)
        state, says = self.instrumented("tsan", "[ -z \"$TSAN_OPTIONS\" ] || echo Available flags for ThreadSanitizer:")
        self.assertEqual(state, "BAD")
        self.assertIn("coverage counters", says)

    def test_doctor_takes_no_argument(self):
        self.could_not("doctor", "nonsense", says="takes no argument")

    # ---- list

    def test_list_knows_what_the_build_knows(self):
        status, out, _ = self.wakefuzz("list", "faults", "--json")
        names = [row["fault"] for row in json.loads(out)]
        self.assertEqual(status, 0)
        self.assertEqual([name for name in names if "-in-" not in name], (kit.BUILD / "plain" / "tests" / "faults" / "known").read_text("utf-8").split())
        for fault in json.loads(out):
            self.assertIn("-in-" + fault["target"], fault["fault"] if "-in-" in fault["fault"] else "-in-" + fault["target"])
        targets = json.loads(self.wakefuzz("list", "targets", "--json")[1])
        self.assertEqual([row["corpus"] for row in targets],
                         [len(list((kit.ROOT / "corpus" / row["target"]).iterdir())) for row in targets])
        self.assertIn("graph_lock", [row["target"] for row in targets])
        self.could_not("list", "nonsense", says="targets, faults and flavours")

    # ---- bad input, to each command that takes a file

    def test_a_file_that_is_not_there(self):
        for command in ON_A_FILE:
            self.could_not(command, self.folder / "none", says="none")

    def test_a_folder_in_place_of_a_file(self):
        for command in ON_A_FILE:
            self.could_not(command, self.folder, says="no regular file")

    def test_a_huge_file(self):
        path = self.file(named())
        os.truncate(path, 1 << 40)
        for command in ON_A_FILE:
            self.could_not(command, path, says="no input has more than")

    def test_a_report_in_place_of_the_input(self):
        path = self.file(named() + ".txt", f"panic: {SUMMARY}\n".encode())
        for command in ON_A_FILE:
            self.could_not(command, path, says="is a report")

    def test_a_file_that_nobody_knows(self):
        for command in ON_A_FILE:
            self.could_not(command, self.file("crash-0123"), says="whose input is it?")

    def test_a_bare_file_with_its_target(self):
        status, _, err = self.wakefuzz("repro", "-n", "1", "--fault", kit.FAULT, "--flavour", "plain", self.file("bare", kit.finding()))
        self.assertEqual(status, 1, err)

    def test_an_empty_file_is_an_input(self):
        path = self.file(named())
        self.assertEqual(self.wakefuzz("repro", "-n", "1", "--flavour", "plain", path)[0], 0)
        self.could_not("minimize", "--flavour", "plain", path, says="no finding")
        self.could_not("explain", "--flavour", "plain", path, says="no finding")

    def test_a_foreign_file_is_an_input_too(self):
        path = self.file(named(), b"\x7fELF" + bytes(range(256)) * 16)
        self.assertIn(self.wakefuzz("repro", "-n", "1", "--flavour", "plain", path)[0], (0, 1))

    def test_the_wrong_target(self):
        path = self.finding()
        self.could_not("minimize", "--target", "graph_lock", "--flavour", "plain", path, says="no finding")
        self.could_not("explain", "--target", "graph_lock", "--flavour", "plain", path, says="no finding")

    def test_names_that_there_are_not(self):
        for command in ON_A_FILE:
            for option in ("--target", "--fault", "--flavour"):
                self.could_not(command, option, "nonsense", self.finding(), says="'nonsense'; there are: ")

    def test_nothing_is_built(self):
        for command in ON_A_FILE:
            self.could_not(command, self.finding(), says="is not built: ninja -C ", WAKEFUZZ_BUILD=str(self.folder / "none"))

    def test_no_sources(self):
        self.could_not("list", "targets", says="WAKEFUZZ_ROOT", WAKEFUZZ_ROOT=str(self.folder))

    def test_unknown_commands_and_options(self):
        self.assertEqual(self.wakefuzz()[0], 2)
        self.assertIn("there is no command", self.wakefuzz("nonsense")[2])
        for command in (*ON_A_FILE, "triage", "list"):
            self.could_not(command, "--nonsense", says="--help")
        for command in (*ON_A_FILE, "triage"):
            self.could_not(command, says="give one ")
        self.could_not("repro", "-n", "0", self.finding(), says="-n takes")
        self.could_not("minimize", "--time", "-1", self.finding(), says="--time takes")

    def test_every_command_has_help(self):
        status, out, _ = self.wakefuzz("--help")
        self.assertEqual(status, 0)
        commands = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
        self.assertGreaterEqual(len(commands), 5)
        for command in commands:
            status, text, err = self.wakefuzz(command, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertIn("usage: " if command in ("run", "faults") else command, text)

    def test_a_name_that_begins_with_a_dash(self):
        shutil.copy(self.finding(), self.folder / "-n")
        done = subprocess.run([kit.PROGRAM, "repro", "-n", "1", "--flavour", "plain", "--fault", kit.FAULT, "--", "-n"], cwd=self.folder,
                              capture_output=True, encoding="utf-8", timeout=kit.PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
