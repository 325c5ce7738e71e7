"""What the tools share: where things are, how they fail, how they call other programs."""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# WAKEFUZZ_BUILD puts everything that is built or found elsewhere: for read-only sources and second checkouts.
BUILD = pathlib.Path(os.environ.get("WAKEFUZZ_BUILD") or ROOT / "build").resolve()

# Less than this and a build or a corpus will fail somewhere in the middle.
FREE_BYTES_LEAST = 256 << 20
WORDS_QUOTED = 8  # of a command that may have hundreds


class CannotRun(Exception):
    """The tool cannot do its job: one line that says what is wrong and what to do. Exit status 2."""


class TimedOut(CannotRun):
    """A program that call() has waited for did not end in time."""


def relative(path):
    """The path as one would type it in the folder of the sources, where it lies below it."""
    try:
        return str(pathlib.Path(path).resolve().relative_to(ROOT))
    except ValueError:
        return str(path)


def check_disk(path):
    """Raises CannotRun where the file system that holds (or will hold) path is as good as full."""
    path = pathlib.Path(path).absolute()
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    if free < FREE_BYTES_LEAST:
        raise CannotRun(f"disk full: {free >> 20} MiB free at {path}, {FREE_BYTES_LEAST >> 20} MiB are needed; "
                        "make room, or set WAKEFUZZ_BUILD to another folder")


def call(command, **options):
    """Run a command, return (exit status, its output). Its standard input is empty. Raises TimedOut after a timeout."""
    try:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False, **options)
    except OSError as error:
        raise CannotRun(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{shortened(command)} does not end in {error.timeout} s") from error
    return done.returncode, done.stdout


def shortened(command):
    """A command to be quoted in a line: its first words."""
    return " ".join(map(str, command[:WORDS_QUOTED])) + (" ..." if len(command) > WORDS_QUOTED else "")


def last_lines(text, count):
    """The last lines of a text, indented: to quote a program's output."""
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-count:])


def run_main(name, main, arguments):
    """Exit with what main(arguments) returns; messages and exit status 2 where it cannot run."""
    try:
        sys.exit(main(arguments))
    except CannotRun as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
