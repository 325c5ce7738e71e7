"""
What the sources say about ordered accesses, held against the sources: each ORDER comment has a PAIRS line that names functions that
exist, and an ELSE line that names faults that exist, or says why there is none.
"""

import re

from common import ROOT

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FIELD = re.compile(r"(ORDER|PAIRS|ELSE):(.*?)(?=(?:ORDER|PAIRS|ELSE):|\Z)", re.DOTALL)
CALL = re.compile(r"\b([a-z_][a-z0-9_]+)\(\)")
FAULT = re.compile(r"\bfaults? ((?:[a-z0-9]+(?:-[a-z0-9]+)+)(?:(?:, | and )(?:[a-z0-9]+(?:-[a-z0-9]+)+))*)")


def _fields(comment):
    text = re.sub(r"\n\s*\*", " ", comment.strip("/*"))
    return {name: " ".join(value.split()) for name, value in FIELD.findall(text)}


def check(faults):
    """Returns (how many comments there are, ["file:line: what is wrong", ...])."""
    sources = {path: path.read_text("utf-8") for path in sorted((ROOT / "src").rglob("*.[chS]"))}
    words = set(re.findall(r"\b([a-z_][a-z0-9_]+)(?=\()", "\n".join(COMMENT.sub("", text) for text in sources.values())))
    count, wrong = 0, []
    for path, text in sources.items():
        for match in COMMENT.finditer(text):
            fields = _fields(match[0])
            if "ORDER" not in fields and "PAIRS" not in fields:
                continue
            count += 1
            where = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            for name in ("ORDER", "PAIRS", "ELSE"):
                if name not in fields:
                    wrong.append(f"{where}: no {name}: line")
            for name in CALL.findall(fields.get("PAIRS", "")):
                if name not in words:
                    wrong.append(f"{where}: PAIRS names {name}(), which does not exist")
            for names in FAULT.findall(fields.get("ELSE", "")):
                for name in re.split(r", | and ", names):
                    if name not in faults:
                        wrong.append(f"{where}: ELSE names fault {name}, which does not exist")
    return count, wrong
