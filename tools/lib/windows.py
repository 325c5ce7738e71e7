"""Windows: does a target's corpus enter each of those that it declares?"""

import re

from common import TimedOut, call, last_lines
from replaying import PATIENCE_S, corpus_files

LINE = re.compile(r"^window (?P<name>\S+) executions=(?P<count>\d+)(?P<undeclared> undeclared)?$", re.MULTILINE)


def cases(target, program):
    """Replays corpus/TARGET once with TARGET-replay and yields (name of the case, passed, what is to be said of it)."""
    files = corpus_files(target)
    if not files:
        yield f"windows {target}", False, f"corpus/{target} has no files"
        return
    try:
        status, output = call([program, "--quiet", "--windows", *files], timeout=PATIENCE_S)
    except TimedOut as error:
        yield f"windows {target}", False, str(error)
        return
    windows = list(LINE.finditer(output))
    if status != 0:
        yield f"windows {target}", False, f"{program.name}: exit status {status}\n{last_lines(output, 8)}"
        return
    if not any(window["undeclared"] is None for window in windows):
        yield f"windows {target}", False, f"fuzz/{target}.c declares none"
    for window in windows:
        name = f"windows {target}: {window['name']}"
        if window["undeclared"]:
            yield name, False, f"fuzz_reached() names it, and .windows of fuzz/{target}.c does not"
        else:
            yield name, int(window["count"]) > 0, f"{window['count']} of {len(files)} files enter it"
