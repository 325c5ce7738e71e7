"""
The lane's builds: QEMU's sources, configured and compiled as they are outside of their folder, and linked with the targets of fuzz/qemu.

What a version of QEMU has or lacks is looked up in its sources and in its own build, not known by number. Nothing is ever written into the
sources.
"""

import contextlib
import filecmp
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

import build
from common import BUILD, ROOT, CannotRun, call, check_disk, communicate, last_lines, relative

LANE = ROOT / "fuzz" / "qemu"
BOTH = ROOT / "fuzz" / "both"  # one source for the core and for QEMU
QEMU = BUILD / "qemu"
MESON = QEMU / "meson"  # where tools/setup --qemu puts a newer one
MESON_LEAST = (1, 5)
# What check_needs() looks for, each with its package.
PROGRAMS = (("clang-19", "clang-19"), ("clang-22", "clang-22"), ("ld.lld-19", "lld-19"), ("llvm-symbolizer-19", "llvm-19"),
            ("llvm-symbolizer-22", "llvm-22"), ("gcc", "gcc"), ("meson", "meson"), ("ninja", "ninja-build"), ("objcopy", "binutils"),
            ("pkg-config", "pkg-config"))
MODULES = (("glib-2.0", "libglib2.0-dev"), ("json-glib-1.0", "libjson-glib-dev"), ("zlib", "zlib1g-dev"), ("libdw", "libdw-dev"),
           ("libelf", "libelf-dev"))
FLAVOURS = ("plain", "asan", "tsan", "native")
SIMULATED = ("plain", "asan", "tsan")  # native has real threads and the real kernel, and none of our headers

# Where QEMU's code meets the simulator: the linker sends calls of these to fuzz/qemu/program.c.
WRAPPED = ("qemu_alloc_stack", "qemu_free_stack", "qemu_coroutine_new", "qemu_coroutine_delete", "qemu_coroutine_create",
           "qemu_coroutine_switch", "qemu_thread_create", "call_rcu1", "drain_call_rcu", "qemu_co_sleep_wake", "qemu_co_sleep_ns_wakeable",
           "aio_co_wake", "qemu_signalfd")
# The storage daemon has all of it: block layer, io threads, monitor, exports. Of its own object main() is put aside.
PROGRAM = "storage-daemon/qemu-storage-daemon"
PROGRAM_SOURCE = "storage-daemon/qemu-storage-daemon.c"
CONFIGURE = ("--disable-system", "--disable-user", "--enable-tools", "--disable-docs", "--disable-download", "--without-default-features",
             "--enable-linux-aio", "--disable-install-blobs", "--disable-werror")
FEATURES = ("vhost-user", "vhost-user-blk-server", "vmdk")  # what targets need beyond that, where a tree has it
# What configure and meson take from the environment, and keep.
TOOLS_VARIABLES = {"CC", "CXX", "OBJCC", "CC_LD", "CXX_LD", "OBJC_LD", "AR", "AS", "CCAS", "LD", "NM", "OBJCOPY", "RANLIB", "READELF", "STRIP",
                   "CFLAGS", "CXXFLAGS", "CPPFLAGS", "OBJCFLAGS", "LDFLAGS"}
OPTIONS = "scripts/meson-buildoptions.sh"  # what its configure knows
PART = re.compile(r'^#include "fuzz/(qemu/scenario\w*|both/both)\.h"', re.MULTILINE)
NEEDS = re.compile(r"^ \* Needs: (.*)$", re.MULTILINE)
ENDED = re.compile(r" verdict=[a-z-]+ |^SUMMARY: |^panic: |^wakefuzz: the execution (?:was ended by signal|ended the process)", re.MULTILINE)  # an execution, not a program
AGREES = re.compile(r"^ \* Agrees: (.*)$", re.MULTILINE)
OUR_HEADERS = "wakefuzz-include"
CONFIGURED = "wakefuzz-configured"  # in a build of QEMU's: with which options
DRIVER = "fuzz/libdriver.a"
PROBE = "fuzz/libprobe.a"  # of a replay program: only what it uses
OURS = (DRIVER, "src/report/libreport.a", "src/check/libcheck.a", "src/os/libos.a", "src/sched/libsched.a")
# How targets are compiled, beside QEMU's own words: what they keep for their invariants is no data of the program, which TSan could see in a race.
OURS_WORDS = {"native": ["-DLANE_NATIVE"],
              "tsan": ["-mllvm", "-tsan-instrument-memory-accesses=0", "-mllvm", "-tsan-instrument-memintrinsics=0"]}
