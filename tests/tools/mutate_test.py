"""
tools/lib/mutate.py on small sources: what is made a mutant, how the changed text looks, and that names outlive shifted lines.

    python3 -m unittest discover -s tests/tools -p '*_test.py'
"""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lib"))
import mutants
from common import CannotRun
from csource import Edits, Source, Unreadable, walk
from mutate import Mutator, mutate_all


def mutated(text):
    """Returns (the changed text, [names without file and function])."""
    found = []
    mutator = Mutator(Source("x.c", text), found)
    for function in mutator.source.functions:
        mutator.mutate(function)
    text = re.sub(r"MUTANT\(x_c, (\d+)\)", r"\1", mutator.edits.result())
    return text, [mutant.name.split(":", 2)[2] for mutant in found]


class SourceTest(unittest.TestCase):
    def test_what_looks_like_code_and_is_none(self):
        source = Source("x.c", '#define LOOP(x) \\\n    for (;;) {\n/* it\'s { */ // {\nconst char *s = "}{\\"", c = \'{\';\nint f(void) { return 1; }\n')
        self.assertEqual([function.name for function in source.functions], ["f"])
        self.assertEqual(source.line(source.functions[0].body.first), 5)

    def test_functions_and_what_is_none(self):
        source = Source("x.c", "struct S { int a; }; static int t[] = { 1, 2 };\n"
                               "static void __attribute__((constructor)) start(void) { }\nint g(int (*callback)(void)) { return callback(); }\n")
        self.assertEqual([function.name for function in source.functions], ["start", "g"])
        self.assertIn("t", source.globals)

    def test_statements(self):
        source = Source("x.c", "void f(void) { if (a) b(); else { c = (struct S){ 1 }; } do { d(); } while (e);\n"
                               "switch (x) { case A ? 1 : 2: g(); break; default: h(); } FOREACH(i, l) { return; } for (;;) i(); end: j(); }")
        kinds = [statement.kind for statement in walk(source.functions[0].body) if statement.kind not in ("other", "block")]
        self.assertEqual(kinds, ["if", "do", "switch", "macro-loop", "return", "for"])

    def test_what_cannot_be_read_is_an_error_with_its_line(self):
        for text, line in (("void f(void)\n{\n    (;\n}\n", 4), ("int a;\n`\n", 2), ("void f(void) {\n", 1), ("void f(void) { if a; }", 1)):
            with self.subTest(text=text), self.assertRaisesRegex(Unreadable, f"^x.c:{line}: "):
                Source("x.c", text)

    def test_changes_nest(self):
        edits = Edits("abc")
        edits.around(0, 3, "{", "}")
        edits.around(0, 3, "[", "]")
        edits.around(1, 2, "(", ")")
        self.assertEqual(edits.result(), "{[a(b)c]}")

    def test_changes_that_overlap_are_refused(self):
        edits = Edits("abc")
        edits.replace(0, 2, "x")
        edits.replace(1, 3, "y")
        self.assertRaises(ValueError, edits.result)


