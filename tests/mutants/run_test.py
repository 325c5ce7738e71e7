"""
tests/mutants/run on a few mutants of known fate, in flavour plain with two targets; takes their programs, and builds them where they are missing.

    python3 -m unittest discover -s tests/mutants -p '*_test.py'
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lib"))
import build
import mutants
from replaying import Comparison, corpus_files

TARGETS = ["co_sleep", "graph_lock"]
RESULTS = mutants.results_file(["plain"], TARGETS)
PATIENCE_S = 600

# What tests/faults/graph-lock-unlock-no-kick.patch is about, too; in its target.
KILLED = ("graph_lock.c:bdrv_graph_co_rdunlock:drop:aio_wait_kick", "missed-wakeup")
EQUIVALENT = "aio_wait.c:aio_wait_kick:always:qatomic_read.global_aio_wait.num_waiters"
WEAK = "aio_wait.c:aio_wait_kick:drop:smp_mb"
UNREACHED = "monitor.c:monitor_cleanup:drop:*"


def command(*arguments, targets=None):
    chosen = [word for target in targets or TARGETS for word in ("--target", target)]
    return [str(ROOT / "tests" / "mutants" / "run"), "--flavour", "plain", "--jobs", "1", *chosen, *arguments]


def run(*arguments, status=None, targets=None):
    done = subprocess.run(command(*arguments, targets=targets), stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=PATIENCE_S,
                          check=False)
    if status is not None and done.returncode != status:
        raise AssertionError(f"exit status {done.returncode}, not {status}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def known(name, results=RESULTS):
    for line in reversed(results.read_text("utf-8").splitlines()):
        if json.loads(line)["name"] == name:
            return json.loads(line)
    return None


class RunTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        mutants.build_programs(["plain"], TARGETS)
        build.build("plain", [build.goal("plain", build.program("plain", target, replay=True)) for target in TARGETS])

    def test_with_no_mutant_chosen_each_input_takes_the_steps_it_takes_in_the_core(self):
        for target in TARGETS:
            comparison = Comparison(corpus_files(target))
            comparison.add("core", build.program("plain", target, replay=True), 1, 1)
            comparison.add("mutated", mutants.program("plain", target, replay=True), 1, 1)
            self.assertEqual((comparison.trouble, comparison.differing()), ([], []))

    def test_fault_as_a_mutant_is_killed_with_its_verdict(self):
        output = run("--time", "0", KILLED[0], status=0, targets=["graph_lock"])
        self.assertIn(f"{KILLED[0]}: killed ({KILLED[1]}; corpus of graph_lock, plain)", output)
        result = known(KILLED[0], mutants.results_file(["plain"], ["graph_lock"]))
        self.assertEqual((result["status"], result["by"], result["verdict"]), ("killed", "corpus", KILLED[1]))
        printed = [line.strip() for line in output.splitlines() if line.strip().startswith("WAKEFUZZ_MUTANT=")][0]
        done = subprocess.run(["sh", "-c", printed], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        self.assertIn(f"verdict={KILLED[1]} ", done.stdout)
        self.assertIn("panic: missed-wakeup: main waits in bdrv_graph_wrlock", done.stderr)

    def test_equivalent_mutant_survives_and_is_no_failure(self):
        output = run("--time", "2", EQUIVALENT, status=0)
        self.assertIn(f"{EQUIVALENT}: survived", output)
        self.assertGreater(known(EQUIVALENT)["executions"], 0)

    def test_mutant_that_no_target_executes_is_said_to_be_so(self):
        output = run("--time", "0", UNREACHED, status=1)
        self.assertIn("not reached by any target", output)
        self.assertNotIn("survived (", output)

    def test_weak_memory_is_a_class_of_its_own(self):
        line = [line for line in run("--list", WEAK, status=0).splitlines() if WEAK in line][0]
        self.assertTrue(line.startswith("needs weak memory"), line)
        self.assertEqual(run("--time", "0", "--kind", "barrier", status=0).count("to try"), 0)

    def test_bad_options_are_refused_in_one_line(self):
        for arguments, said in ((("--time", "-1"), "whole number"), (("--jobs", "0"), "whole number"), (("--flavour", "native"), "unknown flavour"),
                                (("--target", "nothing"), "unknown target 'nothing'"), (("--kind", "rubber"), "unknown kind"),
                                (("no.c:such:mutant:x",), "no mutant is called"), (("--tmie", "1"), "--help")):
            with self.subTest(arguments=arguments):
                lines = [line for line in run(*arguments, status=2).splitlines() if not line.startswith("building ")]
                self.assertEqual(len(lines), 1, lines)
                self.assertIn(said, lines[0])

    def test_program_refuses_a_mutant_that_is_not_there(self):
        program = mutants.program("plain", "graph_lock", replay=True)
        done = subprocess.run([program, corpus_files("graph_lock")[0]], env={**os.environ, "WAKEFUZZ_MUTANT": "x.c:y:drop:z"},
                              capture_output=True, encoding="utf-8", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("not 'x.c:y:drop:z'", done.stderr)

    def test_killed_run_goes_on_where_it_was(self):
        RESULTS.unlink(missing_ok=True)
        process = subprocess.Popen(command("--time", "0", "--kind", "kick", "--kind", "wake"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + PATIENCE_S
        while not (RESULTS.exists() and RESULTS.read_bytes().count(b"\n") >= 3) and process.poll() is None:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        self.assertIsNone(process.poll())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = [json.loads(line)["name"] for line in RESULTS.read_text("utf-8").splitlines() if line.endswith("}")]
        with open(RESULTS, "ab") as file:
            file.write(b'{"name": "torn')
        run("--time", "0", "--kind", "kick", "--kind", "wake")
        names = [json.loads(line)["name"] for line in RESULTS.read_text("utf-8").splitlines() if line.endswith("}")]
        self.assertEqual(names[:len(done)], done)
        self.assertEqual(len(set(names)), len(names), "a mutant was tried twice")
        rows = mutants.table("plain")
        self.assertEqual(set(names), {row["name"] for row in rows if row["kind"] in ("kick", "wake")})


if __name__ == "__main__":
    unittest.main()