OURS_FOLDER = "wakefuzz"  # in a build of QEMU's: our objects and programs; it is there when QEMU's objects are complete
# The same with points at plain accesses of chosen lines (fuzz/plain_access.h): their files once more, with calls before loads and stores.
POINTS_FOLDER = "wakefuzz-points"
POINTS_WORDS = ["-fsanitize-coverage=trace-loads,trace-stores"]
POINTS_FLAVOURS = ("plain", "asan")


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


def _version(source):
    try:
        return (source / "VERSION").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def check_source(text):
    """The folder as an absolute path, and its version. Raises CannotRun where it does not hold QEMU's sources."""
    try:
        source = pathlib.Path(text).resolve()
        version = _check_files(source, text)
    except (OSError, RuntimeError) as error:  # the latter for symbolic links in a circle
        why = getattr(error, "strerror", error)
        raise CannotRun(f"{text} cannot be read: {why}; give the root of QEMU's sources (apt-get source qemu)") from error
    for path in (source, QEMU, ROOT):
        if re.search(r"\s", str(path)):
            raise CannotRun(f"QEMU's configure takes no path with a space: {path}")
    return source, version


def _check_files(source, text):
    """Its version."""
    if not source.is_dir():
        raise CannotRun(f"{text} is no folder; give the root of QEMU's sources (apt-get source qemu)")
    version = _version(source)
    if not re.fullmatch(r"\d+\.\d+\.\d+\S*", version) or not (source / "configure").is_file():
        raise CannotRun(f"{text} does not hold QEMU's sources: no configure, or no version in VERSION")
    if not (source / PROGRAM_SOURCE).is_file() or not (source / "block" / "graph-lock.c").is_file():
        raise CannotRun(f"QEMU {version} in {text} is too old: the lane needs its storage daemon and its graph lock (8.0 or newer)")
    return version


def check_points(source, points):
    """Of [(file, first line, last line)]: raises CannotRun where these are no lines of the sources."""
    for file, first, last in points:
        path = source / file
        try:
            if not path.is_file() or ".." in path.parts or not path.is_relative_to(source):
                raise CannotRun(f"--points: there is no {file} in {source}")
            lines = path.read_text("utf-8", "replace").count("\n")
        except OSError as error:
            raise CannotRun(f"--points: {file} cannot be read: {error.strerror}") from error
        if first > last:
            raise CannotRun(f"--points {file}:{first}-{last}: the first line comes after the last")
        if not 0 < first <= last <= lines:
            raise CannotRun(f"--points {file}:{first}{'' if last == first else f'-{last}'}: {file} has lines 1 to {lines}")


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


@functools.cache
def _has_new_meson():
    return _version_of(["meson", "--version"]) >= MESON_LEAST


def _environment(place):
    """
    For configure and ninja: the meson that is new enough, and no bytecode beside QEMU's scripts. Configuring asks the I/O tests for their list,
    and these make folders for tests: beside their sources, if nobody says where. What the user's shell says of compilers is not for this build.
    """
    environment = {name: value for name, value in os.environ.items() if name not in TOOLS_VARIABLES}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TEST_DIR": f"{place}/scratch", "SOCK_DIR": f"{place}/scratch"}
    if _has_new_meson():
        return environment
    environment["PYTHONPATH"] = str(MESON / "usr/lib/python3/dist-packages")
    environment["PATH"] = f"{MESON / 'usr/bin'}:{environment.get('PATH', os.defpath)}"
    return environment


def compiler_of(flavour):
    """The same as for our own programs (sanitizers/)."""
    return "clang-22" if flavour == "tsan" else "clang-19"


def _works(command):
    try:
        return call(command)[0] == 0
    except CannotRun:
        return False


def _has_fuzzer_runtime(compiler):
    status, folder = call([compiler, "-print-resource-dir"])
    return status == 0 and any(pathlib.Path(folder.strip()).glob("lib/*/libclang_rt.fuzzer*.a"))


