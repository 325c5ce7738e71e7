"""Has a corpus a file too many?"""

import pathlib
import tempfile

import shows
from common import ROOT, TimedOut, call, last_lines, relative
from replaying import PATIENCE_S, corpus_files


def case(target):
    """
    (name of the case, passed, what is to be said of it): `wakefuzz merge` takes no file of corpus/TARGET away, but those that
    tests/corpus/shows.list says something of.
    """
    files, name = corpus_files(target), f"corpus {target}: no file too many"
    with tempfile.TemporaryDirectory(prefix="wakefuzz-") as folder:
        place = pathlib.Path(folder) / "kept"
        try:
            status, output = call([ROOT / "tools" / "wakefuzz", "merge", target, "--output", place], timeout=PATIENCE_S)
        except TimedOut as error:
            return name, False, str(error)
        if status:
            return name, False, last_lines(output, 8)
        kept = {path.name for path in place.iterdir()}
    shown = {path for _, _, path, _ in shows.entries()}
    useless = [relative(path) for path in files if path.name not in kept and path not in shown]
    if useless:
        return name, False, "they reach nothing that the others do not, and show nothing:\n" + "\n".join(useless)
    return name, True, f"{len(kept)} of {len(files)} files reach what all reach"
