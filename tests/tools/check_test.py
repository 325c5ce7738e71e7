"""
What tools/check counts: it reads what Meson has written of its tests, and names what failed where no case owns up to it.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lib"))
import check

JUNIT = """<testsuites>
  <testsuite name="one">
    <testcase name="good"/>
    <testcase name="bad"><failure>not equal</failure><system-out>what it said</system-out></testcase>
    <testcase name="left out"><skipped/></testcase>
  </testsuite>
  <testsuite name="two"><testcase name="broken"><error message="no plan"/></testcase></testsuite>
</testsuites>
"""


class MesonLogsTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="wakefuzz-test-")
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)

    def test_each_case_is_counted_by_its_result(self):
        path = self.folder / "testlog.junit.xml"
        path.write_text(JUNIT, "utf-8")
        self.assertEqual(list(check.junit_cases(path)), [("one: good", "passed", ""), ("one: bad", "failed", "not equal\nwhat it said"),
                                                         ("one: left out", "skipped", ""), ("two: broken", "failed", "no plan")])

    def test_a_program_that_failed_behind_its_cases_is_named(self):
        tests = [{"name": "good", "result": "OK", "returncode": 0, "stdout": "1..1"},
                 {"name": "left out", "result": "SKIP", "returncode": 77},
                 {"name": "meant to fail", "result": "EXPECTEDFAIL", "returncode": 1},
                 {"name": "races", "result": "ERROR", "returncode": 66, "stdout": "ok 1 a\n", "stderr": "WARNING: data race\n"},
                 {"name": "hangs", "result": "TIMEOUT", "returncode": -15}]
        path = self.folder / "testlog.json"
        path.write_text("".join(json.dumps(test) + "\n" for test in tests), "utf-8")
        self.assertEqual(list(check.programs_that_failed(path)),
                         [("races", "ERROR, exit status 66\nok 1 a\nWARNING: data race"), ("hangs", "TIMEOUT, exit status -15")])


if __name__ == "__main__":
    unittest.main()