def check_needs():
    """Raises CannotRun with all that is missing on this machine, for QEMU, for our own libraries and for what the programs report."""
    missing = [f"{name} ({package})" for name, package in PROGRAMS if not shutil.which(name)]
    missing += [f"{name} ({package})" for name, package in MODULES if not _works(["pkg-config", "--exists", name])]
    missing += [f"{name}'s fuzzer runtime (libclang-rt-{name[-2:]}-dev)" for name in ("clang-19", "clang-22")
                if shutil.which(name) and not _has_fuzzer_runtime(name)]
    if not pathlib.Path("/usr/include/libaio.h").exists():
        missing.append("libaio.h (libaio-dev)")
    if not _works([_python(), "-c", "import venv, ensurepip"]):
        missing.append("python3's venv (python3-venv)")
    if not _version_of(["meson", "--version"], _environment(QEMU)) >= MESON_LEAST:
        missing.append(f"meson {MESON_LEAST[0]}.{MESON_LEAST[1]}")
    if missing:
        raise CannotRun(f"missing: {', '.join(missing)}; tools/setup --qemu installs it")


def _python():
    """The distribution's, which its meson belongs to."""
    return "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else sys.executable


# ---- QEMU's own objects

def _folders_lock():
    """Who makes or takes away a folder of a tree or of a flavour has it: a folder stands beside the name of its tree, or not at all."""
    return build.build_lock("qemu-folders")


def folder(source, version, flavour):
    """Where this tree is built; it is there afterwards, empty if it was not there. Two trees of one version have one each."""
    name = os.fsencode(source)
    with _folders_lock():
        for number in range(1, 1000):
            place = QEMU / (version if number == 1 else f"{version}-{number}")
            owner = (place / "source").read_bytes() if (place / "source").exists() else b""
            if owner in (name, b""):
                if not owner:
                    _claim(place, name)
                (place / flavour).mkdir(exist_ok=True)
                return place / flavour
    raise CannotRun(f"{QEMU} is full of builds of QEMU {version}")


def _claim(place, name):
    """A folder that is nobody's becomes this tree's. Whose objects are in it is not known: they are made anew."""
    place.mkdir(parents=True, exist_ok=True)
    new = place / "source.new"
    try:
        for configured in place.glob(f"*/{CONFIGURED}"):
            configured.unlink()
        new.write_bytes(name)
        new.replace(place / "source")
    except BaseException:
        new.unlink(missing_ok=True)
        _remove_if_bare(place)
        raise


def _remove_if_bare(place):
    """Of a tree, where no flavour is in it."""
    if place.is_dir() and not any(path.is_dir() for path in place.iterdir()):
        shutil.rmtree(place, ignore_errors=True)


def _remove(place):
    """A folder that is not complete, and that of its tree where no other flavour is in it."""
    with _folders_lock():
        shutil.rmtree(place, ignore_errors=True)
        _remove_if_bare(place.parent)


def _empty(place):
    with _folders_lock():
        shutil.rmtree(place)
        place.mkdir()


def _lock(version, flavour, say):
    """Who compiles or links a version in a flavour has it."""
    return build.build_lock(f"qemu-{version}-{flavour}", say)


def _run(command, cwd, lock):
    """
    As call(), with all that QEMU's build needs. Where we are interrupted, all its processes are gone before what they wrote is removed; where
    we are killed, they hold the lock until they end.
    """
    with subprocess.Popen([str(word) for word in command], cwd=cwd, env=_environment(cwd), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", start_new_session=True,
                          pass_fds=[lock.fileno()]) as process:
        try:
            output = communicate(process, None)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()  # until the last of them has let go of the pipe
            raise
    return process.returncode, output


def _put_headers(place):
    """What QEMU's objects include of ours. Copies that are only written when they change: a checkout that touches ours rebuilds nothing."""
    for name, path in (("qemu/atomic.h", LANE / "override/qemu/atomic.h"), ("sched/point.h", ROOT / "src/sched/point.h")):
        copy = place / OUR_HEADERS / name
        text = path.read_bytes()
        if not copy.exists() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)


NO_ENGINE = "-fsanitize=fuzzer-no-link"  # what coverage needs of a runtime


