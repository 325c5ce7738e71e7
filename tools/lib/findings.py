"""
The findings of all hunts: build/hunt/findings/FLAVOUR-TARGET-VERDICT-N, and what was printed about each in the file of that name
with .txt behind. Nothing here is ever overwritten or deleted.

A fuzzer writes into build/hunt/runs/FLAVOUR-TARGET/, from where a finding is moved (by a hard link, so that it is at no moment in
neither place). What a killed hunt left there is taken over by the next one.
"""

import os
import pathlib
import tempfile

from build import program
from common import BUILD, CannotRun, call, relative
from fuzzrun import hash_fits

HUNT = BUILD / "hunt"
FINDINGS = HUNT / "findings"
RUNS = HUNT / "runs"
ARTIFACTS = ("crash-", "timeout-", "oom-", "leak-")


def folder(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"cannot make the folder {relative(path)}: {error.strerror}") from error
    return path


def replay_command(flavour, target, fault, path):
    return f"{relative(program(flavour, target, fault))} {relative(path)}"


def _link_or_write(source, data, place):
    """Put the input at place, which must not exist. The source, where it is sound, is moved."""
    if source is not None and hash_fits(source):
        os.link(source, place)
        source.unlink()
        return
    with open(place, "xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            place.unlink()
            raise


def _first_free(stem, source, data):
    number = 1
    while True:
        place = FINDINGS / f"{stem}-{number}"
        try:
            _link_or_write(source, data, place)
            return place
        except FileExistsError:
            number += 1


def keep(flavour, name, report):
    """
    Keep a finding. Returns its path, or None where no disk takes it; then its bytes (report.input()) must be printed.
    name is the target's or the fault's.
    """
    data = report.input()
    if data is None:
        return None
    try:
        place = _first_free(f"{flavour}-{name}-{report.verdict}", report.artifact, data)
    except OSError:
        return _keep_elsewhere(f"{flavour}-{name}-{report.verdict}-", data)
    text = report.text_from_first_line()
    if report.artifact:
        text = text.replace(str(report.artifact), relative(place))
    try:
        place.with_name(place.name + ".txt").write_text(text, "utf-8")
    except OSError:
        pass  # the input is what counts: the text can be had again from it
    return place


def _keep_elsewhere(prefix, data):
    for other in (tempfile.gettempdir(), "/dev/shm", pathlib.Path.home()):
        try:
            number, path = tempfile.mkstemp(prefix="wakefuzz-" + prefix, dir=other)
            with open(number, "wb") as file:
                file.write(data)
            return pathlib.Path(path)
        except OSError:
            continue
    return None


def earlier():
    """Inputs kept by earlier hunts, oldest first."""
    if not FINDINGS.is_dir():
        return []
    return sorted((path for path in FINDINGS.iterdir() if path.suffix != ".txt"), key=lambda path: path.stat().st_mtime)


def _verdict_by_replay(flavour, name, path):
    for fault, target in ((None, name), (name, None)):
        replay = program(flavour, target, fault, replay=True)
        if replay.exists():
            _, output = call([replay, "--quiet", path], timeout=120)
            for word in output.split():
                if word.startswith("verdict="):
                    return word[len("verdict="):]
    return "unknown"


def take_over():
    """Findings that a killed hunt did not get to keep: kept now. Returns their paths."""
    taken = []
    for run in sorted(RUNS.iterdir()) if RUNS.is_dir() else []:
        flavour, _, name = run.name.partition("-")
        for path in sorted(run.iterdir()):
            if path.name.startswith(ARTIFACTS) and path.stat().st_size and hash_fits(path):
                verdict = _verdict_by_replay(flavour, name, path)
                taken.append(_first_free(f"{flavour}-{name}-{verdict}", path, b""))
    return taken
