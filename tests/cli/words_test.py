"""
The manual page and the shells' completion name what there is: every command and option that --help prints, and no others.

    python3 -m unittest discover -s tests/cli -p 'words_test.py'
"""

import re
import shutil
import unittest

import kit

MANUAL = kit.ROOT / "docs" / "wakefuzz.1"
OPTION = re.compile(r"^ +(?:(-\w)(?: [A-Z]+)?, )?(--[a-z][a-z-]*)", re.MULTILINE)


def commands():
    """{name: its arguments} as --help lists them."""
    lines = kit.call(kit.PROGRAM, "--help")[1].splitlines()
    return {line.split()[0]: re.split(r"\s{2,}", line.strip())[0].partition(" ")[2] for line in lines if line.startswith("  ")}


def options(command):
    """The options of a command, less --help."""
    found = OPTION.findall(kit.call(kit.PROGRAM, command, "--help")[1])
    return {word for pair in found for word in pair if word} - {"-h", "--help"}


def complete(*words):
    return kit.call(kit.PROGRAM, "--complete", *words)[1].splitlines()


class ManualTest(kit.FolderTest):
    def sections(self):
        """{command: its options} as the page has them."""
        found, current = {}, None
        for line in MANUAL.read_text("utf-8").splitlines():
            if line.startswith((".Ss ", ".Sh ")):
                current = line.split()[1] if line.startswith(".Ss ") else None
                if current:
                    found[current] = set()
            elif line.startswith(".It Fl ") and current:
                found[current] |= {"-" + word for word in re.findall(r"Fl (\S+)", line)}
        return found

    def test_every_command_and_option_and_no_other(self):
        sections = self.sections()
        self.assertEqual(list(sections), list(commands()))
        for command, named in sections.items():
            self.assertEqual(named, options(command), command)

    def test_there_are_options(self):
        """The other tests compare nothing where --help cannot be read."""
        self.assertGreaterEqual(len(commands()), 11)
        self.assertLessEqual({"-n", "--runs", "--json"}, options("repro"))
        self.assertLessEqual({"--keep-going", "--fault"}, options("run"))
        self.assertLessEqual({"--starts", "--no-minimize"}, options("faults"))

    def test_it_is_a_good_page(self):
        for program, arguments in (("mandoc", ("-T", "lint", "-W", "warning")), ("man", ("--warnings", "-l", "-Tutf8", "-Z"))):
            if not shutil.which(program):
                self.assertNotEqual(program, "mandoc", "it is missing: tools/setup installs it")
                continue
            status, out, err = kit.call(program, *arguments, MANUAL)
            self.assertEqual((status, err), (0, ""), program)
            if program == "mandoc":
                self.assertEqual(out, "")


class CompletionTest(kit.FolderTest):
    def test_commands(self):
        self.assertEqual(complete(""), [*commands(), "--help", "--version"])
        self.assertEqual(complete("re"), ["repro"])
        self.assertEqual(complete("nonsense", ""), [])

    def test_options_of_each_command(self):
        for command in commands():
            self.assertEqual(set(complete(command, "-")), options(command) | {"--help"}, command)
        self.assertEqual(complete("minimize", "--fo"), ["--force"])

    def test_names(self):
        targets = [path.name for path in (kit.ROOT / "corpus").iterdir()]
        faults = [path.stem for path in (kit.ROOT / "tests" / "faults").glob("*.patch")]
        for words in (("run", ""), ("cover", ""), ("merge", ""), ("repro", "-t", ""), ("minimize", "--target", "")):
            self.assertLessEqual(set(targets), set(complete(*words)), words)
        for words in (("faults", ""), ("run", "--fault", ""), ("triage", "--fault", "")):
            self.assertLessEqual(set(faults), set(complete(*words)), words)
        self.assertIn(kit.FAULT, complete("run", "--fault", "=", kit.FAULT[:-3]))  # as bash takes --fault=NAME apart
        self.assertLessEqual({"plain", "asan", "tsan"}, set(complete("run", "--flavour", "")))
        self.assertEqual(complete("list", "fa"), ["faults"])
        self.assertEqual(complete("completion", ""), ["bash", "zsh"])

    def test_files(self):
        for words in (("repro", ""), ("explain", "x"), ("minimize", "--output", ""), ("triage", ""), ("cover", "--html", "")):
            self.assertIn(":files", complete(*words), words)
        self.assertEqual(complete("run", "--jobs", ""), [])

    def bash(self, *words):
        """What bash makes of these words, the last of which is begun."""
        script = "\n".join(['source <("$1" completion bash)', "shift", 'COMP_WORDS=("$@")', "COMP_CWORD=$(($# - 1))", "_wakefuzz",
                            'printf "%s\\n" "${COMPREPLY[@]}"'])
        status, out, err = kit.call("bash", "--norc", "-c", script, "bash", kit.PROGRAM, kit.PROGRAM, *words, cwd=self.folder)
        self.assertEqual((status, err), (0, ""))
        return out.split("\n")[:-1]

    def test_in_bash(self):
        self.file("crash a")
        self.assertEqual(self.bash("mini"), ["minimize"])
        self.assertEqual(self.bash("repro", "--fl"), ["--flavour"])
        self.assertEqual(self.bash("repro", "cr"), ["crash a"])  # files stay whole
        self.assertEqual(self.bash("run", "--fault", kit.FAULT[:-3]), [kit.FAULT])
        self.assertEqual(kit.call("bash", "--norc", "-c", 'source <("$1" completion bash) && complete -p wakefuzz', "bash", kit.PROGRAM)[1],
                         "complete -F _wakefuzz wakefuzz\n")

    def test_in_zsh(self):
        if not shutil.which("zsh"):
            self.skipTest("there is no zsh")
        stub = 'compdef() { }; compadd() { shift; print -l -- "$@" }; _files() { print files }\n'
        script = stub + 'source <($1 completion zsh); shift; words=("$@"); CURRENT=$#; _wakefuzz'
        for words, wanted in ((("mini",), "minimize\n"), (("repro", ""), "files\n"), (("list", "ta"), "targets\n")):
            self.assertEqual(kit.call("zsh", "-f", "-c", script, "zsh", kit.PROGRAM, kit.PROGRAM, *words), (0, wanted, ""))

    def test_shells_there_are_not(self):
        for words in ((), ("fish",), ("bash", "zsh")):
            self.could_not("completion", *words, says="bash or zsh")


if __name__ == "__main__":
    unittest.main()