def configure_options(source, place, flavour):
    flags, compiler = "-fno-omit-frame-pointer -fno-optimize-sibling-calls -Wno-shadow", compiler_of(flavour)
    link = ""
    if flavour in SIMULATED:
        # Which edges were taken, and no more, as for the core: comparisons and depths of stacks say nothing about a schedule.
        flags += " -fsanitize-coverage=inline-8bit-counters,pc-table"
        link = NO_ENGINE
        compiler += f" -iquote {place / OUR_HEADERS} -I{place / OUR_HEADERS}"
    if flavour == "tsan":
        flags += f" -fsanitize-ignorelist={LANE / 'tsan.ignore'}"
    options = [f"--python={_python()}", f"--cc={compiler}", "--host-cc=clang-19", *CONFIGURE, f"--extra-cflags={flags}", f"--extra-ldflags={link}"]
    with contextlib.suppress(OSError):
        known = (source / OPTIONS).read_text("utf-8", "replace")
        options += [f"--enable-{name}" for name in FEATURES if f"--enable-{name})" in known]
    return options + ([f"--enable-{flavour}"] if flavour in ("asan", "tsan") else [])


def _configure(source, place, flavour, options, lock):
    if flavour in SIMULATED:
        _put_headers(place)
    status, output = _run([source / "configure", *options], place, lock)
    if status:
        check_disk(BUILD)
        reason = re.findall(r"^(?:.*ERROR:.*|.*[Ee]rror: .*)$", output, re.MULTILINE)
        why = reason[-1].strip() if reason else f"exit status {status}"
        raise CannotRun(f"QEMU {source} does not configure: {why}\n{last_lines(output, 12)}".rstrip())
    (place / CONFIGURED).write_bytes(os.fsencode("\n".join(options)))


def _is_configured(place, options):
    """With these options, and not with others, as by an older version of this file."""
    try:
        return (place / CONFIGURED).read_bytes() == os.fsencode("\n".join(options))
    except FileNotFoundError:
        return False


def _link_command(place):
    """The words that link the storage daemon, as QEMU's build has them."""
    status, output = call(["ninja", "-C", place, "-t", "commands", PROGRAM])
    lines = [line for line in output.splitlines() if f"-o {PROGRAM} " in line]
    if status or not lines:
        raise CannotRun(f"QEMU's build in {relative(place)} does not link {PROGRAM}:\n{last_lines(output, 5)}".rstrip())
    return shlex.split(lines[-1])


def _compile_commands(place, path):
    """{object: the words that compile it from this file, without input and output}; as QEMU's build has them, relative to its folder."""
    found, path = {}, path.resolve()
    for entry in json.loads((place / "compile_commands.json").read_text("utf-8")):
        if (place / entry["file"]).resolve() != path:
            continue
        words, kept = iter(shlex.split(entry["command"])), []
        for word in words:
            if word in ("-MQ", "-MF", "-o", "-c"):
                next(words)
            elif word != "-MD":
                kept.append(word)
        found[entry["output"]] = kept
    return found


def _compile_command(source, place):
    """The words that compile the storage daemon's main object."""
    for words in _compile_commands(place, source / PROGRAM_SOURCE).values():
        return words
    raise CannotRun(f"QEMU's build in {relative(place)} does not compile {PROGRAM_SOURCE}")


def _make_objects(source, version, place, flavour, jobs, lock, say):
    options = configure_options(source, place, flavour)
    if not _is_configured(place, options):
        if any(place.iterdir()):
            say(f"{relative(place)} was configured with other options, or not to its end: it is made anew")
            _empty(place)
        say(f"configuring QEMU {version} in {relative(place)}")
        _configure(source, place, flavour, options, lock)
    if flavour in SIMULATED:
        _put_headers(place)
    _run(["ninja", "-C", place, "build.ninja"], place, lock)  # the sources may have others now; where this fails, so does what follows, and says why
    inputs = [word for word in _link_command(place) if word.endswith((".o", ".a", ".fa")) and not word.startswith(("-", "/"))]
    say(f"compiling QEMU {version}, {flavour}: {len(inputs)} inputs of the storage daemon")
    status, output = _run(["ninja", "-C", place, "-j", jobs, *inputs], place, lock)
    if status:
        check_disk(BUILD)
        raise CannotRun(f"QEMU {version} in {source} does not compile:\n{last_lines(output, 25)}")


def build_objects(source, version, flavour, jobs, say):
    """
    Configure where that was not done, and compile what the storage daemon is linked from. Returns the folder. One that has never been complete
    is not left behind; where we were killed in the middle, the next to come goes on, or begins again where configuring had not come to its end.
    """
    check_disk(BUILD)
    with _lock(version, flavour, say) as lock:
        place = folder(source, version, flavour)
        complete = place / OURS_FOLDER
        try:
            _make_objects(source, version, place, flavour, jobs, lock, say)
            complete.mkdir(exist_ok=True)
        except BaseException:
            if not complete.exists():
                _remove(place)
            raise
    return place


