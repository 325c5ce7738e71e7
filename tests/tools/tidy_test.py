"""
What tools/check asks of clang-tidy: each file once, by the command that stands for all, and again only when something that it reads has
changed. A stand-in takes clang-tidy's place: it complains about files that say so.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "lib"))
import tidy

CLANG_TIDY = """#!/bin/sh
[ "$1" = --version ] && exec echo stand-in
for file; do :; done
echo "$file" >>"$(dirname "$0")/looks"
! grep -H 'BAD' "$file" | sed 's/:.*/:1:1: error: bad/'  | grep .
"""
NINJA = """#!/bin/sh
for name in one two; do
    printf '%s.o: #deps 2, deps mtime 1 (VALID)\\n    ../../src/%s.c\\n    ../../src/both.h\\n\\n' $name $name
done
"""


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="wakefuzz-test-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.build = self.root / "build"
        self.shims = self.root / "bin"
        for folder in (self.build / "plain", self.shims, self.root / "src"):
            folder.mkdir(parents=True)
        for name, script in (("clang-tidy-19", CLANG_TIDY), ("ninja", NINJA)):
            (self.shims / name).write_text(script, "ascii")
            (self.shims / name).chmod(0o755)
        for name in ("src/one.c", "src/two.c", "src/both.h", "src/left_out.c", ".clang-tidy"):
            (self.root / name).write_text("good\n", "ascii")
        self.entries("")
        for patch in (mock.patch.object(tidy, "ROOT", self.root), mock.patch.object(tidy, "BUILD", self.build),
                      mock.patch.dict(os.environ, PATH=f"{self.shims}:{os.environ['PATH']}")):
            patch.start()
            self.addCleanup(patch.stop)

    def entries(self, options):
        """Each file is compiled twice, with points and without."""
        entries = [{"directory": str(self.build / "plain"), "file": f"../../src/{name}.c", "output": f"{name}{suffix}.o",
                    "command": f"cc {points}{options} {name}.c"}
                   for name in ("one", "two") for points, suffix in (("", "-native"), (tidy.SIMULATED, ""))]
        (self.build / "plain" / "compile_commands.json").write_text(json.dumps(entries), "utf-8")

    def look(self):
        """The files that clang-tidy was started for, and what it said."""
        (self.shims / "looks").write_text("", "ascii")
        files, remembered, left_out, said = tidy.look("plain", 2)
        looks = sorted(pathlib.Path(line).name for line in (self.shims / "looks").read_text("ascii").split())
        self.assertEqual([path.name for path in files], ["one.c", "two.c"])
        self.assertEqual([path.name for path in left_out], ["left_out.c"])
        self.assertEqual(remembered, 2 - len(looks))
        return looks, said

    def test_each_file_once_by_the_command_with_points(self):
        self.assertEqual(self.look(), (["one.c", "two.c"], []))
        given = json.loads((self.build / "tidy" / "compile_commands.json").read_text("utf-8"))
        self.assertEqual([entry["output"] for entry in given], ["one.o", "two.o"])

    def test_what_was_silent_is_looked_at_again_when_something_has_changed(self):
        self.look()
        self.assertEqual(self.look(), ([], []))
        (self.root / "src/one.c").write_text("better\n", "ascii")
        self.assertEqual(self.look(), (["one.c"], []))
        for name in ("src/both.h", ".clang-tidy"):
            (self.root / name).write_text("better\n", "ascii")
            self.assertEqual(self.look(), (["one.c", "two.c"], []), name)
            self.assertEqual(self.look(), ([], []), name)
        self.entries(" -DMORE")
        self.assertEqual(self.look(), (["one.c", "two.c"], []))
        (self.shims / "clang-tidy-19").write_text(CLANG_TIDY.replace("stand-in", "newer"), "ascii")
        self.assertEqual(self.look(), (["one.c", "two.c"], []))

    def test_a_complaint_is_never_remembered(self):
        (self.root / "src/two.c").write_text("BAD\n", "ascii")
        said = [f"{self.root}/src/two.c:1:1: error: bad"]
        self.assertEqual(self.look(), (["one.c", "two.c"], said))
        self.assertEqual(self.look(), (["two.c"], said))

    def test_without_a_record_of_what_it_includes_a_file_is_looked_at_each_time(self):
        (self.shims / "ninja").write_text(NINJA.replace("VALID", "STALE"), "ascii")
        self.look()
        self.assertEqual(self.look(), (["one.c", "two.c"], []))

    def test_a_failure_without_a_complaint_is_said(self):
        (self.shims / "clang-tidy-19").write_text("#!/bin/sh\necho broken\nexit 1\n", "ascii")
        self.assertEqual(tidy.look("plain", 1)[3], ["broken\n", "broken\n"])


if __name__ == "__main__":
    unittest.main()
