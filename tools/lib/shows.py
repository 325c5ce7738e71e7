"""Does a corpus file still show what tests/corpus/shows.list says of it?"""

import build
from common import ROOT, TimedOut, call, last_lines
from replaying import PATIENCE_S

LIST = ROOT / "tests" / "corpus" / "shows.list"


def entries():
    """[(flavour, fault, path, [words])]"""
    lines = [line.split() for line in LIST.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    return [(*(["plain"] + where.split(":"))[-2:], ROOT / "corpus" / name, words) for where, name, *words in lines]


def report_of(program, path):
    """What the program says of the file; of what a sanitizer or a signal ends, verdict and functions as `wakefuzz repro` has them."""
    _, output = call([program, path], timeout=PATIENCE_S)
    if "panic: " not in output:
        fields = call([program, "--describe", path], timeout=PATIENCE_S)[1].split("\t")
        return f"panic: {fields[1]} {fields[6]}\n{output}" if len(fields) == 8 else output
    return output


def missing(output, words):
    """The first word that is not in the report after those before it; None where all are."""
    at = output.find("panic: ")
    for word in words:
        at = output.find(word, at) if at >= 0 else -1
        if at < 0:
            return word
    return None


def cases():
    """Builds the faults' programs, replays each entry and yields (name of the case, passed, what is to be said of it)."""
    wanted = entries()
    programs = {(flavour, fault): build.program(flavour, fault=fault, replay=True) for flavour, fault, _, _ in wanted}
    for flavour in sorted({flavour for flavour, _ in programs}):
        build.build(flavour, [build.goal(flavour, path) for (of, _), path in programs.items() if of == flavour])
    for flavour, fault, path, words in wanted:
        try:
            output = report_of(programs[flavour, fault], path)
        except TimedOut as error:
            output = str(error)
        lost = missing(output, words)
        yield (f"corpus/{path.relative_to(ROOT / 'corpus')} shows {fault}{'' if flavour == 'plain' else ' in ' + flavour}", lost is None,
               "" if lost is None else f"'{lost}' is not there in its place\n{last_lines(output, 8)}")
