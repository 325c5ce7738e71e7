"""
tools/hunt against a stand-in for libFuzzer (fake_target.py): exit statuses, the table, and above all that no finding is lost.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = "graph_lock"
PATIENCE_S = 60  # nothing here takes a tenth of it: only a hang does


def as_in_the_foreground():
    """A job in the background ignores SIGINT, under nohup SIGHUP, and so do its children."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class HuntTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wakefuzz-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.build = self.folder / "build"
        shims = self.folder / "bin"
        shims.mkdir()
        self.shims = shims
        for name in ("ninja", "meson"):
            self.stand_in(name, f"echo {name} is at work")
        for flavour in ("asan", "tsan"):
            place = self.build / flavour / "fuzz"
            place.mkdir(parents=True)
            (self.build / flavour / "build.ninja").touch()
            shutil.copy(HERE / "fake_target.py", place / TARGET)
            (place / TARGET).chmod(0o755)
        self.environment = {**os.environ, "WAKEFUZZ_BUILD": str(self.build), "PATH": f"{shims}:{os.environ['PATH']}",
                            "PYTHONDONTWRITEBYTECODE": "1"}
        self.findings = self.build / "hunt" / "findings"

    def stand_in(self, name, text):
        """A program of this name that is found before the real one; text: what it does, in sh."""
        (self.shims / name).write_text(f"#!/bin/sh\n{text}\n", "ascii")
        (self.shims / name).chmod(0o755)

    def command(self, *arguments):
        return [str(ROOT / "tools" / "hunt"), *arguments]

    def hunt(self, behaviour, *arguments):
        done = subprocess.run(self.command("--time", "1", *arguments), env={**self.environment, "FAKE_TARGET": behaviour},
                              stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False)
        return done.returncode, done.stdout + done.stderr

    def kept(self):
        return sorted(path.name for path in self.findings.iterdir() if path.suffix != ".txt") if self.findings.exists() else []

    def start_waiting(self):
        """A hunt whose fuzzer is at work now; the pipe by which the fuzzer tells that it has ended."""
        ready, done = self.folder / "ready", self.folder / "done"
        os.mkfifo(ready)
        os.mkfifo(done)
        process = subprocess.Popen(self.command("--flavour", "asan", "--seed", "7", TARGET),
                                   env={**self.environment, "FAKE_TARGET": "waits", "FAKE_READY": str(ready), "FAKE_DONE": str(done)},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                                   preexec_fn=as_in_the_foreground)
        self.addCleanup(process.stdout.close)
        self.await_word(ready)
        return process, done

    def await_word(self, pipe):
        """Wait until somebody, a fuzzer for one, has written into the pipe. Returns what."""
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self.assertTrue(select.select([descriptor], [], [], PATIENCE_S)[0], f"no word in {pipe}")
            return os.read(descriptor, 100)
        finally:
            os.close(descriptor)

    # ---- could not run

    def test_json_is_all_that_stdout_has(self):
        done = subprocess.run(self.command("--time", "1", "--flavour", "asan", "--json", TARGET),
                              env={**self.environment, "FAKE_TARGET": "finds"}, stdin=subprocess.DEVNULL, capture_output=True,
                              encoding="utf-8", timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        rows = json.loads(done.stdout)
        self.assertEqual([(row["target"], row["flavour"], row["findings"]) for row in rows], [(TARGET, "asan", 1)])

    def test_json_is_all_that_stdout_has_where_ninja_and_setup_show_their_progress(self):
        """On a terminal ninja writes to it itself. tools/setup misses a package, and installs it."""
        for name, text in (("pkg-config", "exit 1"), ("apt-get", "echo apt-get is at work"), ("id", "echo 0")):
            self.stand_in(name, text)
        ours, theirs = os.openpty()
        with open(self.folder / "out.json", "w+", encoding="utf-8") as out:
            process = subprocess.Popen(self.command("--time", "1", "--flavour", "asan", "--json", TARGET), stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=theirs, env={**self.environment, "FAKE_TARGET": "silent"})
            os.close(theirs)
            said = b""
            with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # it fails when nobody has the other side any more
                while block := terminal.read(4096):
                    said += block
            self.assertEqual(process.wait(timeout=PATIENCE_S), 0, said)
            out.seek(0)
            self.assertEqual([row["target"] for row in json.load(out)], [TARGET])
        self.assertIn(b"ninja is at work", said)
        self.assertIn(b"apt-get is at work", said)

    def test_closed_standard_files_are_as_dev_null(self):
        done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *self.command("--time", "1", "--flavour", "asan", "--seed", "7", TARGET)],
                              env={**self.environment, "FAKE_TARGET": "finds"}, timeout=PATIENCE_S, check=False)
        self.assertEqual((done.returncode, self.kept()), (1, [f"asan-{TARGET}-missed-wakeup-1"]))
        self.assertEqual([path.read_bytes() for path in (self.build / ".lock-asan", self.build / "hunt" / ".lock")], [b"", b""])

    def test_a_reader_that_has_gone_is_no_error_of_python(self):
        self.environment.pop("PYTHONUNBUFFERED", None)  # what is printed stays in memory until the end
        for argument, said in (("--help", ""), ("--no-such-option", "tools/hunt: unrecognized arguments: --no-such-option (tools/hunt --help lists "
                                                "the options)\n")):
            with self.subTest(argument=argument):
                reader, writer = os.pipe()
                os.close(reader)
                done = subprocess.run(self.command(argument), env=self.environment, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE,
                                      encoding="utf-8", timeout=PATIENCE_S, check=False)
                os.close(writer)
                self.assertEqual((done.returncode, done.stderr), (2, said))

    def test_tools_are_found_behind_a_link_and_whatever_python_is_told(self):
        for name in ("hunt", "check"):
            link = self.folder / name
            link.symlink_to(ROOT / "tools" / name)
            for program in (link, ROOT / "tools" / name):
                with self.subTest(program=program):
                    done = subprocess.run([program, "--help"], env={**self.environment, "PYTHONSAFEPATH": "1"}, stdin=subprocess.DEVNULL,
                                          capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_folders_that_cannot_be_used_are_told_in_a_line(self):
        (self.folder / "file").touch()
        (self.folder / "loop").symlink_to("loop")
        (self.folder / "locked" / ".lock-asan").mkdir(parents=True)
        (self.folder / "hunted" / "hunt" / ".lock").mkdir(parents=True)
        (self.folder / "found" / "hunt" / "runs" / f"asan-{TARGET}").mkdir(parents=True)
        (self.folder / "found" / "hunt" / "findings").symlink_to("findings")
        for place in ("file/build", "loop", "loop/build", "locked", "hunted", "found", "n" * 300, "n" * 300 + "/build"):
            with self.subTest(place=place[:20]):
                self.environment["WAKEFUZZ_BUILD"] = str(self.folder / place)
                status, output = self.hunt("silent", "--flavour", "asan", TARGET)
                self.assertEqual(status, 2, output)
                self.assertRegex(output, r"\A(building asan\n)?tools/hunt: .+\n\Z")

    def test_flags_of_the_users_shell_do_not_get_into_a_flavour(self):
        self.stand_in("meson", f"env >{self.folder}/variables")
        self.environment.update(CFLAGS="-O0", CXXFLAGS="-O0", CPPFLAGS="-DX", LDFLAGS="-s")
        (self.build / "asan" / "build.ninja").unlink()
        self.hunt("silent", "--flavour", "asan", TARGET)
        self.assertNotRegex((self.folder / "variables").read_text("utf-8"), "FLAGS=")
        configure = "import build\nwith build.build_lock('x') as lock: build.configure('x', '-Dflavour=external', lock=lock)"
        subprocess.run([sys.executable, "-c", configure], env={**self.environment, "PYTHONPATH": str(ROOT / "tools" / "lib")},
                       stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=True)
        for flag in ("CFLAGS=-O0", "CXXFLAGS=-O0", "CPPFLAGS=-DX", "LDFLAGS=-s"):
            self.assertRegex((self.folder / "variables").read_text("utf-8"), f"(?m)^{flag}$")

    def test_unknown_names_are_refused_with_the_known_ones(self):
        for arguments, known in ((("--flavour", "msan"), "asan, plain, tsan"), (("no_such_target",), TARGET),
                                 (("--fault", "no-such-fault"), "there are:"), (("--tmie", "5"), "--help"),
                                 (("--time", "0"), "whole number"), (("--jobs", "many"), "whole number")):
            with self.subTest(arguments=arguments):
                status, output = self.hunt("silent", *arguments)
                self.assertEqual(status, 2, output)
                self.assertIn(known, output)
                self.assertEqual(len(output.splitlines()), 1, output)

    def test_target_that_cannot_run_is_no_silent_success(self):
        status, output = self.hunt("broken", TARGET)
        self.assertEqual(status, 2, output)
        self.assertIn("fake: no threads to be had", output)

    def test_missing_program_is_no_silent_success(self):
        (self.build / "asan" / "fuzz" / TARGET).unlink()
        status, output = self.hunt("silent", "--flavour", "asan", TARGET)
        self.assertEqual(status, 2, output)
        self.assertIn("cannot start", output)

    # ---- nothing found, something found

    def test_a_name_that_is_given_twice_is_hunted_once(self):
        place = self.build / "asan" / "tests" / "faults"
        place.mkdir(parents=True)
        shutil.copy(self.build / "asan" / "fuzz" / TARGET, place / "canary-leak")
        for arguments in ((TARGET, TARGET), ("--fault", "canary-leak", "--fault", "canary-leak")):
            with self.subTest(arguments=arguments):
                status, output = self.hunt("silent", "--flavour", "asan", *arguments)
                self.assertEqual(status, 0, output)
                self.assertIn("hunting: 1 x 1 s", output)

    def test_nothing_found(self):
        status, output = self.hunt("silent", TARGET)
        self.assertEqual(status, 0, output)
        rows = [line.split() for line in output.splitlines() if line.startswith(TARGET)]
        self.assertEqual([row[1] for row in rows], ["asan", "tsan"])
        for row in rows:
            self.assertEqual((row[2], row[4], row[5], row[6]), ("4,321", "812", "61", "0"))

    def test_finding_is_kept_and_can_be_replayed(self):
        status, output = self.hunt("finds", "--flavour", "asan", "--seed", "7", TARGET)
        name = f"asan-{TARGET}-missed-wakeup-1"
        self.assertEqual(status, 1, output)
        self.assertEqual(self.kept(), [name])
        self.assertEqual((self.findings / name).read_bytes(), b"input of seed 7")
        self.assertIn(f"replay: {self.build}/asan/fuzz/{TARGET} {self.findings / name}", output)
        self.assertIn("bdrv_graph_co_rdunlock did not wake it", (self.findings / (name + ".txt")).read_text("utf-8"))

    def test_findings_are_never_overwritten_and_listed_later(self):
        self.hunt("finds", "--flavour", "asan", "--seed", "7", TARGET)
        status, output = self.hunt("finds", "--flavour", "asan", "--seed", "8", TARGET)
        self.assertEqual(status, 1, output)
        self.assertEqual(self.kept(), [f"asan-{TARGET}-missed-wakeup-{n}" for n in (1, 2)])
        self.assertEqual((self.findings / self.kept()[0]).read_bytes(), b"input of seed 7")
        self.assertIn("1 finding of earlier hunts", output)

    def test_keep_going_finds_more_than_one(self):
        self.hunt("finds", "--time", "3", "--keep-going", "--flavour", "asan", TARGET)
        self.assertGreater(len(self.kept()), 1)

    # ---- what was found before

    def can_describe(self):
        """Programs that tell what makes findings the same: two bugs, by whether the seed is odd."""
        for flavour in ("asan", "tsan"):
            shutil.copy(self.build / flavour / "fuzz" / TARGET, self.build / flavour / "fuzz" / f"{TARGET}-replay")

    def repeats(self):
        folder = self.build / "hunt" / "repeats"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    def test_the_same_root_cause_is_one_finding_whatever_its_bytes(self):
        self.can_describe()
        self.hunt("finds", "--flavour", "asan", "--seed", "7", TARGET)
        status, output = self.hunt("finds", "--flavour", "asan", "--seed", "9", TARGET)
        name = f"asan-{TARGET}-missed-wakeup-1"
        self.assertEqual((status, self.kept()), (1, [name]), output)
        self.assertEqual(self.repeats(), {f"{name}-again-1": b"input of seed 9"})
        self.assertIn(f"found again: {name}", output)
        status, output = self.hunt("finds", "--flavour", "tsan", "--seed", "11", TARGET)  # in another flavour it is the same one, too
        self.assertEqual((status, self.kept(), len(self.repeats())), (1, [name], 2), output)
        status, output = self.hunt("finds", "--flavour", "asan", "--seed", "8", TARGET)
        self.assertEqual((status, self.kept(), len(self.repeats())), (1, [name, f"asan-{TARGET}-missed-wakeup-2"], 2), output)

    def test_a_fault_whose_name_begins_as_another_one_has_findings_of_its_own(self):
        name, other = "monitor-cleanup-no-kick", "asan-monitor-cleanup-no-kick-in-shutdown-missed-wakeup-1"
        place = self.build / "asan" / "tests" / "faults"
        place.mkdir(parents=True)
        shutil.copy(self.build / "asan" / "fuzz" / TARGET, place / name)
        self.findings.mkdir(parents=True)
        (self.findings / other).write_bytes(b"input of seed 7")
        status, output = self.hunt("finds", "--seed", "7", "--fault", name)
        self.assertEqual((status, self.kept()), (1, [other, f"asan-{name}-missed-wakeup-1"]), output)

    def test_the_root_cause_stands_beside_the_finding(self):
        self.can_describe()
        self.hunt("finds", "--flavour", "asan", "--seed", "7", TARGET)
        text = (self.findings / f"asan-{TARGET}-missed-wakeup-1.txt").read_text("utf-8")
        self.assertEqual(text.splitlines()[-1], "key: missed-wakeup waiter=odd")
        for flavour in ("asan", "tsan"):  # it is known without asking the program again
            (self.build / flavour / "fuzz" / f"{TARGET}-replay").write_text("#!/bin/sh\nexit 2\n", "ascii")
        self.hunt("finds", "--flavour", "asan", "--seed", "9", TARGET)
        self.assertEqual(len(self.kept()), 2)  # what nobody can tell is new: in doubt nothing is put aside

    def test_repeats_are_counted(self):
        self.can_describe()
        done = subprocess.run(self.command("--time", "4", "--keep-going", "--flavour", "asan", "--seed", "7", "--json", TARGET),
                              env={**self.environment, "FAKE_TARGET": "finds"}, stdin=subprocess.DEVNULL, capture_output=True,
                              encoding="utf-8", timeout=PATIENCE_S, check=False)
        row = json.loads(done.stdout)[0]
        self.assertEqual(row["findings"], len(self.kept()), done.stderr)
        self.assertLessEqual(row["findings"], 2)
        self.assertEqual(row["again"], len(self.repeats()))

    def test_a_hunt_killed_at_any_step_loses_no_finding_and_doubles_none(self):
        """SIGKILL before and after each call that moves or describes a finding, new ones and repeated ones: the next hunt has them all."""
        self.can_describe()
        (self.folder / "kill").mkdir()
        shutil.copy(HERE / "kill_at.py", self.folder / "kill" / "sitecustomize.py")
        ledger = self.folder / "ledger"
        # The first is new, and so is the second, for which a name is tried in vain; the third repeats the first, and has no text.
        for step, number, findings in (("link", 1, 1), ("link", 4, 3), ("unlink", 1, 1), ("unlink", 3, 3), ("write_text", 1, 1)):
            for when in ("before", "after"):
                with self.subTest(number=number, step=step, when=when):
                    shutil.rmtree(self.build / "hunt", ignore_errors=True)
                    ledger.unlink(missing_ok=True)
                    environment = {**self.environment, "FAKE_TARGET": "finds", "FAKE_LEDGER": str(ledger),
                                   "PYTHONPATH": str(self.folder / "kill"), "KILL_AT": f"{when} {step} {number}"}
                    done = subprocess.run(self.command("--time", "50", "--keep-going", "--flavour", "asan", "--seed", "7", TARGET),
                                          env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                                          timeout=PATIENCE_S, check=False)
                    self.assertEqual(done.returncode, -signal.SIGKILL, done.stdout + done.stderr)
                    self.hunt("silent", "--flavour", "asan", TARGET)
                    found = sorted(ledger.read_bytes().splitlines())
                    self.assertEqual(len(found), findings)
                    kept = [(self.findings / name).read_bytes() for name in self.kept()] + list(self.repeats().values())
                    self.assertEqual(sorted(kept), found)

    def test_full_disk_loses_no_finding(self):
        status, output = self.hunt("disk-full", "--flavour", "asan", "--seed", "7", TARGET)
        self.assertEqual(status, 1, output)
        self.assertIn("disk full?", output)
        self.assertEqual((self.findings / f"asan-{TARGET}-missed-wakeup-1").read_bytes(), b"input of seed 7")

    def hunt_without_room(self, behaviour, environment=None):
        """A hunt whose folder of findings takes nothing: exit status and output."""
        self.findings.mkdir(parents=True)
        full = f"mount -t tmpfs -o size=4k,nr_inodes=1 full {self.findings}" + " && exec \"$@\""
        probe = subprocess.run(["unshare", "-rm", "sh", "-c", full, "sh", "true"], capture_output=True, check=False)
        if probe.returncode:
            self.skipTest("cannot mount a small file system here: " + probe.stderr.decode().strip())
        done = subprocess.run(["unshare", "-rm", "sh", "-c", full, "sh",
                               *self.command("--time", "1", "--flavour", "asan", "--seed", "7", TARGET)],
                              env={**self.environment, "FAKE_TARGET": behaviour, **(environment or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False)
        return done.returncode, done.stdout + done.stderr

    def changed_python(self, text):
        """The environment in which Python programs begin with this text."""
        (self.folder / "changed").mkdir()
        (self.folder / "changed" / "sitecustomize.py").write_text(text, "utf-8")
        return {"PYTHONPATH": str(self.folder / "changed")}

    def test_finding_goes_elsewhere_where_its_folder_is_full(self):
        status, output = self.hunt_without_room("disk-full", {"TMPDIR": str(self.folder)})
        self.assertEqual(status, 1, output)
        elsewhere = list(self.folder.glob(f"wakefuzz-asan-{TARGET}-missed-wakeup-*"))
        self.assertEqual([path.read_bytes() for path in elsewhere], [b"input of seed 7"])
        self.assertIn(str(elsewhere[0]), output)

    def test_finding_is_printed_where_no_folder_takes_it(self):
        """Nobody knows a folder for temporary files, or where home is; /dev/shm is full."""
        status, output = self.hunt_without_room("disk-full", self.changed_python(
            "import errno, pathlib, tempfile\n"
            "def no_folder(): raise FileNotFoundError(errno.ENOENT, 'No usable temporary directory found')\n"
            "def no_home(): raise RuntimeError('Could not determine home directory.')\n"
            "def full(**where): raise OSError(errno.ENOSPC, f'No space left on device: {where}')\n"
            "tempfile.gettempdir, pathlib.Path.home, tempfile.mkstemp = no_folder, no_home, full\n"))
        self.assertEqual(status, 1, output)
        self.assertIn("the input, in base64: aW5wdXQgb2Ygc2VlZCA3\n", output)

    def test_input_that_no_disk_takes_is_printed(self):
        sys.path.insert(0, str(ROOT / "tools" / "lib"))
        import findings
        import hunt
        from fuzzrun import Report
        text = hunt.describe(None, findings.Kept(None), Report("panic: deadlock: main waits\nBase64: aW5wdXQgb2Ygc2VlZCA3\n"))
        self.assertIn("in base64: aW5wdXQgb2Ygc2VlZCA3", text)

    # ---- signals

    def start_building(self):
        """A hunt whose ninja is at work now, and ninja's number."""
        ready = self.folder / "ready"
        os.mkfifo(ready)
        os.mkfifo(self.folder / "never")
        self.stand_in("ninja", f"echo $$ >{ready}\nread word <{self.folder}/never")
        process = subprocess.Popen(self.command("--flavour", "asan", TARGET), env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", preexec_fn=as_in_the_foreground)
        self.addCleanup(process.stdout.close)
        ninja = int(self.await_word(ready))
        self.addCleanup(lambda: self.alive(ninja) and os.kill(ninja, signal.SIGKILL))
        return process, ninja

    @staticmethod
    def alive(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def is_locked(self):
        with open(self.build / ".lock-asan", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def test_a_signal_while_it_builds_ends_ninja_first(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with self.subTest(number=number):
                process, ninja = self.start_building()
                process.send_signal(number)
                output = process.communicate(timeout=PATIENCE_S)[0]
                self.assertEqual(process.returncode, 2, output)
                self.assertIn("tools/hunt: interrupted", output)
                self.assertFalse(self.alive(ninja))
                self.assertFalse(self.is_locked())
                for pipe in ("ready", "never"):
                    (self.folder / pipe).unlink()

    def test_ninja_whose_hunt_was_killed_keeps_others_out_until_it_ends(self):
        process, ninja = self.start_building()
        process.kill()
        process.wait(timeout=PATIENCE_S)
        self.assertTrue(self.alive(ninja))
        self.assertTrue(self.is_locked())
        ended = os.pidfd_open(ninja)
        self.addCleanup(os.close, ended)
        with open(self.folder / "never", "w", encoding="ascii"):
            pass
        self.assertTrue(select.select([ended], [], [], PATIENCE_S)[0])
        self.assertFalse(self.is_locked())

    def test_interrupt_waits_for_the_input_at_hand(self):
        process, done = self.start_waiting()
        process.send_signal(signal.SIGINT)
        self.await_word(done)
        output = process.communicate(timeout=PATIENCE_S)[0]
        self.assertEqual(process.returncode, 1, output)
        self.assertIn("interrupted", output)
        self.assertEqual(self.kept(), [f"asan-{TARGET}-missed-wakeup-1"])

    def test_killed_hunt_leaves_its_finding_to_the_next(self):
        process, done = self.start_waiting()
        process.kill()
        process.wait(timeout=PATIENCE_S)
        self.await_word(done)
        self.assertEqual(self.kept(), [])
        status, output = self.hunt("silent", "--flavour", "asan", TARGET)
        self.assertEqual(status, 0, output)
        self.assertIn("taken over from a hunt that was killed", output)
        self.assertEqual(self.kept(), [f"asan-{TARGET}-unknown-1"])
        self.assertEqual((self.findings / self.kept()[0]).read_bytes(), b"input of seed 7")

    def left_behind(self, data, name=None):
        """What a killed hunt has left: an input that its fuzzer has written, by the name that it gave it."""
        folder = self.build / "hunt" / "runs" / f"asan-{TARGET}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ("crash-" + hashlib.sha1(data if name is None else name).hexdigest())
        path.write_bytes(data)
        return path

    def test_an_empty_input_is_taken_over_and_what_a_full_disk_left_of_one_is_not(self):
        finding, nothing = self.left_behind(b""), self.left_behind(b"", b"input of seed 7")
        status, output = self.hunt("silent", "--flavour", "asan", TARGET)
        self.assertEqual(status, 0, output)
        self.assertEqual(self.kept(), [f"asan-{TARGET}-unknown-1"])
        self.assertEqual((self.findings / self.kept()[0]).read_bytes(), b"")
        self.assertEqual((finding.exists(), nothing.exists()), (False, True))

    def test_a_file_system_without_hard_links_keeps_findings(self):
        self.environment.update(self.changed_python(
            "import errno, os\n"
            "def refused(source, place): raise PermissionError(errno.EPERM, 'Operation not permitted', source, None, place)\n"
            "os.link = refused\n"))
        left = self.left_behind(b"input of seed 5")
        status, output = self.hunt("finds", "--flavour", "asan", "--seed", "7", TARGET)
        self.assertEqual(status, 1, output)
        self.assertEqual({name: (self.findings / name).read_bytes() for name in self.kept()},
                         {f"asan-{TARGET}-missed-wakeup-1": b"input of seed 7", f"asan-{TARGET}-unknown-1": b"input of seed 5"})
        self.assertEqual([path.name for path in left.parent.iterdir()], ["log"])

    def test_a_hunt_killed_while_it_copies_leaves_no_part_of_a_finding(self):
        refused = ("import errno, os, signal\n"
                   "def refused(source, place): raise PermissionError(errno.EPERM, 'Operation not permitted', source, None, place)\n"
                   "os.link = refused\n")
        usual = dict(self.environment)
        left = self.left_behind(b"input of seed 5")
        self.environment.update(self.changed_python(refused + "os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)\n"))
        self.assertEqual(self.hunt("silent", "--flavour", "asan", TARGET)[0], -signal.SIGKILL)
        self.assertTrue(left.exists())
        self.environment = usual
        status, output = self.hunt("silent", "--flavour", "asan", TARGET)
        self.assertEqual(status, 0, output)
        self.assertEqual([path.name for path in self.findings.iterdir() if path.suffix != ".txt"], [f"asan-{TARGET}-unknown-1"])
        self.assertEqual((self.findings / f"asan-{TARGET}-unknown-1").read_bytes(), b"input of seed 5")

    def test_what_cannot_be_taken_over_is_told_and_left(self):
        left = self.left_behind(b"input of seed 5")
        status, output = self.hunt_without_room("silent")
        self.assertEqual(status, 0, output)
        self.assertIn(f"left where a hunt that was killed had put it: {left}: No space left on device", output)
        self.assertEqual(left.read_bytes(), b"input of seed 5")

    def test_two_hunts_in_one_folder_are_refused(self):
        process, done = self.start_waiting()
        status, output = self.hunt("silent", "--flavour", "asan", TARGET)
        self.assertEqual(status, 2, output)
        self.assertIn("another hunt is at work", output)
        process.send_signal(signal.SIGINT)
        self.await_word(done)
        process.communicate(timeout=PATIENCE_S)


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(ROOT / "tools" / "lib"))

    def test_verdicts_of_sanitizers(self):
        from fuzzrun import Report
        for line, verdict in (
                ("SUMMARY: AddressSanitizer: heap-use-after-free src/core/bh.c:12:5 in aio_bh_poll", "use-after-free"),
                ("SUMMARY: AddressSanitizer: heap-buffer-overflow src/core/bh.c:12:5 in aio_bh_poll", "heap-buffer-overflow"),
                ("SUMMARY: ThreadSanitizer: data race src/core/bh.c:12:5 in aio_bh_poll", "data-race"),
                ("SUMMARY: UndefinedBehaviorSanitizer: undefined-behavior src/core/bh.c:12:5", "undefined"),
                ("SUMMARY: AddressSanitizer: 24 byte(s) leaked in 1 allocation(s).", "leak"),
                ("SUMMARY: libFuzzer: timeout", "timeout")):
            self.assertEqual(Report(line).verdict, verdict)

    def test_panic_line_wins_over_what_follows_it(self):
        from fuzzrun import Report
        report = Report("panic: deadlock: main and iothread0 wait for each other\n==7== ERROR: libFuzzer: deadly signal\n"
                        "SUMMARY: libFuzzer: deadly signal\n")
        self.assertEqual((report.verdict, report.summary), ("deadlock", "panic: deadlock: main and iothread0 wait for each other"))

    def test_input_comes_from_the_output_where_the_file_is_not_sound(self):
        from fuzzrun import Report
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as folder:
            path = pathlib.Path(folder) / ("crash-" + hashlib.sha1(b"\0A").hexdigest())
            path.write_bytes(b"\0")
            text = f"0x0,0x41,\nartifact_prefix='x'; Test unit written to {path}\n"
            self.assertEqual(Report(text).input(), b"\0A")
            path.write_bytes(b"\0A")
            self.assertEqual(Report(text).input(), b"\0A")


if __name__ == "__main__":
    unittest.main()
