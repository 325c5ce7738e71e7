"""
tests/corpus/unreached.list against a measurement: each way in which it can be stale is told.

    python3 -m unittest discover -s tests/tools -p 'coverage_test.py'
"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "lib"))
import coverage
from common import ROOT, CannotRun

HEAD = "= why because\n"
GOOD = f"{HEAD}src/core/a.c f 1 2 why\n"


def measured(reached=96):
    row = {"file": "src/core/a.c", "lines": 100, "lines_reached": reached, "branches": 100, "branches_reached": reached}
    return {"files": [row], "unreached": [{"file": "src/core/a.c", "function": "f"}],
            "sides": [{"file": "src/core/a.c", "function": "f"}] * 2}


class CoverageTest(unittest.TestCase):
    def wrong(self, text, **options):
        return "\n".join(coverage.compare(measured(**options), text))

    def test_a_list_that_says_what_is_so(self):
        self.assertEqual(self.wrong(GOOD), "")

    def test_each_way_to_be_stale(self):
        for text, says in ((HEAD, "gives no reason"), (GOOD.replace("1 2", "1 3"), "the list says 1 and 3"),
                           (GOOD.replace("why\n", "what\n"), "no reason 'what'"), (GOOD + "= other text\n", "'other' is not used"),
                           (GOOD + "src/core/b.c g 1 0 why\n", "src/core/b.c: g: all of it is reached, or it is gone")):
            self.assertIn(says, self.wrong(text))

    def test_too_little_is_reached(self):
        self.assertIn("lines: 94.00 % reached, 95.0 % wanted", self.wrong(GOOD, reached=94))
        self.assertIn("branches: 84.00 % reached", self.wrong(GOOD, reached=84))

    def test_an_update_needs_a_reason(self):
        text = coverage.updated(measured(), HEAD)
        self.assertIn("src/core/a.c f", text)
        self.assertIn("no reason '?'", self.wrong(text))
        self.assertEqual(coverage.updated(measured(), GOOD).split(), GOOD.split())

    def test_what_cannot_be_read(self):
        for text in ("src/core/a.c f 1 why\n", "src/core/a.c f 1 x why\n", GOOD + "src/core/a.c f 1 2 why\n"):
            with self.assertRaises(CannotRun):
                coverage.read_list(text)

    def test_functions_of_the_list_are_there(self):
        """A sample of the whole comparison, for which flavour coverage has to be built: tests/corpus/coverage."""
        reasons, entries = coverage.read_list(coverage.LIST.read_text("utf-8"))
        for (file, function), entry in entries.items():
            self.assertIn(f"{function}(", (ROOT / file).read_text("utf-8"), file)
            self.assertTrue(set(entry.reasons) <= reasons.keys(), entry)


if __name__ == "__main__":
    unittest.main()
