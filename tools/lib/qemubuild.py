"""
The lane's builds: QEMU's sources, configured and compiled as they are outside of their folder, and linked with the targets of fuzz/qemu.

What a version of QEMU has or lacks is looked up in its sources and in its own build, not known by number. Nothing is ever written into the
sources.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import build
from common import BUILD, ROOT, CannotRun, call, check_disk, last_lines, relative

LANE = ROOT / "fuzz" / "qemu"
BOTH = ROOT / "fuzz" / "both"  # one source for the core and for QEMU
QEMU = BUILD / "qemu"
MESON = QEMU / "meson"  # where tools/setup --qemu puts a newer one
MESON_LEAST = (1, 5)
FLAVOURS = ("plain", "asan")

# Where QEMU's code meets the simulator: the linker sends calls of these to fuzz/qemu/program.c.
WRAPPED = ("qemu_alloc_stack", "qemu_free_stack", "qemu_coroutine_new", "qemu_coroutine_delete", "qemu_coroutine_create",
           "qemu_coroutine_switch", "qemu_thread_create", "call_rcu1", "drain_call_rcu", "qemu_co_sleep_wake", "qemu_co_sleep_ns_wakeable",
           "aio_co_wake", "qemu_signalfd")
# The storage daemon has all of it: block layer, io threads, monitor, exports. Of its own object main() is put aside.
PROGRAM = "storage-daemon/qemu-storage-daemon"
PROGRAM_SOURCE = "storage-daemon/qemu-storage-daemon.c"
CONFIGURE = ("--disable-system", "--disable-user", "--enable-tools", "--disable-docs", "--disable-download", "--without-default-features",
             "--enable-linux-aio", "--disable-install-blobs", "--disable-werror")
PART = re.compile(r'^#include "fuzz/(qemu/scenario\w*|both/both)\.h"', re.MULTILINE)
NEEDS = re.compile(r"^ \* Needs: (.*)$", re.MULTILINE)
AGREES = re.compile(r"^ \* Agrees: (.*)$", re.MULTILINE)
OUR_HEADERS = "wakefuzz-include"
DRIVER = "fuzz/libdriver.a"
PROBE = "fuzz/libprobe.a"  # of a replay program: only what it uses
OURS = (DRIVER, "src/report/libreport.a", "src/check/libcheck.a", "src/os/libos.a", "src/sched/libsched.a")


# ---- what is there

def targets():
    """All targets of the lane: fuzz/qemu/qemu_*.c."""
    return sorted(path.stem for path in LANE.glob("qemu_*.c"))


def both_targets():
    """Those that the core has too, from the same source: fuzz/both/both_*.c."""
    return sorted(path.stem for path in BOTH.glob("both_*.c"))


def source_of(target):
    return (BOTH if target.startswith("both_") else LANE) / f"{target}.c"


def parts(target):
    """What is linked with a target, by the headers that it includes, directly or by one of these: other parts may need what a tree lacks."""
    found, todo = set(), [source_of(target)]
    while todo:
        path = todo.pop()
        for text in (file.read_text("utf-8") for file in (path, path.with_suffix(".h")) if file.exists()):
            new = {ROOT / "fuzz" / f"{name}.c" for name in PART.findall(text)} - found
            found |= new
            todo += new
    return found


def check_source(text):
    """The folder as an absolute path, and its version. Raises CannotRun where it does not hold QEMU's sources."""
    source = pathlib.Path(text).resolve()
    if not source.is_dir():
        raise CannotRun(f"{text} is no folder; give the root of QEMU's sources (apt-get source qemu)")
    try:
        version = (source / "VERSION").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        version = ""
    if not re.fullmatch(r"\d+\.\d+\.\d+\S*", version) or not (source / "configure").is_file():
        raise CannotRun(f"{text} does not hold QEMU's sources: no configure, or no version in VERSION")
    if not (source / PROGRAM_SOURCE).is_file() or not (source / "block" / "graph-lock.c").is_file():
        raise CannotRun(f"QEMU {version} in {text} is too old: the lane needs its storage daemon and its graph lock (8.0 or newer)")
    if re.search(r"\s", str(source)) or re.search(r"\s", str(QEMU)) or re.search(r"\s", str(ROOT)):
        raise CannotRun(f"QEMU's configure takes no path with a space: {source}, {QEMU}")
    return source, version


def missing_for(source, target, asks=NEEDS):
    """
    What the target needs that this tree lacks: 'Needs: FILE PATTERN' in the target's head; with AGREES, what a tree has that does what the
    core does: 'Agrees: FILE PATTERN'. None where all is there.
    """
    for need in asks.findall(source_of(target).read_text("utf-8")):
        file, _, pattern = need.partition(" ")
        try:
            text = (source / file).read_text("utf-8", "replace")
        except OSError:
            return f"no {file}"
        if not re.search(pattern, text):
            return f"nothing like '{pattern}' in {file}"
    return None


