"""Does a corpus file still show what tests/corpus/shows.list says of it?"""

import build
from common import ROOT, call, last_lines
from replaying import PATIENCE_S

LIST = ROOT / "tests" / "corpus" / "shows.list"


def entries():
    """[(fault, path, [words])]"""
    lines = [line.split() for line in LIST.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    return [(fault, ROOT / "corpus" / name, words) for fault, name, *words in lines]


def missing(output, words):
    """The first word that is not in the report after those before it; None where all are."""
    at = output.find("panic: ")
    for word in words:
        at = output.find(word, at) if at >= 0 else -1
        if at < 0:
            return word
    return None


def cases():
    """Builds the faults' programs in plain, replays each entry and yields (name of the case, passed, what is to be said of it)."""
    wanted = entries()
    programs = {fault: build.program("plain", fault=fault, replay=True) for fault, _, _ in wanted}
    build.build("plain", [build.goal("plain", path) for path in programs.values()])
    for fault, path, words in wanted:
        _, output = call([programs[fault], path], timeout=PATIENCE_S)
        lost = missing(output, words)
        yield (f"corpus/{path.relative_to(ROOT / 'corpus')} shows {fault}", lost is None,
               "" if lost is None else f"'{lost}' is not there in its place\n{last_lines(output, 8)}")
