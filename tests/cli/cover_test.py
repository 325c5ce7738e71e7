"""
wakefuzz cover on the corpus of one target: what it says is reached is, and what it says is not cannot be. It builds flavour coverage.

    python3 -m unittest discover -s tests/cli -p 'cover_test.py'
"""

import json
import unittest

import kit

TARGET = "co_sleep"


class CoverTest(kit.FolderTest):
    def cover(self, *arguments):
        status, out, err = self.wakefuzz("cover", "--json", "--html", self.folder / "page", *arguments)
        self.assertEqual((status, err), (0, ""))
        found = json.loads(out)
        sources = {str(path.relative_to(kit.ROOT)) for path in (kit.ROOT / "src" / "core").glob("*.c")}
        files = {file["file"]: file for file in found["files"]}
        absent = {file["file"] for file in found["absent"]}
        self.assertEqual(sources, {name for name in files if name.endswith(".c")} | absent)  # no source is left out
        self.assertFalse(absent & files.keys())
        self.sides = found["sides"]
        return files, found["unreached"]

    def sides_are_right(self, files):
        """They are the branches that are not reached, and none is in an assertion or in a macro from elsewhere."""
        for name, file in files.items():
            self.assertEqual(len([side for side in self.sides if side["file"] == name]), file["branches"] - file["branches_reached"], name)
        texts = {name: (kit.ROOT / name).read_text("utf-8").splitlines() for name in files}
        for side in self.sides:
            self.assertNotIn("core_assert(", texts[side["file"]][side["line"] - 1], side)
        sleep = [(side["function"], side["never"]) for side in self.sides if side["file"] == "src/core/co_sleep.c"]
        self.assertIn(("co_sleep_claim", "true"), sleep)  # it would be a double entry

    def test_what_is_reached_and_what_is_not(self):
        files, unreached = self.cover(TARGET)
        self.assertFalse([name for name in files if not name.startswith("src/core/")])
        sleep, monitor = files["src/core/co_sleep.c"], files["src/core/monitor_qmp.c"]
        self.assertGreater(sleep["lines_reached"], sleep["lines"] // 2)
        self.assertEqual(monitor["lines_reached"], 0)  # no monitor in this target
        for file in files.values():
            for what in ("lines", "branches", "functions"):
                self.assertLessEqual(file[f"{what}_reached"], file[what])
        whole = {hole["function"] for hole in unreached if hole["what"] == "function"}
        self.assertNotIn("qemu_co_sleep_wake", whole)
        self.assertEqual(len([hole for hole in unreached if hole["file"] == "src/core/monitor_qmp.c" and hole["what"] == "function"]),
                         monitor["functions"])
        for hole in unreached:  # the place that is named is there
            lines = (kit.ROOT / hole["file"]).read_text("utf-8").splitlines()
            self.assertTrue(1 <= hole["line"] <= hole["end"] <= len(lines), hole)
        self.sides_are_right(files)
        page = (self.folder / "page" / "index.html").read_text("utf-8")
        self.assertIn("co_sleep.c", page)
        # a page of its own making is written over; the same corpus reaches the same
        self.assertEqual(self.cover(TARGET), (files, unreached))

    def test_one_input_reaches_less_than_the_corpus_and_more_inputs_no_less(self):
        corpus, _ = self.cover(TARGET)
        more = self.folder / "more"
        more.mkdir()
        (more / "bytes").write_bytes(bytes(range(200)))
        both, _ = self.cover("--corpus", more, TARGET)
        for name, file in corpus.items():
            self.assertLessEqual(file["lines_reached"], both[name]["lines_reached"], name)

    def test_for_people(self):
        status, out, err = self.wakefuzz("cover", "--html", self.folder / "page", TARGET)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"(?m)^all of it +\d+ +\d+ +\d+\.\d ")
        self.assertRegex(out, r"(?m)^src/core/monitor_qmp\.c:\d+: all of \w+$")
        self.assertIn(f"{self.folder}/page/index.html", out)

    def test_what_it_cannot(self):
        self.could_not("cover", "nonsense", says="'nonsense'; there are: ")
        self.could_not("cover", "--corpus", self.folder, says="one TARGET")
        precious = self.file("precious", b"1")
        self.could_not("cover", "--html", self.folder, TARGET, says="no earlier page")
        self.could_not("cover", "--html", precious, TARGET, says="cannot make the folder")
        self.could_not("cover", "--html", "/proc/none", TARGET, says="cannot make the folder")
        self.could_not("cover", "--html", self.folder / "page", "--corpus", self.folder / "none", TARGET, says="none")
        self.could_not("cover", "--html", self.folder / "page", TARGET, says="Failed to create", TMPDIR="/proc/none")
        self.assertEqual(precious.read_bytes(), b"1")

    def test_where_nothing_can_be_built(self):
        self.could_not("cover", "--html", self.folder / "page", TARGET, says="WAKEFUZZ_BUILD", WAKEFUZZ_BUILD="/proc/none")


if __name__ == "__main__":
    unittest.main()
