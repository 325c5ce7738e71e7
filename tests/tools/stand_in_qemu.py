"""
A tree that stands in for QEMU's sources, and tools that stand in for compilers, for tests of tools/qemu-lane: what it does with real ones is shown
by tools/check --qemu-src.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lib"))
import qemubuild

PATIENCE_S = 120
FILES = {"storage-daemon/qemu-storage-daemon.c": "", "block/graph-lock.c": "", "block/linux-aio.c": "laio_deferred_fn",
         "include/block/nbd.h": "handshake_max_secs", "hw/block/virtio-blk.c": "vq_aio_context",
         "monitor/qmp.c": "qmp_dispatcher_co"}

# The compiler of a stand-in that links: an object is a line, a program is the file "program" in FOLDER. While there is a file "pause" there, the
# next link takes it away, says its process to the pipe "ready" and waits for a file "go".
COMPILER = """
while [ $# -gt 0 ]; do
    case $1 in
    -o) output=$2; shift ;;
    -c) object=yes ;;
    *.o) test -e "$1" || { echo "no $1"; exit 1; } ;;
    esac
    shift
done
if [ "$object" ]; then
    echo object >"$output"
    exit
fi
if rm FOLDER/pause 2>/dev/null; then
    sh -c 'echo $$ >FOLDER/ready
           for i in $(seq PATIENCE); do test -e FOLDER/go -o ! -e FOLDER/program && break; sleep 0.1; done; :' # a process of its own, as ld is
fi
cp FOLDER/program "$output" && chmod +x "$output"
"""
# As much as the core's meson makes, of what the lane links.
MESON = """
echo 1.7.0
for folder; do
    case $folder in "$WAKEFUZZ_BUILD"/*)
        mkdir -p "$folder"
        printf 'rule t\\n command = touch $out\\nbuild LIBRARIES: t\\n' >"$folder/build.ninja" ;;
    esac
done
"""
DAEMON_OBJECT = "storage-daemon/qemu-storage-daemon.p/qemu-storage-daemon.c.o"


class StandInTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wakefuzz-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.tool, self.before = ROOT / "tools" / "qemu-lane", []
        self.build = self.folder / "build"
        self.shims = self.folder / "bin"
        self.shims.mkdir()
        self.environment = {**os.environ, "WAKEFUZZ_BUILD": str(self.build), "PATH": f"{self.shims}:{os.environ['PATH']}",
                            "PYTHONDONTWRITEBYTECODE": "1"}

    def shim(self, name, script):
        (self.shims / name).write_text(f"#!/bin/sh\n{script}\n", "ascii")
        (self.shims / name).chmod(0o755)

    def tree(self, name="tree", version="10.2.2", configure="exit 0", files=FILES):
        tree = self.folder / name
        for file, text in files.items():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_text(text, "ascii")
        tree.mkdir(exist_ok=True)
        (tree / "VERSION").write_text(version + "\n", "ascii")
        (tree / "configure").write_text(f"#!/bin/sh\n{configure}\n", "ascii")
        (tree / "configure").chmod(0o755)
        return tree

    def linking_tree(self, program="exit 0"):
        """A tree that configures, compiles and links, by stand-ins for all compilers; each program is this script."""
        parts = self.folder / "parts"
        parts.mkdir()
        tree = self.tree(configure=f"cp {parts}/* .", files={**FILES, "block/graph-lock.c": "one\ntwo\n"})
        compiler = self.shims / "compiler"
        self.shim("compiler", COMPILER.replace("FOLDER", str(self.folder)).replace("PATIENCE", str(10 * PATIENCE_S)))
        self.shim("objcopy", 'cp "$3" "$4"')
        self.shim("meson", MESON.replace("LIBRARIES", " ".join((qemubuild.PROBE, *qemubuild.OURS))))
        (self.folder / "program").write_text(f"#!/bin/sh\n{program}\n", "ascii")
        files = {"a.o": tree / "block/graph-lock.c", DAEMON_OBJECT: tree / qemubuild.PROGRAM_SOURCE}
        (parts / "compile_commands.json").write_text(json.dumps([
            {"file": str(path), "output": name, "command": f"{compiler} -c {path} -o {name}"} for name, path in files.items()]), "ascii")
        (parts / "build.ninja").write_text(
            f"rule cc\n command = {compiler} -c $in -o $out\nrule ld\n command = {compiler} -o $out $in\n"
            f"rule again\n command = cp $in $out\n generator = 1\nbuild build.ninja: again {parts}/build.ninja\n" +
            "".join(f"build {name}: cc {path}\n" for name, path in files.items()) +
            f"build {qemubuild.PROGRAM}: ld {' '.join(files)}\n", "ascii")
        return tree

    def lane(self, *arguments, **options):
        done = subprocess.run([*self.before, str(self.tool), *map(str, arguments)], env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False, **options)
        return done.returncode, done.stdout + done.stderr

    def as_a_user(self):
        """What root may do by being root is not allowed to the tool any more."""
        if os.geteuid() == 0:
            self.before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
            if subprocess.run([*self.before, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
                self.skipTest("root cannot give up what it may read here: setpriv fails")

    def refused(self, words, *arguments, **options):
        """Exit status 2, and the last line that is not quoted output begins with the tool's name and says these words."""
        status, output = self.lane(*arguments, **options)
        said = [line for line in output.splitlines() if not line.startswith(" ")]
        self.assertEqual(status, 2, output)
        self.assertTrue(said[-1].startswith("tools/qemu-lane: "), output)
        self.assertIn(words, said[-1])
        self.assertNotIn("Traceback", output)
        return output

    def built(self):
        return sorted(str(path.relative_to(self.build)) for path in self.build.rglob("*") if "qemu/meson" not in str(path)
                      and not path.name.startswith(".lock")) if self.build.exists() else []

    def start(self, *arguments):
        tool = subprocess.Popen([str(ROOT / "tools" / "qemu-lane"), *map(str, arguments)], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a job in the background ignores it
        self.addCleanup(tool.stdout.close)
        self.addCleanup(tool.kill)
        return tool

    def ready_pipe(self):
        """The path of a pipe by which a stand-in says its process."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        os.mkfifo(ready)
        return ready

    @staticmethod
    def at_work(process):
        """Not gone, and no zombie that nobody waits for."""
        try:
            return pathlib.Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
