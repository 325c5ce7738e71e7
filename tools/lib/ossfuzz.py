"""
OSS-Fuzz, played on this machine without Docker: what its base images set, how it builds, and the sandbox in which it runs a target.

The flags and options are those of the images' Dockerfiles (base-builder and base-runner, Ubuntu 24.04), so that what holds here holds there.
"""

import configparser
import os
import pathlib
import re
import selectors
import shutil
import zipfile

from common import BUILD, ROOT, CannotRun, call, last_lines, relative
from fuzzrun import FuzzRun

PLACE = BUILD / "oss-fuzz"

COMMON_FLAGS = ("-O1 -fno-omit-frame-pointer -gline-tables-only -Wno-error=enum-constexpr-conversion "
                "-Wno-error=incompatible-function-pointer-types -Wno-error=int-conversion -Wno-error=deprecated-declarations "
                "-Wno-error=implicit-function-declaration -Wno-error=implicit-int -Wno-error=vla-cxx-extension "
                "-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION -Wno-unknown-warning-option")
UNDEFINED = ("array-bounds,bool,builtin,enum,function,integer-divide-by-zero,null,object-size,return,returns-nonnull-attribute,shift,"
             "signed-integer-overflow,unreachable,vla-bound")
SANITIZER_FLAGS = {
    "address": "-fsanitize=address -fsanitize-address-use-after-scope",
    # unsigned overflow is no error there, but a signal for the engine; vptr is for C++
    "undefined": f"-fsanitize={UNDEFINED},unsigned-integer-overflow -fno-sanitize-recover={UNDEFINED}",
    "memory": "-fsanitize=memory -fsanitize-memory-track-origins",
    "thread": "-fsanitize=thread",
    "coverage": "",
}
COVERAGE_FLAGS = "-fsanitize=fuzzer-no-link"
COVERAGE_FLAGS_OF = {"coverage": "-fprofile-instr-generate -fcoverage-mapping -pthread -Wl,--no-as-needed -Wl,-ldl -Wl,-lm "
                                 "-Wno-unused-command-line-argument"}

RUN_OPTIONS = {
    "ASAN_OPTIONS": "alloc_dealloc_mismatch=0:allocator_may_return_null=1:allocator_release_to_os_interval_ms=500:"
                    "check_malloc_usable_size=0:detect_container_overflow=1:detect_odr_violation=0:detect_leaks=1:"
                    "detect_stack_use_after_return=1:fast_unwind_on_fatal=0:handle_abort=1:handle_segv=1:handle_sigill=1:"
                    "max_uar_stack_size_log=16:print_scariness=1:quarantine_size_mb=10:strict_memcmp=1:"
                    "strip_path_prefix=/workspace/:symbolize=1:use_sigaltstack=1:dedup_token_length=3",
    "MSAN_OPTIONS": "print_stats=1:strip_path_prefix=/workspace/:symbolize=1:dedup_token_length=3",
    "UBSAN_OPTIONS": "print_stacktrace=1:print_summary=1:silence_unsigned_overflow=1:strip_path_prefix=/workspace/:symbolize=1:"
                     "dedup_token_length=3",
}
SECTIONS = {"asan": "ASAN_OPTIONS", "msan": "MSAN_OPTIONS", "ubsan": "UBSAN_OPTIONS"}
PLACEHOLDER = "example.org"  # of the addresses in oss-fuzz/; reserved, so that it is nobody's
RUN_ARGUMENTS = ["-rss_limit_mb=2560", "-timeout=25"]


def out(sanitizer, version):
    """The folder of what was built: $OUT."""
    return PLACE / f"{sanitizer}-{version}" / "out"


def environment(sanitizer, version):
    """What the base image sets for build.sh and run_tests.sh."""
    if not shutil.which(f"clang-{version}"):
        raise CannotRun(f"clang-{version} is not installed; tools/setup --oss-fuzz installs what is optional")
    place = PLACE / f"{sanitizer}-{version}"
    cache = "ccache " if shutil.which("ccache") else ""
    flags = f"{COMMON_FLAGS} {SANITIZER_FLAGS[sanitizer]} {COVERAGE_FLAGS_OF.get(sanitizer, COVERAGE_FLAGS)}"
    return {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8",
        "CC": f"{cache}clang-{version}", "CXX": f"{cache}clang++-{version}", "CFLAGS": flags, "CXXFLAGS": flags,
        "LIB_FUZZING_ENGINE": "-fsanitize=fuzzer", "SANITIZER": sanitizer, "FUZZING_ENGINE": "libfuzzer", "ARCHITECTURE": "x86_64",
        "OUT": str(place / "out"), "WORK": str(place / "work"), "SRC": str(place / "src"),
        "UBSAN_OPTIONS": "silence_unsigned_overflow=1",
    }


def run_script(name, sanitizer, version):
    """oss-fuzz/NAME in the environment of the base image: its output. Raises CannotRun where it fails."""
    status, output = call(["bash", "-eu", ROOT / "oss-fuzz" / name], env=environment(sanitizer, version),
                          cwd=PLACE / f"{sanitizer}-{version}" / "src")
    if status:
        raise CannotRun(f"oss-fuzz/{name} for {sanitizer} with clang {version} ended with {status}:\n{last_lines(output, 30)}")
    return output


