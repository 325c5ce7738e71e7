"""What is known of each mutant: the table of the build, the results of runs, what was examined by hand; and the report on all of it."""

import fnmatch
import json
import os
import re

import build
import show
from common import BUILD, ROOT, CannotRun, relative

FOLDER = BUILD / "mutants"
EXAMINED = ROOT / "tests" / "mutants" / "examined"
VERDICTS_BY_HAND = ("equivalent", "hole")
KINDS = ("kick", "wake", "notify", "check", "counter", "wait", "section", "lock", "state", "queue", "cancel", "barrier", "order")
MARK = "<!-- below this line: tests/mutants/run --report -->"
HEADS = ("what is removed", "mutants", "killed by the corpus", "by fuzzing", "equivalent", "known hole", "survived", "not fuzzed",
         "not reached", "needs weak memory", "not tried")


def program(flavour, target, replay=False):
    return BUILD / flavour / "tests" / "mutants" / (target + ("-replay" if replay else ""))


def table(flavour):
    """All mutants of a build: [{"number", "name", "kind", "weak", "line", "code", "function"}]."""
    path = BUILD / flavour / "tests" / "mutants" / "table.json"
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRun(f"{relative(path)} cannot be read: {error}") from error


def choose(rows, patterns):
    """The mutants that the patterns name (as in a shell), in the order of the table."""
    chosen = set()
    for pattern in patterns:
        found = [row["name"] for row in rows if row["name"] == pattern] or \
                [row["name"] for row in rows if fnmatch.fnmatchcase(row["name"], pattern)]
        if not found:
            raise CannotRun(f"no mutant is called '{pattern}'; tests/mutants/run --list prints all")
        chosen.update(found)
    return [row for row in rows if row["name"] in chosen]


class Examined:
    """
    tests/mutants/examined: what was found by hand. An entry is some lines "VERDICT NAME..." and indented lines with the reason; a name may be
    a pattern. Everything must exist: an entry for a mutant that is gone is an error.
    """

    def __init__(self, rows, path=EXAMINED):
        self.entries = []  # (verdict, [names], reason)
        self.by_name = {}  # name -> (verdict, reason)
        names = {row["name"] for row in rows}
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            if line[0].isspace():
                if not self.entries:
                    raise CannotRun(f"{relative(path)}:{number}: a reason without a mutant")
                self.entries[-1][2].append(line.strip())
                continue
            verdict, *patterns = line.split()
            if verdict not in VERDICTS_BY_HAND or not patterns:
                raise CannotRun(f"{relative(path)}:{number}: '{' or '.join(VERDICTS_BY_HAND)}' and names expected")
            found = []
            for pattern in patterns:
                matching = [pattern] if pattern in names else fnmatch.filter(names, pattern)
                if not matching:
                    raise CannotRun(f"{relative(path)}:{number}: there is no mutant '{pattern}' (any more)")
                found += matching
            if self.entries and self.entries[-1][0] == verdict and not self.entries[-1][2]:
                self.entries[-1][1].extend(found)
            else:
                self.entries.append((verdict, found, []))
        for verdict, found, reason in self.entries:
            if not reason:
                raise CannotRun(f"{relative(path)}: no reason for {found[0]}")
            for name in found:
                if name in self.by_name:
                    raise CannotRun(f"{relative(path)}: {name} has two entries")
                self.by_name[name] = (verdict, " ".join(reason))

    def verdict(self, name):
        return self.by_name.get(name, (None, None))[0]


