"""
Run one file of Python tests and print what came of it as JSON: {"passed": 3, "failed": {test: trace}, "skipped": {test: reason}}.

    unittests.py FILE
"""

import json
import pathlib
import sys
import unittest


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0

    def addSuccess(self, test):  # a test of which a part failed does not come here
        super().addSuccess(test)
        self.passed += 1


def main(path):
    result = Result()
    unittest.TestLoader().discover(str(path.parent), pattern=path.name).run(result)
    failed = {str(test): trace for test, trace in result.failures + result.errors}
    print(json.dumps({"passed": result.passed, "failed": failed, "skipped": {str(test): reason for test, reason in result.skipped}}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