def build(sanitizer, version):
    """Run oss-fuzz/build.sh as the base image does; returns its $OUT."""
    place = PLACE / f"{sanitizer}-{version}"
    shutil.rmtree(place / "out", ignore_errors=True)
    for name in ("out", "work", "src"):
        (place / name).mkdir(parents=True, exist_ok=True)
    link = place / "src" / "wakefuzz"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT)
    run_script("build.sh", sanitizer, version)
    return place / "out"


def target_options(folder, target):
    """What TARGET.options says: (arguments for libFuzzer, variables for the sanitizers)."""
    parser = configparser.ConfigParser()
    parser.read(folder / f"{target}.options")
    arguments = [f"-{key}={'/out/' if key == 'dict' else ''}{value}"
                 for key, value in (parser.items("libfuzzer") if parser.has_section("libfuzzer") else [])]
    variables = dict(RUN_OPTIONS)
    for section, variable in SECTIONS.items():
        if parser.has_section(section):
            variables[variable] += ":" + ":".join(f"{key}={value}" for key, value in parser.items(section))
    return arguments, variables


def sandbox(folder, scratch, variables, command):
    """
    The command as a machine of OSS-Fuzz runs it: one core, nobody's user, no network, no /dev, and nothing to write to but /tmp. The
    memory limit is libFuzzer's (RUN_ARGUMENTS): a sanitizer's shadow takes terabytes of addresses, so no limit on those can hold.
    """
    words = ["taskset", "-c", str(min(os.sched_getaffinity(0))), "bwrap", "--unshare-all", "--die-with-parent", "--new-session",
             "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--clearenv", "--setenv", "PATH", "/out:/usr/bin:/bin",
             "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--ro-bind", str(folder), "/out", "--bind", str(scratch), "/tmp"]
    for name in ("bin", "lib", "lib64", "sbin"):
        path = pathlib.Path("/") / name
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name, value in variables.items():
        words += ["--setenv", name, value]
    return [*words, "--chdir", "/proc", "--remount-ro", "/", *command]


def prepare(folder, target, name):
    """A fresh folder that becomes the sandbox's /tmp, with the seed corpus unpacked in it."""
    scratch = PLACE / "run" / name
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "corpus").mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{target}_seed_corpus.zip") as seeds:
        seeds.extractall(scratch / "corpus")
    call(["chmod", "-R", "a+rwX", scratch])
    return scratch


def start(folder, target, scratch, seconds):
    """Begin to fuzz a target in the sandbox."""
    arguments, variables = target_options(folder, target)
    variables["LLVM_PROFILE_FILE"] = "/tmp/%p.profraw"
    command = [f"/out/{target}", *RUN_ARGUMENTS, f"-max_total_time={seconds}", "-print_final_stats=1", "-artifact_prefix=/tmp/",
               "-seed=1", *arguments, "/tmp/corpus"]
    return FuzzRun(sandbox(folder, scratch, variables, command), scratch / "log")


def profile_trouble(scratch, version):
    """What the coverage job needs of a target: a profile that its tools can merge. None: it is there."""
    profiles = sorted(scratch.glob("*.profraw"))
    if not profiles:
        return "it left no profile"
    status, output = call([f"llvm-profdata-{version}", "merge", "-sparse", *profiles, "-o", scratch / "merged.profdata"])
    return f"its profile cannot be merged\n{last_lines(output, 5)}" if status else None


def fuzz(folder, target, sanitizer, version, seconds):
    """One target in the sandbox to its end: (FuzzRun, peak memory in MB as text, trouble or None)."""
    scratch = prepare(folder, target, f"{sanitizer}-{version}-{target}")
    run = start(folder, target, scratch, seconds)
    with selectors.DefaultSelector() as selector:
        selector.register(run, selectors.EVENT_READ)
        while True:
            selector.select()
            if not run.read():
                break
    peak = re.search(r"^stat::peak_rss_mb:\s+(\d+)", run.output(), re.MULTILINE)
    trouble = None
    if run.status != 0 or not run.executions:
        report = run.found()
        trouble = f"{report.summary if report else f'exit status {run.status}'}\n{last_lines(run.output(), 20)}"
    elif sanitizer == "coverage":
        trouble = profile_trouble(scratch, version)
    return run, peak[1] if peak else "", trouble


def require_sandbox():
    """Raises CannotRun where bubblewrap cannot make one here."""
    if not shutil.which("bwrap"):
        raise CannotRun("bwrap is not installed; tools/setup installs it (package bubblewrap)")
    status, output = call(["bwrap", "--unshare-all", "--uid", "65534", "--ro-bind", "/", "/", "true"])
    if status:
        raise CannotRun(f"bubblewrap cannot make a sandbox here: {output.strip()}")


def strict(folder, sanitizer):
    """wakefuzz doctor --strict: (is it good, what it says)."""
    status, output = call([ROOT / "tools" / "wakefuzz", "doctor", "--strict", folder, "--sanitizer", sanitizer])
    if status and not output.startswith("check"):
        raise CannotRun(f"wakefuzz doctor --strict {relative(folder)}:\n{last_lines(output, 12)}")
    return status == 0, output


def to_fill_in():
    """The addresses in oss-fuzz/ that nobody could make true here: (file, line number, line) of each."""
    found = []
    for path in sorted((ROOT / "oss-fuzz").iterdir()):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if PLACEHOLDER in line and not line.startswith("#"):
                found.append((relative(path), number, line.strip()))
    return found