def _version_of(command, environment=None):
    try:
        status, output = call(command, env=environment)
    except CannotRun:
        return ()
    match = re.search(r"(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match and status == 0 else ()


def _environment():
    """For configure and ninja: the meson that is new enough, and no bytecode beside QEMU's scripts."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if _version_of(["meson", "--version"]) >= MESON_LEAST:
        return environment
    environment["PYTHONPATH"] = str(MESON / "usr/lib/python3/dist-packages")
    environment["PATH"] = f"{MESON / 'usr/bin'}:{environment['PATH']}"
    return environment


def check_needs():
    """Raises CannotRun with all that is missing on this machine."""
    missing = [f"{name} ({package})" for name, package in (("clang-19", "clang-19"), ("ninja", "ninja-build"), ("objcopy", "binutils"))
               if not shutil.which(name)]
    missing += [f"{name} ({package})" for name, package in (("glib-2.0", "libglib2.0-dev"), ("zlib", "zlib1g-dev"))
                if call(["pkg-config", "--exists", name])[0]]
    if not pathlib.Path("/usr/include/libaio.h").exists():
        missing.append("libaio.h (libaio-dev)")
    if call([_python(), "-c", "import venv, ensurepip"])[0]:
        missing.append("python3's venv (python3-venv)")
    if not _version_of(["meson", "--version"], _environment()) >= MESON_LEAST:
        missing.append(f"meson {MESON_LEAST[0]}.{MESON_LEAST[1]}")
    if missing:
        raise CannotRun(f"missing: {', '.join(missing)}; tools/setup --qemu installs it")


def _python():
    """The distribution's, which its meson belongs to."""
    return "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else sys.executable


# ---- QEMU's own objects

def folder(source, version, flavour):
    """Where this tree is built. Two trees of one version have a folder each."""
    for number in range(1, 1000):
        place = QEMU / (version if number == 1 else f"{version}-{number}")
        try:
            if (place / "source").read_text("utf-8") == str(source):
                return place / flavour
        except FileNotFoundError:
            place.mkdir(parents=True, exist_ok=True)
            (place / "source").write_text(str(source), "utf-8")
            return place / flavour
    raise CannotRun(f"{QEMU} is full of builds of QEMU {version}")


@contextlib.contextmanager
def _or_nothing(place):
    """A folder that is made here is gone again where the making fails."""
    fresh = not place.exists()
    try:
        yield fresh
    except BaseException:
        if fresh:
            shutil.rmtree(place, ignore_errors=True)
            with contextlib.suppress(OSError):
                (place.parent / "source").unlink()
                place.parent.rmdir()
        raise


def _put_headers(place):
    """What QEMU's objects include of ours. Copies that are only written when they change: a checkout that touches ours rebuilds nothing."""
    for name, path in (("qemu/atomic.h", LANE / "override/qemu/atomic.h"), ("sched/point.h", ROOT / "src/sched/point.h")):
        copy = place / OUR_HEADERS / name
        text = path.read_bytes()
        if not copy.exists() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)


def _configure(source, place, flavour):
    flags = "-fno-omit-frame-pointer -fno-optimize-sibling-calls -fsanitize=fuzzer-no-link -Wno-shadow"
    command = [source / "configure", f"--python={_python()}", f"--cc=clang-19 -iquote {place / OUR_HEADERS} -I{place / OUR_HEADERS}",
               "--host-cc=clang-19", *CONFIGURE, f"--extra-cflags={flags}"]
    command += ["--enable-asan"] if flavour == "asan" else []
    _put_headers(place)
    # Configuring asks the I/O tests for their list, and these make folders for tests: beside their sources, if nobody says where.
    scratch = {"TEST_DIR": str(place / "scratch"), "SOCK_DIR": str(place / "scratch")}
    status, output = call(command, cwd=place, env={**_environment(), **scratch})
    if status:
        reason = re.findall(r"^(?:.*ERROR:.*|.*[Ee]rror: .*)$", output, re.MULTILINE)
        why = reason[-1].strip() if reason else f"exit status {status}"
        raise CannotRun(f"QEMU {source} does not configure: {why}\n{last_lines(output, 12)}".rstrip())


def _ninja(place, *arguments):
    return subprocess.run(["ninja", "-C", str(place), *arguments], env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False)


def _link_command(place):
    """The words that link the storage daemon, as QEMU's build has them."""
    done = _ninja(place, "-t", "commands", PROGRAM)
    lines = [line for line in done.stdout.splitlines() if f"-o {PROGRAM} " in line]
    if done.returncode or not lines:
        raise CannotRun(f"QEMU's build in {relative(place)} does not link {PROGRAM}:\n{last_lines(done.stdout, 5)}".rstrip())
    return shlex.split(lines[-1])


