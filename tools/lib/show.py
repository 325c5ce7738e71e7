"""Tables and progress, for terminals and for logs."""

import json
import shutil
import sys
import time

QUIET_INTERVAL_S = 10.0  # between lines of progress where there is no terminal
LIVE_INTERVAL_S = 0.25


def table(heads, rows, right=()):
    """The rows as lines of text below their heads; columns numbered in right are aligned to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(heads)] + rows) for i in range(len(heads))]

    def line(row):
        cells = [cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        return "  ".join(cells).rstrip()

    return "\n".join([line(heads), "  ".join("-" * width for width in widths)] + [line(row) for row in rows])


def markdown(heads, rows, right=()):
    """The same as a table in Markdown."""
    def line(row):
        return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |"

    rule = "|" + "|".join("---:" if i in right else "---" for i in range(len(heads))) + "|"
    return "\n".join([line(heads), rule] + [line(row) for row in rows]) + "\n"


def json_rows(heads, rows):
    """The same as an array of objects. Where a head stands twice, the second one is its predecessor's: "executions worst"."""
    names = []
    for i, head in enumerate(heads):
        names.append(f"{heads[i - 1]} {head}" if head in heads[:i] or heads.count(head) > 1 else head)
    return json.dumps([dict(zip([name.replace(" ", "_") for name in names], row)) for row in rows], indent=2)


def thousands(number):
    """12345678 as 12,345,678; a dash where nothing is known."""
    return "-" if number is None else f"{number:,.0f}"


def seconds(value):
    """Seconds with as many digits as mean something."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


class Progress:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    def __init__(self, stream=sys.stdout):
        self.stream = stream
        self.live = stream.isatty()
        self.shown = False
        self.next = time.monotonic() + (LIVE_INTERVAL_S if self.live else QUIET_INTERVAL_S)

    def due(self):
        return time.monotonic() >= self.next

    def update(self, lines):
        """Show these: all on one line on a terminal, one below the other elsewhere."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\033[K" + " | ".join(lines)[:width])
            self.shown = True
            self.next = time.monotonic() + LIVE_INTERVAL_S
        else:
            self.stream.write("".join(line + "\n" for line in lines))
            self.next = time.monotonic() + QUIET_INTERVAL_S
        self.stream.flush()

    def say(self, text):
        """Print a text that stays."""
        if self.shown:
            self.stream.write("\r\033[K")
            self.shown = False
        self.stream.write(text + "\n")
        self.stream.flush()
