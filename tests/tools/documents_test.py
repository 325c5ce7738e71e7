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


class FindingsTest(unittest.TestCase):
    """docs/findings.md."""

    text = (ROOT / "docs" / "findings.md").read_text("utf-8")

    def test_each_finding_that_has_a_fault_has_a_file_of_the_corpus_that_shows_it(self):
        shows = (ROOT / "tests" / "corpus" / "shows.list").read_text("utf-8").splitlines()
        shown = {line.split()[0].split(":")[-1] for line in shows if line and not line.startswith("#")}
        faults = re.findall(r"^\| \w+ \|.*; fault `([\w-]+)` \|$", self.text, re.MULTILINE)
        self.assertGreater(len(faults), 15)
        self.assertEqual([fault for fault in faults if fault not in shown], [])

    def test_the_inputs_that_it_names_are_there(self):
        named = set(re.findall(r"`((?:corpus|docs/findings)/[\w./-]+)`", self.text))
        self.assertGreater(len(named), 30)
        self.assertEqual([name for name in sorted(named) if not (ROOT / name).is_file()], [])

    def test_the_sizes_that_it_gives_are_right(self):
        sizes = re.findall(r"`((?:corpus|docs/findings)/[\w./-]+)`(?:,|:| \() ?(\d+) bytes", self.text)
        self.assertGreater(len(sizes), 12)
        self.assertEqual([(name, size) for name, size in sizes if (ROOT / name).stat().st_size != int(size)], [])

    def test_the_core_is_named_by_functions_and_not_by_lines_which_move(self):
        self.assertEqual(re.findall(r"src/core/\w+\.[ch]:\d+", self.text), [])


if __name__ == "__main__":
    unittest.main()