# ---- our programs

def _name(target, replay):
    return target + ("-replay" if replay else "")


def program(place, target, replay=False, points=()):
    return place / (POINTS_FOLDER if points else OURS_FOLDER) / _name(target, replay)


def _must(command, place, failure, lock):
    status, output = _run(command, place, lock)
    if status:
        check_disk(BUILD)
        raise CannotRun(f"{failure}:\n{last_lines(output, 25)}")


def _compile(place, words, path, object_path, lock):
    strict = ["-Werror"] if path.parent in (LANE, BOTH) else []  # the others are held to our own warnings
    _must([*words, *strict, f"-I{ROOT}", f"-I{ROOT / 'src'}", "-c", path, "-o", object_path], place,
          f"{relative(path)} does not compile with this QEMU", lock)


def _runners(flavour):
    """What runs a target, for each of its programs: {whether it is the one for replay: our sources}."""
    if flavour not in SIMULATED:
        return {True: [LANE / "program_native.c", ROOT / "fuzz/native.c", ROOT / "fuzz/native_child.c"]}
    return {replay: [LANE / "program.c", ROOT / "fuzz" / engine] for replay, engine in ((False, "libfuzzer.c"), (True, "replay.c"))}


def our_libraries(flavour):
    """The words that link ours: what replay uses of the probes, and all of what the linker cannot know to be needed, as it takes libc's place."""
    paths = {name: BUILD / flavour / name for name in (PROBE, *OURS)}
    build.build(flavour, [build.goal(flavour, path) for path in paths.values()])
    return [paths[PROBE], "-Wl,--whole-archive", *(paths[name] for name in OURS), "-Wl,--no-whole-archive"]


def _archive_of(name, link):
    """libx.a of an object libx.a.p/y.c.o that is linked from it where it is needed; None where it is not linked so."""
    archive, whole = name.split(".p/")[0], False
    for word in link:
        whole = whole if "whole-archive" not in word else "no-whole" not in word
        if word == archive and word.endswith(".a") and not whole:
            return archive
    return None


def _compile_with_points(source, place, ours, link, points, words, lock):
    """
    The files of these lines, and the list of the lines. Returns {object of the link: ours in its place}, and objects that are linked besides: what
    they define is taken from no archive any more.
    """
    replaced, added, table = {}, [], ours / "points.c"
    for file in dict.fromkeys(file for file, _, _ in points):
        objects = {name: command for name, command in _compile_commands(place, source / file).items()
                   if name in link or _archive_of(name, link)}
        if not objects:
            raise CannotRun(f"--points: {file} is no part of what the lane links of this QEMU, or is linked from an archive that is taken as a whole")
        for number, (name, command) in enumerate(objects.items()):
            made = str(ours / f"{file.replace('/', '_')}.{number}.o")
            _must([*command, *POINTS_WORDS, "-c", source / file, "-o", made], place, f"{file} does not compile with points", lock)
            if name in link:
                replaced[name] = made
            else:
                added.append(made)
    table.write_text('#include "fuzz/plain_access.h"\nconst PlainLines wakefuzz_plain_lines[] = {\n' +
                     "".join(f'    {{ "{file}", {{ {first}, {last} }} }},\n' for file, first, last in points) + "    { 0 }\n};\n", "utf-8")
    _compile(place, words, table, ours / "points.o", lock)
    return replaced, [*added, ours / "points.o"]


def _check_for_accesses(ours, target):
    """The program itself knows whether each line has accesses: it does not begin where one has none."""
    status, output = call([ours / _name(target, True), "--quiet", "-n", "1", os.devnull])
    said = re.search(r"^wakefuzz: ((?:no point at|more than \d+ plain accesses).*)$", output, re.MULTILINE)
    if said:
        raise CannotRun(f"--points: {said[1]}")
    if status == 2 or (status != 0 and not ENDED.search(output)):
        raise CannotRun(f"{target} with these points does not run (status {status}):\n{last_lines(output, 5)}".rstrip())


