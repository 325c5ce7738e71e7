"""
As sitecustomize.py on PYTHONPATH: kills tools/hunt, and no other Python program, as KILL_AT says: "before link 2" is SIGKILL in place of its
second os.link().
"""

import os
import pathlib
import signal


def killing(function, when, number):
    calls = 0

    def call(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


with open("/proc/self/cmdline", "rb") as file:
    is_hunt = b"/hunt.py\0" in file.read()
if is_hunt and "KILL_AT" in os.environ:
    WHEN, STEP, NUMBER = os.environ["KILL_AT"].split()
    owner = pathlib.Path if STEP == "write_text" else os
    setattr(owner, STEP, killing(getattr(owner, STEP), WHEN, int(NUMBER)))