class MutateTest(unittest.TestCase):
    def check(self, body, names, text=None, before=""):
        changed, found = mutated(f"{before}void f(T *x) {{ {body} }}")
        self.assertEqual(found, names)
        if text:
            self.assertEqual(changed, f"{before}void f(T *x) {{ {text} }}")

    def test_calls(self):
        self.check("aio_wait_kick();", ["drop:aio_wait_kick"], "{ if (!mutant_any(1, 0)) aio_wait_kick(); }")
        self.check("if (a) aio_notify(x->ctx); else b();", ["drop:aio_notify.x.ctx"],
                   "if (a) { if (!mutant_any(1, 0)) aio_notify(x->ctx); } else b();")
        self.check("g_free(x); core_assert(x->a); plain(x); int aio_wait_kick();", [])

    def test_writes(self):
        self.check("x->a = 1; x->n++; --x->n; local = 1; T *y = x->b; local.a = 1; int *p = f();",
                   ["drop:x.a", "drop:x.n", "drop:x.n#2"])
        self.check("state = 1;", ["drop:state"], before="static int state;\n")
        self.check("x->a = make(x);", ["drop:x.a"],
                   "{ __typeof__(x->a) mutant_v_ = make(x); if (!mutant(1)) { x->a = mutant_v_; } }")

    def test_read_modify_write(self):
        self.check("if (qatomic_fetch_dec(&x->n) == 1) { }",
                   ["never:qatomic_fetch_dec.x.n.1", "always:qatomic_fetch_dec.x.n.1", "drop:qatomic_fetch_dec.x.n", "split:qatomic_fetch_dec.x.n"],
                   "if (mutant_if(1, 2, MUTANT_QATOMIC_FETCH_DEC(3, 4, &x->n) == 1)) { }")

    def test_loops(self):
        self.check("while (x->busy) { qemu_cond_wait(&x->c, &x->m); }",
                   ["never:x.busy", "once:x.busy", "drop:qemu_cond_wait.x.c"],
                   "{ unsigned mutant_turns_ = 0; while (mutant_once(2, &mutant_turns_, mutant_if(1, 0, x->busy))) "
                   "{ { if (!mutant_any(3, 0)) qemu_cond_wait(&x->c, &x->m); } } }")
        self.check("AIO_WAIT_WHILE(NULL, x->busy);", ["once:AIO_WAIT_WHILE.NULL.x.busy", "drop:AIO_WAIT_WHILE.NULL.x.busy"])

    def test_locks_one_by_one_and_together(self):
        self.check("qemu_mutex_lock(&x->m); x->a = 1; qemu_mutex_unlock(&x->m);",
                   ["drop:qemu_mutex_lock.x.m", "unlocked:qemu_mutex_lock.x.m", "drop:x.a", "drop:qemu_mutex_unlock.x.m"],
                   "{ if (!mutant_any(1, 2)) qemu_mutex_lock(&x->m); } { if (!mutant_any(3, 0)) x->a = 1; } "
                   "{ if (!mutant_any(4, 2)) qemu_mutex_unlock(&x->m); }")
        self.check("QEMU_LOCK_GUARD(&x->m);", ["unlocked:QEMU_LOCK_GUARD.x.m"], "MUTANT_LOCK_GUARD(1, &x->m);")

    def test_names_outlive_shifted_lines_and_lines_stay(self):
        before = "void f(T *x)\n{\n    aio_wait_kick();\n    aio_wait_kick();\n}\n"
        changed, names = mutated(before)
        self.assertEqual(names, ["drop:aio_wait_kick", "drop:aio_wait_kick#2"])
        self.assertEqual(changed.count("\n"), before.count("\n"))
        self.assertEqual(mutated("/* new */\n\n" + before.replace("{\n", "{\n    other(x);\n\n"))[1], names)


class CoreTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts, cls.found = mutate_all()

    def test_all_of_the_core_has_mutants_of_each_kind_under_names_of_their_own(self):
        texts, found = self.texts, self.found
        self.assertGreater(len(found), 1500)
        self.assertEqual(len({mutant.name for mutant in found}), len(found))
        self.assertEqual({mutant.kind for mutant in found}, set(mutants.KINDS))
        self.assertEqual([mutant.number for mutant in found], list(range(1, len(found) + 1)))
        for name, text in texts.items():
            self.assertEqual(text.count("\n"), (ROOT / "src" / "core" / name).read_text("utf-8").count("\n"), name)

    def test_no_call_of_the_families_by_name_is_left_out(self):
        """What the issue is about, counted another way: statements that are calls of these."""
        points = {(mutant.name.split(":")[0], mutant.line) for mutant in self.found}
        calls = re.compile(r"^\s+(aio_wait_kick|aio_co_wake|aio_notify|qemu_cond_(signal|broadcast)|qemu_bh_schedule|qemu_event_set|smp_mb|"
                           r"qemu_mutex_(un)?lock|QEMU_LOCK_GUARD|qatomic_(set|inc|dec|store_release)|TAILQ_REMOVE)\(.*;$")
        for path in sorted((ROOT / "src" / "core").glob("*.c")):
            function = None
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if re.match(r"^\w.*\b\w+\(", line):
                    function = line
                if calls.match(line) and not re.search(r"_(reset|describe|foreach)\(", function) and "qemu_mutex_lock((" not in line:
                    self.assertIn((path.name, number), points, line)

    def test_what_was_examined_exists(self):
        mutants.Examined([mutant.row() for mutant in self.found])