def link_targets(source, place, flavour, names, points=(), say=lambda text: None, kept=None):
    """
    Link the programs of each target; all or none of a target are there afterwards. With points they take the place of those of another choice of
    lines, all at once when they are complete. Nobody compiles in that folder meanwhile. kept: a folder where these programs are as well, whoever
    links others.
    """
    with _lock(_version(source), flavour, say) as lock:
        if points:
            _link_with_points(source, place, flavour, names, points, lock)
        else:
            _link_targets(source, place, flavour, names, (), place / OURS_FOLDER, lock)
        if kept:
            for target in names:
                for replay in _runners(flavour):
                    _link_or_copy(program(place, target, replay, points), kept / _name(target, replay))


def _link_or_copy(path, other):
    try:
        other.hardlink_to(path)
    except OSError:
        shutil.copy2(path, other)


def _is_same(path, other):
    return other.exists() and filecmp.cmp(path, other, shallow=False)


def _replace_points(new, old):
    """The old choice is gone before the first program of the new one is there. What is the same is not touched, and what is not ours neither."""
    ours = {"points.c", *(_name(target, replay) for target in targets() + both_targets() for replay in (False, True))}
    old.mkdir(exist_ok=True)
    for path in old.iterdir():
        if (path.name in ours or path.suffix == ".o") and not ((new / path.name).exists() and _is_same(new / path.name, path)):
            path.unlink()
    for path in new.iterdir():
        if not (old / path.name).exists():
            path.rename(old / path.name)


def _link_with_points(source, place, flavour, names, points, lock):
    new = place / f"{POINTS_FOLDER}.new"
    try:
        shutil.rmtree(new, ignore_errors=True)  # of one that was killed
        new.mkdir()
        _link_targets(source, place, flavour, names, points, new, lock)
        _check_for_accesses(new, names[0])
        _replace_points(new, place / POINTS_FOLDER)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _link_targets(source, place, flavour, names, points, ours, lock):
    runners, libraries = _runners(flavour), our_libraries(flavour) if flavour in SIMULATED else []
    words, link = _compile_command(source, place), _link_command(place)
    words += OURS_WORDS.get(flavour, [])
    bare = [word for word in words if not word.startswith("-fsanitize")]  # what watches is never instrumented
    bare.append(f'-DLANE_SOURCE="{source}"')
    replaced, added = _compile_with_points(source, place, ours, link, points, bare, lock) if points else ({}, [])
    libraries = [*added, *libraries]
    for path in sorted(set().union(*runners.values())):
        _compile(place, bare, path, ours / f"{path.stem}.o", lock)
    for path in sorted(set().union(*(parts(target) for target in names))):
        _compile(place, words, path, ours / f"{path.stem}.o", lock)
    main_object = next(word for word in link if word.endswith("qemu-storage-daemon.c.o"))
    daemon = replaced.pop(main_object, main_object)
    link = [replaced.get(word, word) for word in link]
    _must(["objcopy", "--redefine-sym", "main=storage_daemon_main", place / daemon, ours / "daemon.o"], place,
          f"the main() of {PROGRAM} cannot be put aside", lock)
    for target in names:
        _compile(place, words, source_of(target), ours / f"{target}.o", lock)
        made = {replay: ours / _name(target, replay) for replay in runners}
        try:
            for replay, sources in runners.items():
                objects = [ours / f"{path.stem}.o" for path in (*sources, *sorted(parts(target)), source_of(target))]
                _must(_our_link(link, main_object, [ours / "daemon.o", *objects, *libraries], f"{made[replay]}.new", flavour, replay), place,
                      f"{target} does not link with this QEMU", lock)
            for path in made.values():
                if not _is_same(f"{path}.new", path):  # whoever runs the old one reads its debug information there
                    os.replace(f"{path}.new", path)
        finally:
            for path in made.values():
                pathlib.Path(f"{path}.new").unlink(missing_ok=True)


def _our_link(link, main_object, ours, output, flavour, replay):
    words, result = iter(link), []
    for word in words:
        if word == "-o":
            next(words)
            result += ["-o", output]
        elif word == main_object:
            result += ours
        elif word == NO_ENGINE and not replay:
            result.append("-fsanitize=fuzzer")
        elif not word.startswith("@") and word != "-Wl,--no-undefined":
            result.append(word)
    wrapped = [f"-Wl,--wrap={name}" for name in WRAPPED] if flavour in SIMULATED else []
    return [*result, *wrapped, "-ldw", "-ldl", "-rdynamic"]
