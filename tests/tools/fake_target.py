#!/usr/bin/env python3
"""
Stands in for a libFuzzer program in hunt_test.py: prints what libFuzzer prints, does what FAKE_TARGET says.

  silent    runs no time at all, finds nothing
  finds     finds an input and writes it
  disk-full finds an input, and the file that it writes stays empty, as on a full disk
  broken    cannot run
  waits     opens the pipe FAKE_READY, waits for SIGUSR1, then finds an input and opens the pipe FAKE_DONE

Where it has written an input, it adds a line with its bytes to the file FAKE_LEDGER. As TARGET-replay --describe it tells two bugs apart.
"""

import base64
import hashlib
import os
import signal
import sys

if sys.argv[1:2] == ["--describe"]:  # TARGET-replay: inputs of odd seeds are one bug, and of even ones another
    for name in sys.argv[3:]:
        with open(name, "rb") as given:
            key = "missed-wakeup waiter=" + ("odd" if given.read()[-1] % 2 else "even")
        print(name, "missed-wakeup", 15, 1, 100, "0123456789abcdef", key, "missed-wakeup: main waits", sep="\t")
    sys.exit(1)
flags = dict(argument[1:].split("=", 1) for argument in sys.argv[1:] if argument.startswith("-") and "=" in argument)
behaviour = os.environ["FAKE_TARGET"]


def say(text):
    try:
        sys.stderr.write(text + "\n")
    except OSError:
        pass  # nobody reads any more; libFuzzer does not mind either


def find():
    data = b"input of seed " + flags["seed"].encode()
    path = flags["artifact_prefix"] + "crash-" + hashlib.sha1(data).hexdigest()
    say("panic: missed-wakeup: main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it")
    say("1 preemption, 6 bytes; execution 41; trace hash 0123456789abcdef; 0.125 s")
    with open(path, "wb") as file:
        if behaviour != "disk-full":
            file.write(data)
    if "FAKE_LEDGER" in os.environ:
        with open(os.environ["FAKE_LEDGER"], "ab") as file:
            file.write(data + b"\n")
    say(f"artifact_prefix='{flags['artifact_prefix']}'; Test unit written to {path}")
    say("Base64: " + base64.b64encode(data).decode())
    stats()
    sys.exit(77)


def stats():
    say("stat::number_of_executed_units: 4321")
    say("stat::average_exec_per_sec:     0")


def pipe(name):
    with open(os.environ[name], "w", encoding="utf-8") as file:
        file.write("!")


if behaviour == "broken":
    say("fake: no threads to be had")
    sys.exit(2)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
say("#2\tINITED cov: 210 ft: 211 corp: 1/1b exec/s: 0 rss: 31Mb")
say("#4096\tpulse  cov: 812 ft: 1211 corp: 61/1033b lim: 4 exec/s: 2048 rss: 31Mb")
if behaviour == "silent":
    stats()
elif behaviour == "waits":
    pipe("FAKE_READY")
    signal.sigwait([signal.SIGUSR1])
    try:
        find()
    finally:
        pipe("FAKE_DONE")
else:
    find()
