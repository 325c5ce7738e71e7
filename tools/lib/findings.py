"""
The findings of all hunts: build/hunt/findings/FLAVOUR-TARGET-VERDICT-N, and what was printed about each in the file of that name
with .txt behind. Nothing here is ever overwritten or deleted.

A finding is new where no other one of its program has its key: verdict and root cause, as TARGET-replay --describe tells them (docs/cli.md).
One that is not goes to build/hunt/repeats/NAME-again-N, NAME being the finding that it repeats: it may be smaller, or shrink better.
Where nobody can tell the key, it is new.

A fuzzer writes into build/hunt/runs/FLAVOUR-TARGET/, from where a finding is moved (by a hard link, so that it is at no moment in
neither place; where a file system has no hard links, it is copied, and removed when the copy is whole). What a killed hunt left there is taken over
by the next one.
"""

import contextlib
import errno
import os
import pathlib
import tempfile

from build import faults, program, targets
from common import BUILD, CannotRun, call, relative
from fuzzrun import hash_fits

HUNT = BUILD / "hunt"
FINDINGS = HUNT / "findings"
REPEATS = HUNT / "repeats"
RUNS = HUNT / "runs"
PART = ".part"
ARTIFACTS = ("crash-", "timeout-", "oom-", "leak-")
KEY_LINE = "key: "  # at the end of a finding's text
DESCRIBE_S = 120
DESCRIBED_FIELDS, DESCRIBED_KEY = 8, 6  # of a line of TARGET-replay --describe


def folder(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"cannot make the folder {relative(path)}: {error.strerror}") from error
    return path


def replay_command(flavour, target, fault, path):
    return f"{relative(program(flavour, target, fault))} {relative(path)}"


def _part_of(place):
    """Of a file that is not whole yet. Nobody takes it for a finding, and the next hunt removes what a killed one left of it."""
    return place.with_name(f".{place.name}{PART}")


