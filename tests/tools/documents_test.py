"""
What documents quote of the sources is still there.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FRAME = re.compile(r"#\d+ (?:0x[0-9a-f]+ in )?(\w+) ((?:src|fuzz)/[\w/]+\.c):(\d+)")


def function_at(path, number):
    """The function that a line lies in: its definition begins at the left margin."""
    for line in reversed(path.read_text("utf-8").splitlines()[:number]):
        match = re.match(r"[a-z].*?(\w+)\(", line)
        if match:
            return match[1]
    return None


class FramesTest(unittest.TestCase):
    def test_the_frames_of_sample_reports_are_lines_of_these_functions(self):
        for document in (ROOT / "README.md", ROOT / "docs" / "reading-a-report.md"):
            frames = FRAME.findall(document.read_text("utf-8"))
            self.assertGreater(len(frames), 3, document)
            for function, name, line in frames:
                with self.subTest(document=document.name, frame=f"{function} {name}:{line}"):
                    self.assertEqual(function_at(ROOT / name, int(line)), function)


if __name__ == "__main__":
    unittest.main()
