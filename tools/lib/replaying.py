"""Replays: one input, many times, in many processes and flavours, and what the lines of TARGET-replay say."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import build
from common import TimedOut, call, last_lines, relative

LINE = re.compile(r"^(?P<file>.+) verdict=(?P<verdict>[a-z-]+) hash=(?P<hash>[0-9a-f]{16}) steps=(?P<steps>\d+) runs=(?P<runs>\d+)$")
PATIENCE_S = 300


def replay(program, paths, runs):
    """
    Run TARGET-replay on files in one process. Returns ({path: (verdict, hash)}, trouble); trouble says what went wrong, or is None.

    After a finding of the last file the process ends with threads abandoned in the middle of their work, at which ThreadSanitizer takes
    offence: what was printed before counts. On inputs that are no findings it does not get away with it.
    """
    try:
        status, output = call([program, "-n", runs, "--quiet", *paths], timeout=PATIENCE_S)
    except TimedOut as error:
        return {}, str(error)
    lines = {match["file"]: (match["verdict"], match["hash"]) for line in output.splitlines() if (match := LINE.match(line))}
    missing = [path for path in paths if str(path) not in lines]
    only_silent = all(verdict == "none" for verdict, _ in lines.values())
    if missing or (status not in (0, 1) and only_silent):
        said = [line for line in output.splitlines() if line.startswith("SUMMARY: ")]  # a sanitizer's: a legend follows it
        return lines, "\n".join([f"{relative(program)}: exit status {status}, {len(missing)} of {len(paths)} files not run",
                                 *said, last_lines(output, 8)])
    return lines, None


class Comparison:
    """Replays of the same files by several programs: is there one trace hash for each file?"""

    def __init__(self, files):
        self.files = [str(path) for path in files]
        self.seen = {path: {} for path in self.files}  # path -> (verdict, hash) -> ["asan", ...]
        self.runs = {path: 0 for path in self.files}
        self.trouble = []

    def add(self, flavour, program, runs, processes):
        """
        runs replays of each file, spread over processes, so that address randomization has a say; two processes at a time. A finding
        ends its process's usefulness (what the program had under way is abandoned): for findings, processes is runs.
        """
        shares = [runs // processes + (i < runs % processes) for i in range(processes)]
        with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
            for share, (lines, trouble) in zip(shares, pool.map(lambda n: replay(program, self.files, n), shares)):
                if trouble:
                    self.trouble.append(trouble)
                for path, what in lines.items():
                    if path in self.seen:
                        self.seen[path].setdefault(what, []).append(flavour)
                        self.runs[path] += share

    def differing(self):
        """Files with more than one trace hash, or with a verdict that depends on the flavour: [(path, what was seen)]."""
        bad = []
        for path, seen in self.seen.items():
            if len(seen) != 1:
                bad.append((path, "; ".join(f"{verdict} {trace_hash} in {','.join(sorted(set(where)))}"
                                            for (verdict, trace_hash), where in sorted(seen.items())) or "not run"))
        return bad

    def verdicts(self, path):
        return sorted({verdict for verdict, _ in self.seen[str(path)]})


def corpus_files(target):
    """The inputs of corpus/TARGET."""
    folder = build.ROOT / "corpus" / target
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