def _compile_command(place):
    """The words that compile its main object, without input and output."""
    for entry in json.loads((place / "compile_commands.json").read_text("utf-8")):
        if entry["file"].endswith(PROGRAM_SOURCE):
            words, kept = iter(shlex.split(entry["command"])), []
            for word in words:
                if word in ("-MQ", "-MF", "-o", "-c"):
                    next(words)
                elif word != "-MD":
                    kept.append(word)
            return kept
    raise CannotRun(f"QEMU's build in {relative(place)} does not compile {PROGRAM_SOURCE}")


def build_objects(source, version, flavour, jobs, say):
    """Configure where that was not done, and compile what the storage daemon is linked from. Returns the folder."""
    check_disk(BUILD)
    with build.build_lock(f"qemu-{version}-{flavour}"):
        place = folder(source, version, flavour)
        with _or_nothing(place) as fresh:
            if fresh:
                say(f"configuring QEMU {version} in {relative(place)}")
                _configure(source, place, flavour)
            _put_headers(place)
            inputs = [word for word in _link_command(place) if word.endswith((".o", ".a", ".fa")) and not word.startswith(("-", "/"))]
            say(f"compiling QEMU {version}, {flavour}: {len(inputs)} inputs of the storage daemon")
            done = _ninja(place, "-j", str(jobs), *inputs)
            if done.returncode:
                check_disk(BUILD)
                raise CannotRun(f"QEMU {version} in {source} does not compile:\n{last_lines(done.stdout, 25)}")
    return place


# ---- our programs

def program(place, target, replay=False):
    return place / "wakefuzz" / (target + ("-replay" if replay else ""))


def _compile(place, words, path, object_path):
    strict = ["-Werror"] if path.parent in (LANE, BOTH) else []  # the others are held to our own warnings
    status, output = call([*words, *strict, f"-I{ROOT}", f"-I{ROOT / 'src'}", "-c", path, "-o", object_path], cwd=place)
    if status:
        raise CannotRun(f"{relative(path)} does not compile with this QEMU:\n{last_lines(output, 25)}")


def our_libraries(flavour):
    """The words that link ours: what replay uses of the probes, and all of what the linker cannot know to be needed, as it takes libc's place."""
    paths = {name: BUILD / flavour / name for name in (PROBE, *OURS)}
    build.build(flavour, [build.goal(flavour, path) for path in paths.values()])
    return [paths[PROBE], "-Wl,--whole-archive", *(paths[name] for name in OURS), "-Wl,--no-whole-archive"]


def link_targets(source, place, flavour, names):
    """Link each target for libFuzzer and for replay; both or none of a target are there afterwards."""
    libraries = our_libraries(flavour)
    ours = place / "wakefuzz"
    ours.mkdir(exist_ok=True)
    words, link = _compile_command(place), _link_command(place)
    bare = [word for word in words if not word.startswith("-fsanitize")]  # what watches is never instrumented
    bare.append(f'-DLANE_SOURCE="{source}"')
    shared = sorted(set().union(*(parts(target) for target in names)))
    for path, how in ((LANE / "program.c", bare), *((path, words) for path in shared), (ROOT / "fuzz/libfuzzer.c", bare),
                      (ROOT / "fuzz/replay.c", bare)):
        _compile(place, how, path, ours / f"{path.stem}.o")
    main_object = next(word for word in link if word.endswith("qemu-storage-daemon.c.o"))
    call(["objcopy", "--redefine-sym", "main=storage_daemon_main", place / main_object, ours / "daemon.o"])
    common = [ours / "daemon.o", ours / "program.o"]
    for target in names:
        _compile(place, words, source_of(target), ours / f"{target}.o")
        for replay in (False, True):
            output = program(place, target, replay)
            engine = ours / ("replay.o" if replay else "libfuzzer.o")
            objects = [*common, *(ours / f"{path.stem}.o" for path in sorted(parts(target))), ours / f"{target}.o", engine]
            command = _our_link(link, main_object, [*objects, *libraries], f"{output}.new", replay)
            status, said = call(command, cwd=place)
            if status:
                raise CannotRun(f"{target} does not link with this QEMU:\n{last_lines(said, 25)}")
        for replay in (False, True):
            os.replace(f"{program(place, target, replay)}.new", program(place, target, replay))


def _our_link(link, main_object, ours, output, replay):
    words, result = iter(link), []
    for word in words:
        if word == "-o":
            next(words)
            result += ["-o", output]
        elif word == main_object:
            result += ours
        elif word == "-fsanitize=fuzzer-no-link" and not replay:
            result.append("-fsanitize=fuzzer")
        elif not word.startswith("@") and word != "-Wl,--no-undefined":
            result.append(word)
    return result + [f"-Wl,--wrap={name}" for name in WRAPPED] + ["-ldw", "-ldl", "-rdynamic"]
