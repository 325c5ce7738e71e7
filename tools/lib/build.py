"""Flavours, targets and faults: what there is, and how it is built."""

import contextlib
import fcntl
import os
import re
import subprocess
import sys

from common import BUILD, ROOT, CannotRun, call, check_disk, last_lines, relative

FLAGS = ("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")  # what Meson takes from the environment, once and for all
TARGET_LIST = re.compile(r"^targets = \[(.*?)\]", re.MULTILINE | re.DOTALL)


def flavours():
    """All flavours: one file each in sanitizers/."""
    return sorted(path.stem for path in (ROOT / "sanitizers").glob("*.ini"))


def simulated_flavours():
    """Those whose schedule is the input; in the others, native*, the kernel schedules."""
    return [name for name in flavours() if not name.startswith("native")]


def hunting_flavours():
    """Those in which one looks for bugs: coverage only counts what inputs reach."""
    return [name for name in simulated_flavours() if name != "coverage"]


def targets():
    """All targets: the list in fuzz/meson.build."""
    words = TARGET_LIST.search((ROOT / "fuzz" / "meson.build").read_text("utf-8"))
    return sorted(re.findall(r"'([a-z0-9_]+)'", words[1])) if words else []


def patches():
    """The names of all patches in tests/faults."""
    return sorted(path.stem for path in (ROOT / "tests" / "faults").glob("*.patch"))


def faults():
    """The names of all faults: NAME in its target, and NAME-in-TARGET in the others that its header names."""
    names = []
    for name in patches():
        also = fault_header(name).get("Also", "")
        names += [name, *(f"{name}-in-{target}" for target in also.split(", ") if target)]
    return sorted(names)


def unseen_faults():
    """Those that interleaving alone cannot show: a store buffer is not simulated yet (docs/not-modelled.md)."""
    return [name for name in faults() if fault_header(name).get("Memory-model") not in ("SC", "1T")]


def check_names(kind, names, known):
    """Raises CannotRun with the list of known ones where a name is unknown."""
    for name in names:
        if name not in known:
            raise CannotRun(f"unknown {kind} '{name}'; there are: {', '.join(known) or 'none'}")


def fault_header(name):
    """The header of a fault's patch: {'Target': 'graph_lock', 'Verdict': 'missed-wakeup', ...}."""
    header = {}
    key = None
    patch, _, target = name.partition("-in-")
    if (ROOT / "tests" / "faults" / f"{name}.patch").exists():
        patch, target = name, ""
    for line in (ROOT / "tests" / "faults" / f"{patch}.patch").read_text("utf-8").splitlines():
        if line.startswith(("--- ", "diff ")):
            break
        match = re.match(r"([A-Z][A-Za-z-]*):\s*(.*)", line)
        if match:
            key = match[1]
            header[key] = match[2].strip()
        elif key and line[:1].isspace():
            header[key] += " " + line.strip()
    for key in ("Title", "Target", "Verdict"):
        if not header.get(key):
            raise CannotRun(f"tests/faults/{patch}.patch: no '{key}:' in its header")
    if target:
        header["Target"] = target
        for part in header["Verdict"].split(";")[1:]:
            place, _, verdicts = part.partition(":")
            if place.strip() == target:
                header["Verdict"] = verdicts.strip()
    return header


def fault_verdicts(header, flavour):
    """
    The verdicts that count as found in a flavour. "Verdict: missed-wakeup"; or with an exception for some flavours,
    "Verdict: leak; tsan: data-race". Several good ones are separated by commas.
    """
    wanted = header["Verdict"].split(";")
    for part in wanted[1:]:
        name, _, verdicts = part.partition(":")
        if name.strip() == flavour:
            return [verdict.strip() for verdict in verdicts.split(",")]
    return [verdict.strip() for verdict in wanted[0].split(",")]


def ensure_setup():
    """Run tools/setup where something is missing."""
    setup = ROOT / "tools" / "setup"
    if call([setup, "--check"])[0] == 0:
        return
    sys.stdout.flush()
    if subprocess.run([str(setup)], stdout=sys.stdout.fileno(), check=False).returncode != 0:
        raise CannotRun("tools/setup could not install what is missing (see above)")


@contextlib.contextmanager
def build_lock(name, say=lambda text: None):
    """
    Two tools may want the same build folder at the same time; ninja itself does not notice. Gives the lock's file: who inherits it holds the
    lock, too.
    """
    path = BUILD / f".lock-{name}"
    try:
        BUILD.mkdir(parents=True, exist_ok=True)
        file = open(path, "w", encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"cannot build in {relative(BUILD)}: {error.strerror} ({error.filename}); WAKEFUZZ_BUILD names another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def configure(name, *arguments, lock, environment=None):
    """
    Make build/NAME where it is not there; where faults, or includes of what they change, came or went, read them again. The flags of the user's shell
    are for what is built outside (-Dflavour=external): a flavour's own say what it is.
    """
    folder = BUILD / name
    if (folder / "build.ninja").exists():
        known = [folder / "tests" / "faults" / file for file in ("known", "included")]
        _, included = call([ROOT / "tests" / "faults" / "includers"])
        if [path.read_text("utf-8").split() if path.exists() else None for path in known] != [patches(), included.split()]:
            command = ["meson", "setup", "--reconfigure", folder, ROOT]
        else:
            return
    else:
        command = ["meson", "setup", folder, ROOT, "-Dwerror=true", *arguments]
    variables = {**os.environ, **(environment or {})}
    if "-Dflavour=external" not in arguments:
        variables = {key: value for key, value in variables.items() if key not in FLAGS}
    status, output = call(command, env=variables, pass_fds=[lock.fileno()])
    if status:
        raise CannotRun(f"cannot configure {relative(folder)}: {' '.join(map(str, command))}\n{last_lines(output, 25)}")


def ninja(name, goals, lock):
    """Build goals of build/NAME; on a terminal one sees ninja's own progress. Where we are killed, it holds the lock until it ends."""
    command = ["ninja", "-C", str(BUILD / name), "-j", str(os.cpu_count() or 1), *goals]
    shown = {"stdout": sys.stdout.fileno(), "stderr": None} if sys.stdout.isatty() else {}
    status, output = call(command, pass_fds=[lock.fileno()], **shown)
    if status:
        check_disk(BUILD)
        raise CannotRun(f"cannot build {relative(BUILD / name)}: {' '.join(command)}\n{last_lines(output, 40)}".rstrip())


def build(flavour, goals=(), say=lambda text: None):
    """Configure and build a flavour; no goals: everything but the faults."""
    check_disk(BUILD)
    with build_lock(flavour, say) as lock:
        configure(flavour, "--native-file", ROOT / "sanitizers" / f"{flavour}.ini", lock=lock)
        ninja(flavour, list(goals), lock)


def program(flavour, target=None, fault=None, replay=False):
    """Path of a target's or a fault's program."""
    name = (fault or target) + ("-replay" if replay else "")
    return BUILD / flavour / ("tests/faults" if fault else "fuzz") / name


def goal(flavour, path):
    """A program as a goal for ninja."""
    return str(path.relative_to(BUILD / flavour))
