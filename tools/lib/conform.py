"""
Do core and QEMU do the same? Scenarios of fuzz/both/, compiled with each, are given the same inputs, and what their users could see (fuzz_note())
is compared line by line.

The order is first-in-first-out: which thread runs is then decided by who waits for whom, not by how many steps each has. Two io threads that are
both ready may still go either way: lines of theirs between two lines of the main thread are compared thread by thread.
"""

import random
import re

import build
import qemubuild
from common import CannotRun, call, last_lines
from replaying import PATIENCE_S

HEAD = re.compile(r"^(?P<file>.+) verdict=(?P<verdict>[a-z-]+) hash=[0-9a-f]{16} steps=\d+ runs=\d+$")
FIFO = b"\0\0"  # the plan that says nothing (docs/input-format.md)
SCENARIO_BYTES_MAX = 40


def build_both(source, targets, jobs, say):
    """The targets with the core and with these sources of QEMU. Returns the folder of the latter."""
    source, version = qemubuild.check_source(source)
    build.ensure_setup()
    qemubuild.check_needs()
    build.build("plain", [build.goal("plain", build.program("plain", target, replay=True)) for target in targets])
    place = qemubuild.build_objects(source, version, "plain", jobs, say)
    qemubuild.link_targets(source, place, "plain", targets)
    return place


def make_inputs(folder, count, seed):
    """The empty scenario, and random ones of all lengths. Returns their paths."""
    draw = random.Random(seed)
    paths = []
    for number in range(count):
        size = 0 if number == 0 else draw.randint(1, SCENARIO_BYTES_MAX)
        path = folder / f"{number:04}"
        path.write_bytes(draw.randbytes(size) + FIFO)
        paths.append(path)
    return paths


def histories(program, paths):
    """{path: [verdict, line, ...]}. Where a signal ends the process, another goes on after what it has printed."""
    seen = {}
    left = [str(path) for path in paths]
    while left:
        status, output = call([program, "--quiet", "--history", *left], timeout=PATIENCE_S)
        current = None
        for line in output.splitlines():
            head = HEAD.match(line)
            if head and head["file"] in left:
                current = seen[head["file"]] = [f"verdict={head['verdict']}"]
            elif current is not None:
                current.append(line)
        rest = [path for path in left if path not in seen]
        if len(rest) == len(left):
            raise CannotRun(f"{program} prints no history (exit status {status}):\n{last_lines(output, 8)}")
        left = rest
    return seen


def canonical(lines):
    """Between two lines of the main thread (0): first what thread 1 noted, then thread 2, each in its order."""
    result, block = [], []
    for line in lines:
        if re.match(r"[1-9]\d*: ", line):
            block.append(line)
            continue
        result += sorted(block, key=lambda one: int(one.split(":")[0])) + [line]
        block = []
    return result + sorted(block, key=lambda one: int(one.split(":")[0]))


class Agreement:
    """How often both did the same, and the inputs on which they did not: [(path, core's lines, QEMU's lines)]."""

    def __init__(self, target):
        self.target, self.same, self.lines, self.differing = target, 0, 0, []

    def compare(self, paths, core, qemu):
        for path in map(str, paths):
            one, other = canonical(core[path]), canonical(qemu[path])
            if one == other:
                self.same += 1
                self.lines += len(one) - 1
            else:
                self.differing.append((path, one, other))


def first_difference(core, qemu):
    """(number of the line, 0 for the verdict; the core's, QEMU's)."""
    number = 0
    while core[number:number + 1] == qemu[number:number + 1]:
        number += 1
    return number, *(lines[number] if number < len(lines) else "(nothing)" for lines in (core, qemu))


def compare_all(place, targets, paths, flavour="plain"):
    """Yields an Agreement for each target; both programs are built."""
    for target in targets:
        agreement = Agreement(target)
        core = build.program(flavour, target, replay=True)
        agreement.compare(paths, histories(core, paths), histories(qemubuild.program(place, target, replay=True), paths))
        yield agreement