class ExaminedTest(unittest.TestCase):
    ROWS = [{"name": "a.c:f:drop:x", "function": "1"}, {"name": "a.c:f:drop:y", "function": "1"}]

    def read(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            return mutants.Examined(self.ROWS, pathlib.Path(file.name))

    def test_entries(self):
        examined = self.read("# comment\nequivalent a.c:f:drop:*\n    nobody\n    looks\n")
        self.assertEqual(examined.by_name["a.c:f:drop:y"], ("equivalent", "nobody looks"))
        self.assertIsNone(examined.verdict("a.c:f:drop:z"))

    def test_entry_for_a_mutant_that_is_killed_is_wrong_even_by_a_pattern(self):
        results = mutants.Results(self.ROWS, pathlib.Path("/nowhere"))
        results.known = {"a.c:f:drop:x": {"status": "survived", "fuzzed_s": 1}, "a.c:f:drop:y": {"status": "killed", "by": "fuzzing"}}
        for verdict in mutants.VERDICTS_BY_HAND:
            examined = self.read(f"{verdict} a.c:f:*\n    nobody looks\n")
            self.assertEqual(mutants.contradictions(self.ROWS, results, examined), ["a.c:f:drop:y"])

    def test_bad_entries_are_refused(self):
        for text, said in (("equivalent a.c:f:drop:z\n    why\n", r"there is no mutant 'a.c:f:drop:z' \(any more\)"),
                           ("fine a.c:f:drop:x\n    why\n", "'equivalent or hole' and names expected"),
                           ("equivalent a.c:f:drop:x\n", "no reason for a.c:f:drop:x"), ("    why\n", "a reason without a mutant"),
                           ("hole a.c:f:drop:x\n  why\nhole a.c:f:*\n  why\n", "a.c:f:drop:x has two entries")):
            with self.subTest(text=text), self.assertRaisesRegex(CannotRun, said):
                self.read(text)


class ResultsTest(unittest.TestCase):
    ROWS = [{"name": "a.c:f:drop:x", "function": "1", "kind": "kick", "weak": False}]

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wakefuzz-test-")
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name) / "results.jsonl"

    def test_torn_line_of_a_run_that_was_killed_is_no_trouble(self):
        results = mutants.Results(self.ROWS, self.path)
        results.add({"name": "a.c:f:drop:x", "function": "1", "status": "survived"})
        with open(self.path, "ab") as file:
            file.write(b'{"name": "a.c:f:dr')
        results = mutants.Results(self.ROWS, self.path)
        self.assertEqual(results.get("a.c:f:drop:x")["status"], "survived")
        results.add({"name": "a.c:f:drop:x", "function": "1", "status": "killed", "by": "corpus", "verdict": "leak"})
        self.assertEqual(mutants.Results(self.ROWS, self.path).get("a.c:f:drop:x")["status"], "killed")

    def test_result_of_a_function_that_has_changed_is_forgotten(self):
        mutants.Results(self.ROWS, self.path).add({"name": "a.c:f:drop:x", "function": "0", "status": "killed"})
        self.assertIsNone(mutants.Results(self.ROWS, self.path).get("a.c:f:drop:x"))


if __name__ == "__main__":
    unittest.main()
