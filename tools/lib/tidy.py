"""
clang-tidy over src and fuzz.

One look at a file: a compile database has a file once for each program that it is compiled into (those of fuzz up to 23 times, the core's four
times), and clang-tidy takes them all. One command stands for all; they differ in their output and in whether core/atomic.h has points, and the
one chosen has them.

A file that was silent is not looked at again before something has changed that clang-tidy reads: the file and what it includes, by ninja's
record of it; its command; .clang-tidy; the program itself. What was not silent is never remembered.
"""

import hashlib
import json
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

from common import BUILD, ROOT, CannotRun, call

PROGRAM = "clang-tidy-19"
SIMULATED = "-DWAKEFUZZ_SIMULATED"
# How far the analyzer follows a function. With its own limit, 225,000 nodes, src/core/monitor_qmp.c takes five times as long, and 242 files
# were as silent.
ANALYZER_NODES = 20_000


def one_for_each(entries):
    """{file: its entry of a compile database}: of several the first with points, else the first."""
    chosen = {}
    for entry in entries:
        path = pathlib.Path(os.path.normpath(os.path.join(entry["directory"], entry["file"])))
        if path not in chosen or (SIMULATED in entry["command"] and SIMULATED not in chosen[path]["command"]):
            chosen[path] = entry
    return chosen


def dependencies(folder):
    """{object: the files that it was compiled from}, as ninja recorded them in a build folder."""
    status, output = call(["ninja", "-C", folder, "-t", "deps"])
    if status:
        raise CannotRun(f"ninja -t deps:\n{output}")
    found, files = {}, []
    for line in output.splitlines():
        if line.startswith("    "):
            files.append(folder / line.strip())
        elif ": #deps" in line:
            files = found.setdefault(line.split(": #deps")[0], []) if line.endswith("(VALID)") else []
    return found


class Memory:
    """Which contents were silent: an empty file for each, named by the hash of all that clang-tidy read."""

    def __init__(self, folder, known, fixed):
        self.folder, self.known, self.fixed, self.hashes = folder, known, fixed, {}
        folder.mkdir(parents=True, exist_ok=True)

    def hash_of(self, path):
        path = os.path.normpath(path)
        if path not in self.hashes:
            self.hashes[path] = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
        return self.hashes[path]

    def place(self, entry):
        """None: ninja does not know what the file includes."""
        files = self.known.get(entry["output"])
        if not files:
            return None
        try:
            read = [f"{path} {self.hash_of(path)}" for path in files]
        except OSError:
            return None
        return self.folder / hashlib.sha256("\n".join([self.fixed, entry["command"], *read]).encode()).hexdigest()


def sources():
    return sorted(path for folder in ("src", "fuzz") for path in (ROOT / folder).rglob("*.c"))


def diagnostics(output):
    """The lines that count; all of an output that has none: then something else is wrong."""
    return [line for line in output.splitlines() if " error: " in line or " warning: " in line] or [output]


def look(flavour, jobs):
    """(files looked at or remembered, how many were remembered, files that this flavour does not compile, what clang-tidy said)."""
    build, own = BUILD / flavour, BUILD / "tidy"
    chosen = one_for_each(json.loads((build / "compile_commands.json").read_text("utf-8")))
    files = [path for path in sources() if path in chosen]
    limits = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", f"max-nodes={ANALYZER_NODES}")]
    memory = Memory(own / "silent", dependencies(build), call([PROGRAM, "--version"])[1] + " ".join(limits) + (ROOT / ".clang-tidy").read_text("utf-8"))
    places = {path: memory.place(chosen[path]) for path in files}
    (own / "compile_commands.json").write_text(json.dumps([chosen[path] for path in files]), "utf-8")

    def run(path):
        status, output = call([PROGRAM, "--quiet", "--warnings-as-errors=*", *limits, "-p", own, path])
        if status == 0 and places[path]:
            places[path].touch()
        return status, output

    # The largest first: no processor has a long one left at the end.
    new = sorted((path for path in files if not places[path] or not places[path].exists()), key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(jobs) as pool:
        said = [line for status, output in pool.map(run, new) if status for line in diagnostics(output)]
    return files, len(files) - len(new), [path for path in sources() if path not in chosen], said
