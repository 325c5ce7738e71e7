"""
tools/qemu-lane where it cannot do its job: one line that says why, exit status 2, and nothing left half-built. The trees are stand-ins; what
it does with real sources is shown by tools/check --qemu-src.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from stand_in_qemu import FILES, PATIENCE_S, ROOT, StandInTest
import conform
import qemubuild
from common import FREE_BYTES_LEAST


class LaneTest(StandInTest):
    # ---- what is given

    def test_no_source_is_a_usage_error(self):
        self.refused("SRC_DIR")

    def test_no_such_folder(self):
        self.refused("is no folder", self.folder / "nowhere")

    def test_a_folder_that_holds_something_else(self):
        (self.folder / "other").mkdir()
        self.refused("does not hold QEMU's sources", self.folder / "other")

    def test_a_folder_that_cannot_be_read(self):
        (self.folder / "circle").symlink_to("circle")
        self.refused("circle cannot be read: Symlink loop", self.folder / "circle")
        self.refused("cannot be read: File name too long", self.folder / ("long" * 100))
        tree = self.tree("closed/tree")
        self.as_a_user()
        (self.folder / "closed").chmod(0o600)
        self.addCleanup((self.folder / "closed").chmod, 0o700)
        self.refused("closed/tree cannot be read: Permission denied", tree)

    def test_a_version_that_is_none(self):
        self.refused("does not hold QEMU's sources", self.tree(version="ten"))

    def test_a_tree_without_the_storage_daemon_is_too_old(self):
        self.refused("QEMU 4.2.0", self.tree(version="4.2.0", files={}))

    def test_a_path_with_a_space(self):
        self.refused(f"no path with a space: {self.folder}/two words", self.tree("two words"))

    def test_a_checkout_below_a_path_with_a_space(self):
        shutil.copytree(ROOT / "tools", self.folder / "two words" / "tools")
        self.tool = self.folder / "two words" / "tools" / "qemu-lane"
        self.refused(f"no path with a space: {self.folder}/two words", self.tree())

    def test_an_unknown_flavour(self):
        self.refused("unknown flavour 'msan'; there are: plain, asan, tsan, native", self.tree(), "--flavour", "msan")

    def test_an_unknown_target(self):
        self.refused("unknown target 'qemu_nothing'", self.tree(), "qemu_nothing")

    def test_starts_must_be_a_number(self):
        self.refused("'0' is not a whole number from 1", self.tree(), "--starts", "0")

    def test_a_number_has_an_end(self):
        self.refused("'1000001' is not a whole number from 1 to 1,000,000", self.tree(), "--time", "1000001")

    def test_a_table_is_of_starts(self):
        self.refused("--markdown goes with --starts", self.tree(), "--markdown", self.folder / "table")
        self.assertFalse((self.folder / "table").exists())

    # ---- where it is called from

    def test_it_may_be_a_symbolic_link(self):
        self.tool = self.folder / "link"
        self.tool.symlink_to(ROOT / "tools" / "qemu-lane")
        self.refused("SRC_DIR")

    def test_it_finds_its_own_files_whatever_python_is_told(self):
        self.environment["PYTHONSAFEPATH"] = "1"
        self.refused("SRC_DIR")

    def test_an_environment_may_be_as_good_as_empty(self):
        self.environment = {"WAKEFUZZ_BUILD": str(self.build)}
        self.refused("", self.tree(configure="exit 1"))

    def test_a_target_whose_code_this_version_has_not(self):
        files = {**FILES, "monitor/qmp.c": "another dispatcher"}
        self.refused("QEMU 10.2.2 has not what qemu_monitor attacks: nothing like 'qmp_dispatcher_co' in monitor/qmp.c",
                     self.tree(files=files), "qemu_monitor")

    def test_the_others_are_built_without_it_and_one_line_says_so(self):
        self.shim("meson", "echo 1.7.0")
        files = {name: text for name, text in FILES.items() if name != "monitor/qmp.c"}
        output = self.refused("does not configure", self.tree(files=files, configure="exit 1"))
        self.assertIn("qemu_monitor is left out, as QEMU 10.2.2 has not what it attacks: no monitor/qmp.c", output)

    def test_points_that_are_no_line_of_the_sources(self):
        tree = self.tree(files={**FILES, "block/io.c": "one\ntwo\n"})
        for text, said in (("block/io.c", "is not FILE.c:LINE"), ("block/io.h:1", "is not FILE.c:LINE"), ("block/io.c:1-x", "is not FILE.c:LINE"),
                           ("block/io.c:0", "block/io.c has lines 1 to 2"), ("block/io.c:1-3", "block/io.c:1-3: block/io.c has lines 1 to 2"),
                           ("block/io.c:2-1", "block/io.c:2-1: the first line comes after the last"),
                           ("block/none.c:1", "there is no block/none.c"), ("../out.c:1", "there is no ../out.c")):
            with self.subTest(text):
                self.refused(said, tree, "--points", text)
        self.assertEqual(self.built(), [])

    def test_points_of_a_file_that_cannot_be_read(self):
        tree = self.tree(files={**FILES, "block/io.c": "one\ntwo\n"})
        name = f"block/{'long' * 100}.c"
        self.refused(f"--points: {name} cannot be read: File name too long", tree, "--points", f"{name}:1")
        self.as_a_user()
        (tree / "block/io.c").chmod(0)
        self.refused("--points: block/io.c cannot be read: Permission denied", tree, "--points", "block/io.c:1")

    def test_points_at_plain_accesses_have_two_flavours(self):
        for flavour in ("tsan", "native"):
            self.refused("--points goes with the flavours plain and asan", self.tree(), "--flavour", flavour, "--points", "block/graph-lock.c:1")

    def test_targets_may_follow_options(self):
        self.refused("unknown target 'qemu_nothing'", self.tree(), "--flavour", "asan", "qemu_nothing")

    # ---- flavours

    def configured(self, flavour):
        """The words that configure is given."""
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(flavour, configure='echo "ERROR: $*"; exit 1')
        return self.refused("does not configure", tree, "--flavour", flavour)

    def test_simulated_flavours_have_our_header_of_atomics_and_native_has_not(self):
        for flavour in qemubuild.FLAVOURS:
            with self.subTest(flavour):
                self.assertEqual(qemubuild.OUR_HEADERS in self.configured(flavour), flavour != "native")

    def test_a_sanitizer_is_asked_of_qemus_configure(self):
        for flavour, option in (("asan", "--enable-asan"), ("tsan", "--enable-tsan"), ("plain", None), ("native", None)):
            with self.subTest(flavour):
                self.assertEqual(set(re.findall(r"--enable-.san", self.configured(flavour))), {option} if option else set())

    def test_what_tsan_is_not_to_watch_is_named_with_a_reason_each(self):
        self.assertIn("-fsanitize-ignorelist=" + str(ROOT / "fuzz/qemu/tsan.ignore"), self.configured("tsan"))
        before, names = "", []
        for line in (ROOT / "fuzz/qemu/tsan.ignore").read_text("ascii").splitlines():
            if line.startswith("fun:"):
                self.assertTrue(before.startswith(("# ", "fun:")), f"no reason above {line}")
                names.append(line)
            before = line
        self.assertEqual(len(set(names)), len(names))
        self.assertNotEqual(names, [])

    # ---- what is missing

    def test_a_meson_that_is_too_old_is_named_with_the_remedy(self):
        self.shim("meson", "echo 1.0.1")
        output = self.refused("missing: meson 1.5; tools/setup --qemu installs it", self.tree())
        self.assertEqual(len(output.splitlines()), 1, output)
        self.assertEqual(self.built(), [])

    def test_all_that_is_missing_is_in_one_line(self):
        for name in ("python3", "dirname", "readlink"):
            (self.shims / name).symlink_to(shutil.which(name))
        self.shim("meson", "echo 1.0.1")
        self.environment["PATH"] = str(self.shims)
        output = self.refused("missing: ", self.tree())
        for name in ("clang-19 (clang-19)", "clang-22 (clang-22)", "ld.lld-19 (lld-19)", "ninja (ninja-build)", "objcopy (binutils)",
                     "pkg-config (pkg-config)", "glib-2.0 (libglib2.0-dev)", "json-glib-1.0 (libjson-glib-dev)", "zlib (zlib1g-dev)",
                     "libdw (libdw-dev)", "libelf (libelf-dev)", "meson 1.5"):
            self.assertIn(name, output)
        self.assertRegex(output, r"\Atools/qemu-lane: missing: [^\n]*; tools/setup --qemu installs it\n\Z")
        self.assertEqual(self.built(), [])

    def test_without_python_nothing_is_installed_unasked(self):
        for name in ("dirname", "readlink"):
            (self.shims / name).symlink_to(shutil.which(name))
        self.environment["PATH"] = str(self.shims)
        self.refused("missing: python3 (python3); tools/setup --qemu installs it", self.tree())

    def test_all_that_our_own_libraries_are_configured_with_is_asked_for(self):
        asked = {name for name, _ in qemubuild.MODULES} | {"threads", "gio-2.0"}  # libc's; of glib-2.0's package
        for path in (ROOT / "meson.build", *(ROOT / "src").rglob("meson.build"), ROOT / "fuzz/meson.build"):
            self.assertLessEqual(set(re.findall(r"\bdependency\('([^']+)'", path.read_text("utf-8"))), asked, path)
        for path in (ROOT / "sanitizers").glob("*.ini"):
            for name in re.findall(r"'((?:clang|lld)-\d+)'", path.read_text("utf-8")):
                self.assertIn(name, [package for _, package in qemubuild.PROGRAMS])

    def test_a_fuzzer_runtime_that_is_missing_is_named(self):
        self.shim("meson", "echo 1.7.0")
        self.shim("clang-22", f"echo {self.folder}")
        self.refused("missing: clang-22's fuzzer runtime (libclang-rt-22-dev); tools/setup --qemu installs it", self.tree())

    # ---- what does not configure or compile

    def test_a_tree_that_does_not_configure_leaves_nothing(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(configure="touch half-built; echo; echo 'ERROR: glib-2.99 is required'; exit 1")
        self.refused("does not configure: ERROR: glib-2.99 is required", tree)
        self.assertEqual(self.built(), ["qemu"])

    def test_a_configure_that_makes_no_build_leaves_nothing(self):
        self.shim("meson", "echo 1.7.0")
        self.refused("does not link storage-daemon/qemu-storage-daemon", self.tree(configure="exit 0"))
        self.assertEqual(self.built(), ["qemu"])

    def test_a_tree_that_does_not_compile_leaves_nothing(self):
        self.shim("meson", "echo 1.7.0")
        rules = ("rule cc\\n command = false\\nrule ld\\n command = true -o $out $in\\n"
                 "build a.o: cc\\nbuild storage-daemon/qemu-storage-daemon: ld a.o\\n")
        self.refused("does not compile", self.tree(configure=f"printf '{rules}' >build.ninja"))
        self.assertEqual(self.built(), ["qemu"])

    def test_a_flavour_that_fails_takes_no_other_with_it(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(configure="exit 1")
        (self.build / "qemu/10.2.2/plain/wakefuzz").mkdir(parents=True)
        (self.build / "qemu/10.2.2/source").write_text(str(tree), "ascii")
        self.refused("does not configure", tree, "--flavour", "asan")
        self.assertEqual(self.built(), ["qemu", "qemu/10.2.2", "qemu/10.2.2/plain", "qemu/10.2.2/plain/wakefuzz", "qemu/10.2.2/source"])

    def test_objects_that_were_complete_survive_a_change_that_does_not_compile(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree()
        place = self.build / "qemu/10.2.2/plain"
        (place / "wakefuzz").mkdir(parents=True)
        (place / qemubuild.CONFIGURED).write_text("\n".join(qemubuild.configure_options(tree.resolve(), place, "plain")), "utf-8")
        (self.build / "qemu/10.2.2/source").write_text(str(tree), "ascii")
        (self.build / "qemu/10.2.2/plain/build.ninja").write_text(
            "rule cc\n command = false\nrule ld\n command = true -o $out $in\n"
            "build a.o: cc\nbuild storage-daemon/qemu-storage-daemon: ld a.o\n", "ascii")
        self.refused("does not compile", tree)
        self.assertIn("qemu/10.2.2/plain/build.ninja", self.built())

    # ---- what ends it in the middle

    def start_waiting(self):
        """The tool while a configure of it is at work, as it is until there is a file 'go'; the process of that."""
        ready = self.ready_pipe()
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(configure=f"touch half-built\necho $$ >{ready}\n"
                                   f"for i in $(seq {10 * PATIENCE_S}); do test -e {self.folder}/go && break; sleep 0.1; done")
        tool = self.start(tree)
        with open(ready, encoding="ascii") as pipe:
            return tree, tool, int(pipe.read())

    def test_when_interrupted_it_says_so_and_leaves_neither_files_nor_processes(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number.name):
                _, tool, configure = self.start_waiting()
                tool.send_signal(number)
                output, _ = tool.communicate(timeout=PATIENCE_S)
                self.assertEqual((tool.returncode, output.splitlines()[-1]), (2, "tools/qemu-lane: interrupted"), output)
                self.assertEqual(self.built(), ["qemu"])
                self.assertFalse(self.at_work(configure))

    def test_what_a_kill_leaves_is_removed_by_the_next_when_its_processes_have_ended(self):
        tree, tool, configure = self.start_waiting()
        tool.kill()
        tool.wait()
        self.assertIn("qemu/10.2.2/plain/half-built", self.built())
        (tree / "configure").write_text("#!/bin/sh\nls -A; exit 1\n", "ascii")
        following = self.start(tree)
        self.assertIn("waiting for another build of qemu-10.2.2-plain", following.stdout.readline())
        self.assertTrue(self.at_work(configure))
        (self.folder / "go").touch()
        output, _ = following.communicate(timeout=PATIENCE_S)
        self.assertEqual(following.returncode, 2)
        self.assertIn("does not configure", output)
        self.assertFalse(self.at_work(configure))
        self.assertNotIn("half-built", output)
        self.assertEqual(self.built(), ["qemu"])

    # ---- disks: in a mount namespace of its own

    def apart(self, mounts, *arguments, after="true"):
        """The tool's end, and what `after` says then, after these mounts, which nobody else sees."""
        if subprocess.run(["unshare", "-rm", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no user namespaces here: unshare -rm fails")
        script = f'{mounts} && {{ "$@"; status=$?; {after}; exit $status; }}'
        return subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", str(ROOT / "tools" / "qemu-lane"), *map(str, arguments)],
                              env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", timeout=PATIENCE_S, check=False)

    def read_only(self, folder):
        folder.mkdir(exist_ok=True)
        return f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"

    def test_a_read_only_tree_is_no_obstacle(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(configure="touch \"${0%/*}/here\" 2>/dev/null && echo 'ERROR: writable' || echo 'ERROR: as far as that'; exit 1")
        done = self.apart(self.read_only(tree), tree)
        self.assertEqual(done.returncode, 2)
        self.assertIn("does not configure: ERROR: as far as that", done.stdout)

    def test_a_build_folder_that_is_read_only_is_one_line(self):
        self.shim("meson", "echo 1.7.0")
        done = self.apart(self.read_only(self.build), self.tree())
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (2, 1), done.stdout)
        self.assertTrue(done.stdout.startswith(f"tools/qemu-lane: cannot build in {self.build}: Read-only file system"), done.stdout)

    def test_a_disk_that_is_too_small_is_one_line(self):
        self.shim("meson", "echo 1.7.0")
        self.build.mkdir()
        done = self.apart(f"mount -t tmpfs -o size=20m none {self.build}", self.tree())
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (2, 1), done.stdout)
        self.assertTrue(done.stdout.startswith(f"tools/qemu-lane: disk full: 20 MiB free at {self.build}"), done.stdout)

    def test_a_disk_that_fills_up_is_said_to_be_full_and_is_empty_again(self):
        self.shim("meson", "echo 1.7.0")
        self.build.mkdir()
        fills = "dd if=/dev/zero of=fill bs=1M 2>/dev/null; exit 1"
        rules = f"rule cc\\n command = {fills}\\nrule ld\\n command = true -o $out $in\\nbuild a.o: cc\\n" \
                "build storage-daemon/qemu-storage-daemon: ld a.o\\n"
        for name, configure in (("configures", fills), ("compiles", f"printf '{rules}' >build.ninja")):
            with self.subTest(name):
                tree = self.tree(name, configure=configure)
                done = self.apart(f"mount -t tmpfs -o size={FREE_BYTES_LEAST + (1 << 20)} none {self.build}", tree,
                                  after=f'echo "left: $(ls {self.build}) $(ls {self.build}/qemu)"')
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn("tools/qemu-lane: disk full: 0 MiB free", done.stdout)
                self.assertEqual(done.stdout.splitlines()[-1], "left: qemu ", done.stdout)

    # ---- what is configured

    def test_what_targets_need_beyond_the_rest_is_asked_for_only_where_the_tree_has_it(self):
        self.shim("meson", "echo 1.7.0")
        script = f"printf '%s\\n' \"$@\" >{self.folder}/given; exit 1"
        for feature in ("vhost-user-blk-server", "vmdk"):
            known = f"    --enable-{feature}) printf '%s' -Dfeature=enabled ;;\n"
            for name, files, asked in (("without", FILES, []), ("with", {**FILES, qemubuild.OPTIONS: known}, [f"--enable-{feature}"])):
                with self.subTest(feature=feature, tree=name):
                    self.refused("does not configure", self.tree(f"{feature}-{name}", configure=script, files=files))
                    given = (self.folder / "given").read_text("utf-8").splitlines()
                    self.assertEqual([word for word in given if "vhost" in word or "vmdk" in word], asked)

    def test_a_build_that_was_configured_otherwise_is_made_anew(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(configure="exit 1")
        place = self.build / "qemu/10.2.2/plain"
        (place / qemubuild.OURS_FOLDER).mkdir(parents=True)
        (place.parent / "source").write_text(str(tree.resolve()), "utf-8")
        (place / qemubuild.CONFIGURED).write_text("--disable-vmdk", "utf-8")
        self.assertIn("was configured with other options, or not to its end: it is made anew", self.refused("does not configure", tree))
        self.assertEqual(self.built(), ["qemu"])

    def test_what_the_users_shell_says_of_compilers_is_not_for_this_build(self):
        self.shim("meson", "echo 1.7.0")
        for name in ("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "CXX", "AR", "LD", "NM", "OBJCOPY", "RANLIB", "CC_LD"):
            self.environment[name] = "of-the-shell"
        output = self.refused("does not configure: ERROR: nothing", self.tree(configure="env | grep of-the-shell || echo ERROR: nothing; exit 1"))
        self.assertNotIn("of-the-shell", output)

    def test_a_path_that_is_no_text_leaves_nothing_and_takes_no_folder(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(os.fsdecode(b"tr\xe9e"), configure="exit 1")
        self.refused("does not configure", tree)
        self.assertEqual(self.built(), ["qemu"])

    def test_an_empty_name_of_a_tree_is_nobodys(self):
        self.shim("meson", "echo 1.7.0")
        (self.build / "qemu/10.2.2").mkdir(parents=True)
        (self.build / "qemu/10.2.2/source").touch()
        self.assertIn("/10.2.2/plain", self.refused("does not configure", self.tree(configure="echo ERROR: $PWD; exit 1")))
        self.assertEqual(self.built(), ["qemu"])

    def test_the_sources_are_not_written_to(self):
        self.shim("meson", "echo 1.7.0")
        tree = self.tree(configure="touch here; exit 1")
        before = sorted(tree.rglob("*"))
        self.refused("does not configure", tree)
        self.assertEqual(sorted(tree.rglob("*")), before)


# Its input: 0 good, 1 an assertion, 2 a null pointer, 3 what libc aborts for, 4 a fault inside of malloc(), whose lock is held.
STAND_IN = """
#include <pthread.h>
#include <stdlib.h>
#include "fuzz/program.h"
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void init(void) { }
static void run_program(FuzzInput *in) { fuzz_target.run(in); }
static void run(FuzzInput *in)
{
    static bool begun;
    uint8_t *volatile nowhere = NULL;
    unsigned kind = fuzz_byte(in);

    if (begun) {
        abort(); /* a second time in one process, whose memory was not put back */
    }
    begun = true;
    for (unsigned i = 0; i < 3; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
    fuzz_check(kind != 1);
    if (kind == 2) {
        *nowhere = 1;
    } else if (kind == 3) {
        void *volatile block = malloc(100);

        free(block);
        free(block);
    } else if (kind == 4) {
        uintptr_t *volatile block = malloc(5000);
        void *volatile barrier = malloc(5000), *volatile other;

        free(block);
        block[0] = block[1] = 8; /* the links of a free block */
        other = malloc(10000);
        free(other);
        free(barrier);
    }
}
const DriverProgram driver_program = { .forks = true, .init = init, .run = run_program };
const FuzzTarget fuzz_target = { .name = "stand_in", .run = run };
"""
EMPTY_SHA1 = hashlib.sha1(b"").hexdigest()


class ForeignProgramTest(unittest.TestCase):
    """A program that is not the core, linked as the lane links QEMU."""

    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="wakefuzz-test-")
        cls.addClassCleanup(cls.place.cleanup)
        cls.folder = pathlib.Path(cls.place.name)

    @classmethod
    def link(cls, name, words, flavour="plain"):
        """NAME and NAME-replay, of these words for the compiler."""
        libraries = qemubuild.our_libraries(flavour)
        glib = subprocess.run(["pkg-config", "--cflags", "--libs", "glib-2.0"], check=True, capture_output=True, encoding="utf-8")
        for program, engine, more in ((f"{name}-replay", "replay.c", []), (name, "libfuzzer.c", ["-fsanitize=fuzzer"])):
            command = [qemubuild.compiler_of(flavour), "-std=gnu11", f"-I{ROOT}", f"-I{ROOT / 'src'}", *words, ROOT / "fuzz" / engine, *more,
                       "-o", cls.folder / program, *libraries, *glib.stdout.split(), "-ldw", "-ldl", "-lpthread", "-rdynamic"]
            done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", check=False)
            if done.returncode:
                raise AssertionError(done.stderr)

    def run_program(self, program, *arguments, **environment):
        return subprocess.run([self.folder / program, *arguments], env={**os.environ, **environment}, capture_output=True, encoding="utf-8",
                              timeout=PATIENCE_S, cwd=self.folder, check=False)


class LinkTest(ForeignProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "stand_in.c").write_text(STAND_IN, "ascii")
        for number, name in enumerate(("good", "assertion", "segv", "double-free", "broken-heap")):
            (cls.folder / name).write_bytes(bytes([number]) * 64)  # the plan is read from the end
        cls.link("stand_in", [cls.folder / "stand_in.c"])

    def test_a_foreign_program_links_with_ours_and_each_execution_is_a_child(self):
        for file, verdict, status in (("good", "none", 0), ("assertion", "assertion", 1)):
            done = self.run_program("stand_in-replay", "-n", "3", file)
            self.assertIn(f"verdict={verdict}", done.stdout, done.stderr)
            self.assertEqual(done.returncode, status, done.stdout)

    def test_a_signal_in_a_child_is_not_taken_for_the_end_of_warming_up(self):
        done = self.run_program("stand_in", "-runs=1", "segv")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("SEGV", done.stderr)
        self.assertNotIn("warms up", done.stderr)
        (self.folder / "found").mkdir()
        done = self.run_program("stand_in", "-runs=100000", "-seed=1", "-artifact_prefix=found/")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len(list((self.folder / "found").iterdir())), 1, done.stderr)
        self.assertFalse((self.folder / "found" / f"crash-{EMPTY_SHA1}").exists())

    def test_what_a_child_did_before_a_signal_is_told(self):
        for program, file, said in (("stand_in", "segv", "UndefinedBehaviorSanitizer: SEGV"),
                                    ("stand_in", "double-free", "free(): double free detected"),
                                    ("stand_in", "broken-heap", "UndefinedBehaviorSanitizer: SEGV"),
                                    ("stand_in-replay", "broken-heap", "ended by signal 11"),
                                    ("stand_in-replay", "segv", "ended by signal 11"),  # it is linked without a sanitizer's runtime
                                    ("stand_in-replay", "double-free", "free(): double free detected")):
            with self.subTest(program=program, file=file):
                done = self.run_program(program, file)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(said, done.stderr)
                before = done.stderr.partition("the execution before that, up to its last step:")[2]
                self.assertRegex(before, r"\A\n  main \(thread 0\), could run:\n    #0 ", done.stderr)  # it took the last step
                self.assertRegex(before, r"in run\b", done.stderr)
                self.assertRegex(before, r"mutex lock #\d", done.stderr)
                self.assertRegex(before, r"after \d+ steps; 0 preemptions, 64 bytes\n", done.stderr)

    def test_minimizing_puts_the_memory_back_between_probes(self):
        figures, outputs = {}, {}
        for name in ("rewound", "forked"):
            environment = {**os.environ, "WAKEFUZZ_FORK": "1"} if name == "forked" else os.environ
            done = subprocess.run([self.folder / "stand_in-replay", "--minimize=assertion", f"--output={name}"], env=environment, cwd=self.folder,
                                  capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            figures[name] = dict(line.split(" ", 1) for line in done.stdout.splitlines())
            outputs[name] = (self.folder / name).read_bytes()
        self.assertEqual(figures["forked"]["forks"], figures["forked"]["probes"])
        self.assertLess(int(figures["rewound"]["forks"]), int(figures["rewound"]["probes"]) / 2)
        self.assertEqual(outputs["rewound"], outputs["forked"])
        self.assertLess(len(outputs["rewound"]), 64)

    def test_a_signal_in_a_child_is_described_as_that_of_its_input(self):
        done = self.run_program("stand_in-replay", "--describe", "segv")
        self.assertNotIn("empty-input", done.stdout)


# Two threads count without a lock. Lines are found by their comments.
COUNTS = """
#include <pthread.h>
#include <stdlib.h>
#include "fuzz/program.h"
#include "report/symbolize.h"
static struct { long padding; int count; } *block;
static void *add(void *unused)
{
    block->count = block->count + 1; /* here */
    return unused;
}
static void init(void)
{
#ifdef SOURCES
    report_set_foreign_root(SOURCES);
#endif
}
static void run_program(FuzzInput *in) { fuzz_target.run(in); }
static void run(FuzzInput *in)
{
    pthread_t thread;

    unsigned kind = fuzz_byte(in) == 0xa5 ? fuzz_byte(in) : 0; /* nothing */

    block = calloc(1, sizeof(*block));
    while (kind == 0x5a && !*(volatile long *)&block->padding) { /* for ever */
    }
    if (kind == 0x5b) {
        block = NULL;
    }
    pthread_create(&thread, NULL, add, NULL);
    add(NULL);
    pthread_join(thread, NULL);
    fuzz_check(block->count == 2);
    free(block);
}
const DriverProgram driver_program = { .forks = true, .init = init, .run = run_program };
const FuzzTarget fuzz_target = { .name = "counts", .run = run };
"""
COUNTED = ["-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=fuzzer-no-link", *qemubuild.POINTS_WORDS]


class PlainAccessTest(ForeignProgramTest):
    """Points at plain accesses: of the lines that are named, and of no other."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "counts.c").write_text(COUNTS, "ascii")
        cls.line = {word: COUNTS[:COUNTS.index(f"/* {word} */")].count("\n") + 1 for word in ("here", "nothing")}
        cls.link("without", [*COUNTED, cls.folder / "counts.c"])
        for name, file, first, last in (("with", "counts.c", cls.line["here"], cls.line["here"]), ("all", "counts.c", 1, 100), ("twice", "counts.c", cls.line["here"], cls.line["here"]),
                                        ("nothing", "counts.c", cls.line["nothing"], cls.line["nothing"]), ("nowhere", "x.c", 1, 2)):
            table = cls.folder / f"{name}.lines.c"
            again = f'{{ "{file}", {{ {first}, {last} }} }}, ' if name == "twice" else ""
            table.write_text('#include "fuzz/plain_access.h"\n'
                             f'const PlainLines wakefuzz_plain_lines[] = {{ {{ "{file}", {{ {first}, {last} }} }}, {again}{{ 0 }} }};\n', "ascii")
            cls.link(name, [*COUNTED, cls.folder / "counts.c", table])

    def test_a_lost_update_is_found_where_its_accesses_are_points(self):
        done = self.run_program("without", "-runs=3000", "-seed=1")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.run_program("with", "-runs=3000", "-seed=1", "-exact_artifact_path=lost")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("invariant 'block->count == 2' does not hold", done.stderr)
        self.assertRegex(done.stderr, rf"line {self.line['here']} == 0 ")  # a load
        self.assertEqual(len(re.findall(rf"line {self.line['here']} [01] -> 1\b", done.stderr)), 2, done.stderr)  # both store 1

    def test_a_range_has_the_accesses_of_all_its_lines(self):
        steps = [int(re.search(r"steps=(\d+)", self.run_program(f"{name}-replay", os.devnull).stdout)[1]) for name in ("without", "with", "all")]
        self.assertEqual(steps[1], steps[0] + 6, steps)  # a pointer and a number are read, a number is written: twice
        self.assertGreater(steps[2], steps[1])

    def test_a_line_that_is_named_twice_has_each_access_once(self):
        said = [re.search(r"hash=\w+", self.run_program(f"{name}-replay", os.devnull).stdout)[0] for name in ("with", "twice")]
        self.assertEqual(said[0], said[1])

    def test_a_crash_at_a_point_is_named_after_the_program(self):
        (self.folder / "null").write_bytes(b"\xa5\x5b" + bytes(16))
        for name in ("without", "with"):
            self.assertRegex(self.run_program(f"{name}-replay", "--describe", "null").stdout, r"\tcrash signal=11 stack=add\b")

    def test_a_stack_begins_at_the_access_and_an_execution_may_be_long(self):
        (self.folder / "spins").write_bytes(b"\xa5\x5a" + bytes(16))
        done = self.run_program("all-replay", "spins")
        self.assertIn("verdict=livelock ", done.stdout)
        self.assertIn("steps=500000 ", done.stdout)
        self.assertRegex(done.stderr, r"\Apanic: livelock: main repeats 1 step in run;.*\n    #0 0x\w+ in run ")

    def test_it_is_the_same_execution_in_one_child_and_forked(self):
        self.run_program("with", "-runs=3000", "-seed=1", "-exact_artifact_path=lost")
        said = [re.search(r"verdict=assertion .*hash=\w+", self.run_program("with-replay", "-n", "3", "lost", **environment).stdout)[0]
                for environment in ({}, {"WAKEFUZZ_FORK": "1"})]
        self.assertEqual(said[0], said[1])

    def test_a_race_says_which_lines_would_be_points(self):
        self.link("race", [*COUNTED, "-fsanitize=thread", f'-DSOURCES="{self.folder}/"', self.folder / "counts.c"], "tsan")
        for program in ("race-replay", "race"):
            done = self.run_program(program, os.devnull)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("WARNING: ThreadSanitizer: data race", done.stderr)
            self.assertEqual(re.findall("^To hunt for .*", done.stderr, re.MULTILINE),
                             [f"To hunt for what comes of it: tools/qemu-lane SRC_DIR --points counts.c:{self.line['here']} counts"])

    def test_a_race_of_the_scenario_names_no_line(self):
        """It is none of the sources that --points is about."""
        (self.folder / "fuzz").mkdir()
        (self.folder / "fuzz" / "counts.c").write_text(COUNTS, "ascii")
        self.link("scenario", [*COUNTED, "-fsanitize=thread", f'-DSOURCES="{self.folder}/"', self.folder / "fuzz" / "counts.c"], "tsan")
        done = self.run_program("scenario-replay", os.devnull)
        self.assertIn("WARNING: ThreadSanitizer: data race", done.stderr)
        self.assertNotIn("To hunt for", done.stderr)

    def test_a_line_without_an_access_is_no_point(self):
        for program, why in (("nothing", "no access to memory was compiled there"),
                             ("nowhere", "the program has no debug information of that file")):
            for name in (program, f"{program}-replay"):
                done = self.run_program(name, "-n", "1", os.devnull) if name.endswith("replay") else self.run_program(name, "-runs=1")
                self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
                self.assertRegex(done.stderr, rf"^wakefuzz: no point at \S+:\d+(-\d+)?: {why}$")


class NativeFlavourTest(unittest.TestCase):
    def test_what_targets_ask_of_the_simulator_is_there_without_it(self):
        asked = set()
        for target in qemubuild.targets() + qemubuild.both_targets():
            for path in (qemubuild.source_of(target), *qemubuild.parts(target)):
                asked |= set(re.findall(r"\b(?:os|sched|check|report)_\w+(?=\()", path.read_text("utf-8")))
                asked -= set(re.findall(r"^static [^;(]*?\b(\w+)\(", path.read_text("utf-8"), re.MULTILINE))
        there = set(re.findall(r"^void (\w+)\(", (ROOT / "fuzz" / "qemu" / "program_native.c").read_text("utf-8"), re.MULTILINE))
        self.assertEqual(asked, there)


class FindingsTest(unittest.TestCase):
    def test_each_input_of_a_finding_in_qemu_is_there_and_is_described(self):
        named = set(re.findall(r"`docs/findings/([^`]+)`", (ROOT / "docs" / "findings.md").read_text("utf-8")))
        self.assertEqual({path.name for path in (ROOT / "docs" / "findings").iterdir()}, named)
        self.assertNotEqual(named, set())


class BothTest(unittest.TestCase):
    """One source for core and lane, and no copy of it."""

    def test_the_core_compiles_each_scenario_that_the_lane_has(self):
        listed = re.search(r"foreach name : \[('both_[^]]*)\]", (ROOT / "fuzz" / "meson.build").read_text("utf-8"))
        self.assertEqual(re.findall(r"'(\w+)'", listed[1]), qemubuild.both_targets())

    def test_the_lane_compiles_these_sources_and_only_their_own_parts(self):
        for target in qemubuild.both_targets():
            self.assertEqual(qemubuild.source_of(target), ROOT / "fuzz" / "both" / f"{target}.c")
            self.assertEqual({path.name for path in qemubuild.parts(target)}, {"both.c", "scenario.c"}, target)

    def test_a_scenario_does_not_ask_which_program_it_is_in(self):
        for target in qemubuild.both_targets():
            self.assertEqual(re.findall(r"^ *#.*(?:if|include).*$", qemubuild.source_of(target).read_text("utf-8"), re.MULTILINE),
                             ['#include "fuzz/both/both.h"'], target)


class ConformTest(unittest.TestCase):
    def test_the_first_difference_is_found_where_one_has_less(self):
        self.assertEqual(conform.first_difference(["verdict=none", "a"], ["verdict=none", "a", "b"]), (2, "(nothing)", "b"))
        self.assertEqual(conform.first_difference(["verdict=none", "a"], ["verdict=none", "b"]), (1, "a", "b"))

    def test_only_lines_of_two_io_threads_may_change_places(self):
        same = conform.canonical(["verdict=none", "2: b", "1: a", "2: c", "0: x", "1: d"])
        self.assertEqual(same, ["verdict=none", "1: a", "2: b", "2: c", "0: x", "1: d"])
        self.assertEqual(conform.canonical(["verdict=none", "1: a", "2: b", "2: c", "0: x", "1: d"]), same)
        for other in (["2: c", "1: a", "2: b", "0: x", "1: d"], ["2: b", "1: a", "0: x", "2: c", "1: d"]):
            self.assertNotEqual(conform.canonical(["verdict=none", *other]), same)

    def test_inputs_are_first_in_first_out_and_the_same_each_time(self):
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as folder:
            one = [path.read_bytes() for path in conform.make_inputs(pathlib.Path(folder), 50, 1)]
            self.assertEqual(one, [path.read_bytes() for path in conform.make_inputs(pathlib.Path(folder), 50, 1)])
            self.assertNotEqual(one, [path.read_bytes() for path in conform.make_inputs(pathlib.Path(folder), 50, 2)])
            self.assertEqual(one[0], conform.FIFO)
            self.assertTrue(all(data.endswith(conform.FIFO) for data in one))

    def test_a_program_that_dies_in_the_middle_is_asked_for_the_rest(self):
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as folder:
            program = pathlib.Path(folder) / "replay"
            program.write_text('#!/bin/sh\nshift 2\necho "$1 verdict=none hash=0123456789abcdef steps=1 runs=1"\necho "note $1"\nexit 134\n')
            program.chmod(0o755)
            self.assertEqual(conform.histories(program, ["a", "b"]), {"a": ["verdict=none", "note a"], "b": ["verdict=none", "note b"]})

    def test_what_is_said_after_a_finding_counts(self):
        """The program goes on behind it by itself: it is called once."""
        with tempfile.TemporaryDirectory(prefix="wakefuzz-test-") as folder:
            program = pathlib.Path(folder) / "replay"
            program.write_text('#!/bin/sh\nshift 2\necho >>"$0.calls"\nverdict=deadlock\nfor file; do\n'
                               'echo "$file verdict=$verdict hash=0123456789abcdef steps=1 runs=1"\nverdict=none\ndone\n')
            program.chmod(0o755)
            self.assertEqual(conform.histories(program, ["a", "b"]), {"a": ["verdict=deadlock"], "b": ["verdict=none"]})
            self.assertEqual(pathlib.Path(f"{program}.calls").read_text("utf-8"), "\n")

    def test_a_program_that_says_nothing_is_an_error(self):
        with self.assertRaises(conform.CannotRun):
            conform.histories("/bin/true", ["a"])


if __name__ == "__main__":
    unittest.main()
