"""What the tools share: where things are, how they fail, how they call other programs."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# WAKEFUZZ_BUILD puts everything that is built or found elsewhere: for read-only sources and second checkouts.
BUILD = pathlib.Path(os.path.realpath(os.environ.get("WAKEFUZZ_BUILD") or ROOT / "build"))

# Less than this and a build or a corpus will fail somewhere in the middle.
FREE_BYTES_LEAST = 256 << 20
POLL_S = 0.5
WORDS_QUOTED = 8  # of a command that may have hundreds


class CannotRun(Exception):
    """The tool cannot do its job: one line that says what is wrong and what to do. Exit status 2."""


class TimedOut(CannotRun):
    """A program that call() has waited for did not end in time."""


def relative(path):
    """The path as one would type it in the folder of the sources, where it lies below it."""
    try:
        return str(pathlib.Path(os.path.realpath(path)).relative_to(ROOT))
    except ValueError:
        return str(path)


def check_disk(path):
    """Raises CannotRun where the file system that holds (or will hold) path is as good as full."""
    path = pathlib.Path(path).absolute()
    while not os.path.lexists(path):
        path = path.parent
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise CannotRun(f"cannot use {path}: {error.strerror}; WAKEFUZZ_BUILD names another folder") from error
    if free < FREE_BYTES_LEAST:
        raise CannotRun(f"disk full: {free >> 20} MiB free at {path}, {FREE_BYTES_LEAST >> 20} MiB are needed; "
                        "make room, or set WAKEFUZZ_BUILD to another folder")


_called = set()  # the processes that call() waits for, in any thread
_here = threading.local()  # .calls: this thread is in call()
_interrupted = threading.Event()


def call(command, timeout=None, **options):
    """
    Run a command, return (exit status, its output; "" where options send it elsewhere). Its standard input is empty. Raises TimedOut where it does
    not end in so many seconds. What interrupts us ends it first.
    """
    _here.calls = True
    try:
        return _call(command, timeout, {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace", **options})
    finally:
        _here.calls = False
        if _interrupted.is_set():
            raise KeyboardInterrupt


def _call(command, timeout, options):
    try:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)
    except OSError as error:
        raise CannotRun(f"cannot run {command[0]}: {error.strerror}") from error
    with process:
        _called.add(process)
        try:
            if _interrupted.is_set():
                process.terminate()
            output = communicate(process, timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise TimedOut(f"{shortened(command)} does not end in {timeout} s") from error
        except BaseException:
            process.terminate()
            process.communicate()
            raise
        finally:
            _called.discard(process)
    return process.returncode, output or ""


def communicate(process, timeout):
    """
    What the process prints until it ends. This looks up now and then: Python handles a signal that comes just before it sleeps no sooner than it
    wakes.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return process.communicate(timeout=POLL_S if end is None else min(POLL_S, max(0, end - time.monotonic())))[0]
        except subprocess.TimeoutExpired:
            if end is not None and time.monotonic() >= end:
                raise


def interrupt(*_):
    """A signal's. Where call() waits for something, in whatever thread, that is asked to end, the second time made to; then it raises the same."""
    again = _interrupted.is_set()
    _interrupted.set()
    for process in list(_called):
        process.send_signal(signal.SIGKILL if again else signal.SIGTERM)
    if not getattr(_here, "calls", False):
        raise KeyboardInterrupt


def take_signals(handler):
    """Of what asks a tool to end. What is ignored stays so, as under nohup, or in the background."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def shortened(command):
    """A command to be quoted in a line: its first words."""
    return " ".join(map(str, command[:WORDS_QUOTED])) + (" ..." if len(command) > WORDS_QUOTED else "")


def last_lines(text, count):
    """The last lines of a text, indented: to quote a program's output."""
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-count:])


def run_main(name, main, arguments):
    """Exit with what main(arguments) returns; messages and exit status 2 where it cannot run. SIGTERM and SIGHUP are as Ctrl-C."""
    open_standard_files()
    take_signals(interrupt)
    try:
        status = _status_of(name, main, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 2
    sys.exit(status)


def _status_of(name, main, arguments):
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code
    except CannotRun as error:
        print(f"{name}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:  # what the tool was told to read or write cannot be; other exceptions are bugs, and show where
        print(f"{name}: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
    return 2


def open_standard_files():
    """One that is closed counts as /dev/null: else the next file that we open would take its number, and children would write into it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))