class Results:
    """
    A line of JSON for each mutant that was tried; the last one counts. A line is written when its mutant is done, so that a run which is
    killed goes on where it was. A line holds as long as the text of its function is the same.
    """

    def __init__(self, rows, path):
        self.path, self.known = path, {}
        functions = {row["name"]: row["function"] for row in rows}
        try:
            lines = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                result = json.loads(line)
            except ValueError:
                continue  # the last one of a run that was killed
            if functions.get(result["name"]) == result["function"]:
                self.known[result["name"]] = result

    def get(self, name):
        return self.known.get(name)

    def add(self, result):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            torn = file.tell() > 0 and not self._ends_with_newline()
            file.write((b"\n" if torn else b"") + json.dumps(result).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.known[result["name"]] = result

    def _ends_with_newline(self):
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


# ---- the report

def standing(row, results, examined):
    """Which column of the report a mutant counts in. What was killed is killed, whatever was thought of it before."""
    result = results.get(row["name"])
    if result and result["status"] == "killed":
        return "killed by the corpus" if result["by"] == "corpus" else "by fuzzing"
    verdict = examined.verdict(row["name"])
    if verdict:
        return "equivalent" if verdict == "equivalent" else "known hole"
    if row["weak"]:
        return "needs weak memory"
    if not result:
        return "not tried"
    if result["status"] == "unreached":
        return "not reached"
    return "survived" if result["fuzzed_s"] else "not fuzzed"


def contradictions(rows, results, examined):
    """Mutants that are said to be equivalent, or a hole of the targets, and were killed: an entry that is wrong, or whose pattern says too much."""
    return [row["name"] for row in rows if examined.verdict(row["name"]) and standing(row, results, examined) in HEADS[2:4]]


def counts(rows, results, examined):
    """Rows of the table, one for each kind of mutant and one for all."""
    lines = []
    for kind in (*KINDS, "all"):
        of_kind = [row for row in rows if kind in (row["kind"], "all")]
        where = [standing(row, results, examined) for row in of_kind]
        if of_kind:
            lines.append((kind, len(of_kind), *(where.count(head) for head in HEADS[2:])))
    return lines


def quoted(row):
    code = row["code"].replace("|", "\\|")
    return f"`{row['name']}` line {row['line']}: `{code[:100] + (' ...' if len(code) > 100 else '')}`"


def report(rows, results, examined):
    """The part of docs/mutants.md that is made by the tool."""
    by_standing = {}
    for row in rows:
        by_standing.setdefault(standing(row, results, examined), []).append(row)
    by_name = {row["name"]: row for row in rows}
    parts = [show.markdown(HEADS, counts(rows, results, examined), range(1, len(HEADS)))]
    verdicts = {}
    for result in results.known.values():
        if result["status"] == "killed":
            verdicts[result["verdict"]] = verdicts.get(result["verdict"], 0) + 1
    parts.append("Killed with: " + ", ".join(f"{verdict} {count}" for verdict, count in
                                             sorted(verdicts.items(), key=lambda item: -item[1])) + ".\n")
    for verdict, title in (("hole", "Known holes"), ("equivalent", "Equivalent, with the reason")):
        parts.append(f"## {title}\n")
        for which, names, reason in examined.entries:
            left = [name for name in names if standing(by_name[name], results, examined) in ("equivalent", "known hole")]
            if which == verdict and left:
                parts.append("\n".join(f"- {quoted(by_name[name])}" for name in left) + "\n\n  " + " ".join(reason) + "\n")
    parts.append("## Survivors that nobody has examined\n")
    lines = []
    for row in sorted(by_standing.get("survived", []), key=lambda row: KINDS.index(row["kind"])):
        result = results.get(row["name"])
        lines.append(f"- {row['kind']}: {quoted(row)}; {result['fuzzed_s']:.0f} s, {show.thousands(result['executions'])} executions of "
                     f"{', '.join(result['targets'])}")
    parts.append("\n".join(lines or ["None."]) + "\n")
    for head, title in (("not fuzzed", "Not killed by the corpus, and not fuzzed yet"), ("not reached", "Not reached by any target")):
        parts.append(f"## {title}\n")
        by_function = {}
        for row in by_standing.get(head, []):
            file, function, rest = row["name"].split(":", 2)
            by_function.setdefault(f"{file}:{function}", []).append(rest)
        parts.append("\n".join(f"- `{function}`: " + ", ".join(f"`{rest}`" for rest in names)
                               for function, names in by_function.items()) + "\n" if by_function else "None.\n")
    return "\n".join(parts)


def write_report(path, text):
    """Everything behind the mark is ours."""
    try:
        before = path.read_text("utf-8").split(MARK)[0] if path.exists() else ""
        path.write_text(f"{before}{MARK}\n\n{text}", "utf-8")
    except OSError as error:
        raise CannotRun(f"cannot write {path}: {error.strerror}") from error


def file_name(name):
    """A mutant's name as part of a file's name."""
    return re.sub(r"[^\w.-]", "_", name)


def results_file(flavours, targets):
    """Results of other flavours, or of some targets alone, say something else."""
    some = "" if targets == build.targets() else "-" + "+".join(targets)
    return FOLDER / f"results-{'+'.join(flavours)}{some}.jsonl"


def build_programs(flavours, targets):
    for flavour in flavours:
        build.build(flavour, [build.goal(flavour, program(flavour, target, replay)) for target in targets for replay in (False, True)] +
                    ["tests/mutants/table.json"])
