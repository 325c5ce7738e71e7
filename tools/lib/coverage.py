"""
What the committed corpus reaches of the core, and what it does not: `wakefuzz cover` measures, tests/corpus/unreached.list says why.

A line of the list is FILE FUNCTION BLOCKS SIDES REASON[,REASON]: how many blocks of code of that function are never run, how many conditions
never have one of their values, and for which of the reasons that the list defines by lines "= REASON TEXT".
"""

import collections
import json

import show
from common import ROOT, CannotRun, call, last_lines

LIST = ROOT / "tests" / "corpus" / "unreached.list"
LEAST = {"lines": 95.0, "branches": 85.0}  # percent, of all of src/core
HEADS = ("file", "lines", "reached", "%", "branches", "reached", "%")
RIGHT = (1, 2, 3, 4, 5, 6)

Entry = collections.namedtuple("Entry", "blocks sides reasons")


def measure():
    """What `wakefuzz cover --json` says of all targets."""
    status, output = call([ROOT / "tools" / "wakefuzz", "cover", "--json"])
    if status:
        raise CannotRun(f"wakefuzz cover ended with {status}:\n{last_lines(output, 12)}")
    return json.loads(output)


def unreached(measured):
    """{(file, function): [blocks, sides]} of the functions that the corpus does not reach as a whole."""
    found = collections.defaultdict(lambda: [0, 0])
    for which, rows in enumerate((measured["unreached"], measured["sides"])):
        for row in rows:
            found[row["file"], row["function"]][which] += 1
    return dict(found)


def read_list(text):
    """(reasons: {name: text}, entries: {(file, function): Entry})"""
    reasons, entries = {}, {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if line.startswith("= ") and len(words) > 2:
            reasons[words[1]] = " ".join(words[2:])
        elif words and not line.startswith("#"):
            if len(words) != 5 or not (words[2] + words[3]).isdigit() or (words[0], words[1]) in entries:
                raise CannotRun(f"{LIST.name}:{number}: not FILE FUNCTION BLOCKS SIDES REASON, or twice: {line}")
            entries[words[0], words[1]] = Entry(int(words[2]), int(words[3]), words[4].split(","))
    return reasons, entries


def percent(files, what):
    return 100.0 * sum(row[f"{what}_reached"] for row in files) / max(1, sum(row[what] for row in files))


def compare(measured, text):
    """What is wrong, a line for each: too little is reached, or the list says other things than the measurement."""
    reasons, entries = read_list(text)
    found = unreached(measured)
    wrong = [f"{what}: {percent(measured['files'], what):.2f} % reached, {least} % wanted"
             for what, least in LEAST.items() if percent(measured["files"], what) < least]
    for key in sorted(found.keys() | entries.keys()):
        entry, now = entries.get(key), found.get(key)
        where = f"{key[0]}: {key[1]}"
        if not now:
            wrong.append(f"{where}: all of it is reached, or it is gone: take it from the list")
        elif not entry:
            wrong.append(f"{where}: {now[0]} blocks and {now[1]} sides are not reached, and the list gives no reason")
        elif [entry.blocks, entry.sides] != now:
            wrong.append(f"{where}: {now[0]} blocks and {now[1]} sides are not reached, the list says {entry.blocks} and {entry.sides}")
        for name in entry.reasons if entry else ():
            if name not in reasons:
                wrong.append(f"{where}: there is no reason '{name}'")
    used = {name for entry in entries.values() for name in entry.reasons}
    return wrong + [f"reason '{name}' is not used" for name in sorted(reasons.keys() - used)]


def updated(measured, text):
    """The list with the numbers of now. What is new has the reason '?', which compare() refuses."""
    _, entries = read_list(text)
    head = [line for line in text.splitlines() if line.startswith(("#", "= ")) or not line]
    found = unreached(measured)
    width = max((len(f"{file} {function}") for file, function in found), default=0)
    rows = []
    for (file, function), (blocks, sides) in sorted(found.items()):
        known = entries.get((file, function))
        rows.append(f"{f'{file} {function}':{width}} {blocks:2} {sides:2} {','.join(known.reasons) if known else '?'}")
    return "\n".join(head + rows) + "\n"


def table(measured):
    rows = []
    for row in [*measured["files"], None]:
        files = [row] if row else measured["files"]
        cells = [row["file"].removeprefix("src/core/") if row else "all of it"]
        for what in ("lines", "branches"):
            count, reached = (sum(file[key] for file in files) for key in (what, f"{what}_reached"))
            cells += [show.thousands(count), show.thousands(reached), f"{100.0 * reached / count:.1f}" if count else ""]
        rows.append(tuple(cells))
    return rows