def _write(data, place):
    """The place has all of it, or is not there. Only one hunt at a time writes there."""
    part = _part_of(place)
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
        part.rename(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _linked(source, place):
    """Is the source at place now, too? Not every file system has hard links, and none has them without end."""
    try:
        os.link(source, place)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _link_or_write(source, data, place):
    """Put the input at place, which must not exist. The source, where it is sound, is moved."""
    sound = source is not None and hash_fits(source)
    if not (sound and _linked(source, place)):
        _write(data, place)
    if sound:
        source.unlink()


def _first_free(stem, source, data, where=None):
    number = 1
    while True:
        place = (where or FINDINGS) / f"{stem}-{number}"
        try:
            _link_or_write(source, data, place)
            return place
        except FileExistsError:
            number += 1


def _describe(flavour, name, path):
    """(verdict, key) of an input, as its program says; None and None where it does not."""
    for fault, target in ((None, name), (name, None)):
        replay = program(flavour, target, fault, replay=True)
        if replay.exists():
            try:
                _, output = call([replay, "--describe", "--", path], timeout=DESCRIBE_S)
            except CannotRun:
                return None, None
            for line in output.splitlines():
                fields = line.split("\t")
                if len(fields) == DESCRIBED_FIELDS and fields[0] == str(path) and fields[1] != "none":
                    return fields[1], fields[DESCRIBED_KEY]
    return None, None


def _text_of(place):
    return place.with_name(place.name + ".txt")


def _known_key(flavour, name, place):
    """The key of a finding that is kept already: it stands at the end of its text."""
    try:
        for line in reversed(_text_of(place).read_text("utf-8", "replace").splitlines()):
            if line.startswith(KEY_LINE):
                return line[len(KEY_LINE):]
    except OSError:
        pass
    return _describe(flavour, name, place)[1]


def _same(name, key, data):
    """The finding of this program that has the key or the bytes; None where it is new. In which flavour it was found does not matter."""
    names = {name, *targets(), *faults()}
    for place in earlier():
        flavour, _, rest = place.name.partition("-")
        # One name may begin as another: NAME and NAME-in-TARGET. A verdict does not tell them apart: a sanitizer may have any word.
        if max((known for known in names if rest.startswith(f"{known}-")), key=len, default=None) == name:
            if place.read_bytes() == data or (key and _known_key(flavour, name, place) == key):
                return place
    return None


class Kept:
    """Where a finding is now: path (None: no disk takes it), and the earlier one that it repeats, or None."""

    def __init__(self, path, repeats=None):
        self.path, self.repeats = path, repeats


def _place(flavour, name, verdict, source, data):
    """
    Put an input where it belongs; verdict: None where only a replay can tell. Returns Kept and the key. Raises OSError or CannotRun
    where no room is left.
    """
    replayed, key = _describe(flavour, name, source) if source is not None and hash_fits(source) else (None, None)
    verdict = verdict or replayed or "unknown"
    same = _same(name, key, data)
    if same is None:
        return Kept(_first_free(f"{flavour}-{name}-{verdict}", source, data)), key
    for place in [same, *sorted(path for path in folder(REPEATS).iterdir() if not path.name.startswith("."))]:
        if place.read_bytes() == data:  # found again to the byte; or a hunt was killed when it had linked it and not yet removed it
            if source is not None:
                source.unlink(missing_ok=True)
            return Kept(place, same), key
    return Kept(_first_free(f"{same.name}-again", source, data, REPEATS), same), key


def keep(flavour, name, report):
    """
    Keep a finding. Returns Kept; where its path is None its bytes (report.input()) must be printed. name is the target's or the fault's.
    """
    data = report.input()
    if data is None:
        return Kept(None)
    try:
        kept, key = _place(flavour, name, report.verdict, report.artifact, data)
    except (OSError, CannotRun):
        return Kept(_keep_elsewhere(f"{flavour}-{name}-{report.verdict}-", data))
    if kept.repeats is None:
        text = report.text_from_first_line()
        if report.artifact:
            text = text.replace(str(report.artifact), relative(kept.path))
        _write_text(kept.path, text, key)
    return kept


def _write_text(place, text, key):
    try:
        _text_of(place).write_text(text + (f"{KEY_LINE}{key}\n" if key else ""), "utf-8")
    except OSError:
        pass  # the input is what counts: the text can be had again from it


def _keep_elsewhere(prefix, data):
    for other in (tempfile.gettempdir, lambda: "/dev/shm", pathlib.Path.home):
        with contextlib.suppress(OSError, RuntimeError):  # no room; no folder for temporary files; nobody knows where home is
            number, path = tempfile.mkstemp(prefix="wakefuzz-" + prefix, dir=other())
            try:
                with open(number, "wb") as file:
                    file.write(data)
                return pathlib.Path(path)
            except OSError:
                os.unlink(path)
    return None


def earlier():
    """Inputs kept by earlier hunts, oldest first."""
    if not FINDINGS.is_dir():
        return []
    return sorted((path for path in FINDINGS.iterdir() if path.suffix != ".txt" and not path.name.startswith(".")), key=lambda path: path.stat().st_mtime)


def take_over():
    """
    Findings that a killed hunt did not get to keep: kept now. Returns a Kept for each, and [(path, reason)] of those that stay where they are.
    """
    taken, left = [], []
    for part in [path for place in (FINDINGS, REPEATS) if place.is_dir() for path in place.glob(f".*{PART}")]:
        part.unlink(missing_ok=True)
    for run in sorted(RUNS.iterdir()) if RUNS.is_dir() else []:
        flavour, _, name = run.name.partition("-")
        for path in sorted(run.iterdir()):
            if path.name.startswith(ARTIFACTS) and hash_fits(path):  # on a full disk an empty file has another one's name
                try:
                    taken.append(_place(flavour, name, None, path, path.read_bytes())[0])
                except (OSError, CannotRun) as error:
                    left.append((path, getattr(error, "strerror", None) or str(error)))
    return taken, left
