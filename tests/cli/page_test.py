"""
The page of wakefuzz explain --html: what it says, that it takes nothing from elsewhere, that what it says of decisions is so, and, in a
headless Chromium, how it looks and answers. The screenshots stay in build/plain/pages.

    python3 -m unittest discover -s tests/cli -p 'page_test.py'
"""

import html
import json
import re
import resource
import signal
import subprocess
import unittest

import browser
import kit

CORPUS = kit.ROOT / "corpus"
SEEDS = {  # the four bugs that the project began with: fault -> its crasher
    "graph-lock-unlock-no-kick": CORPUS / "graph_lock" / "last-reader-leaves-while-the-writer-polls",
    "co-sleep-early-wake": CORPUS / "co_sleep" / "image-closes-while-its-cleaner-goes-back-to-sleep",
    "monitor-cleanup-no-kick": None,  # as the fuzzer finds it
    "linux-aio-unbounded-recursion": b"",
}
SHAPES = [(width, height, scheme) for width, height in ((360, 740), (820, 1100), (1400, 1000)) for scheme in ("light", "dark")]
OVERRIDE = {"preemption": 1, "next": 1, "choice": 0}
ROW = re.compile(r"^ *(\* )?(\d+) \|(.*)$")


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def first_in_first_out_with(decisions, atomics=True):
    """A plan of these overrides alone, as docs/input-format.md writes it."""
    backward = bytes([8 if atomics else 0, len(decisions) << 3])
    for decision in decisions:
        choice = decision["to"] + 1 if "to" in decision else decision["choice"]
        backward += bytes([decision["thread"] | (choice if choice < 14 else 15) << 4]) + (varint(choice) if choice >= 14 else b"") + varint(decision["decision"])
    return backward[::-1]


class PageTest(kit.FolderTest):
    def crasher(self, fault):
        seed = SEEDS[fault]
        return self.file(f"plain-{fault}-1", seed if isinstance(seed, bytes) else seed.read_bytes() if seed else kit.finding(fault))

    def explain(self, fault, path, out="page.html"):
        status, said, err = self.wakefuzz("explain", "--fault", fault, "--flavour", "plain", "--force", "--html", self.folder / out, path)
        self.assertEqual((status, said, err), (0, f"{self.folder / out}\n", ""))
        return (self.folder / out).read_text("utf-8")

    def facts(self, fault, path):
        return json.loads(kit.call(kit.BUILD / "plain" / "tests" / "faults" / f"{fault}-replay", "--facts", path)[1])

    # ---- what it says

    def test_it_says_what_the_report_says(self):
        for fault in SEEDS:
            with self.subTest(fault):
                path = self.crasher(fault)
                raw = self.explain(fault, path, f"{fault}.html")
                page = html.unescape(re.sub(r"<[^>]*>", "", raw))
                report = self.wakefuzz("explain", "--fault", fault, "--flavour", "plain", path)[1]
                verdict, sentence = re.match(r"panic: ([a-z-]+): (.*)", report).groups()
                self.assertIn(verdict, page)
                self.assertIn(sentence, page)
                cause = re.search(r"\n  cause  (.*?)\n\n", report, re.DOTALL)
                self.assertIn(re.sub(r"\s+", " ", cause[1]) if cause else "", re.sub(r"\s+", " ", page))
                self.assertEqual(cause is None, verdict == "stack-overflow", report)
                rows = [match.groups() for match in map(ROW.match, report.splitlines()) if match]
                self.assertGreater(len(rows), 5)
                for star, step, _ in rows:
                    self.assertRegex(page, rf"(?m)^{re.escape(star or '')}{step}[^\d]", report)
                for title, stack in re.findall(r'<pre id="stack-\d+" data-title="([^"]*)">(.*?)</pre>', raw, re.DOTALL):
                    self.assertRegex(stack, "^the clock" if ", the clock: " in title else r"^ 0  \w+  \S+:\d+\n 1  ")

    def test_the_marked_rows_are_those_of_the_report(self):
        fault = kit.FAULT
        page = self.explain(fault, self.crasher(fault))
        self.assertEqual(re.findall(r'<tr class="marked"[^>]*data-step="(\d+)"', page), ["181", "183"])
        self.assertEqual(re.findall(r'<g class="step marked" data-step="(\d+)"', page), ["181", "183"])
        picture = page[page.index('aria-label="timeline of the threads"'):page.index('<p class="legend">')]
        self.assertEqual(picture.count('class="skipped"'), 1)  # the kick that was not sent
        self.assertGreaterEqual(picture.count('class="wake"'), 2)
        stack = re.search(r'<pre id="stack-183"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
        self.assertRegex(stack, r"^ 0  bdrv_graph_co_rdunlock  src/core/graph_lock.c:\d+\n 1  ")

    def test_it_takes_nothing_from_elsewhere(self):
        for fault in SEEDS:
            page = self.explain(fault, self.crasher(fault), f"{fault}.html")
            self.assertEqual(re.findall(r"https?:|//[a-z]|@import|url\((?!#)|\bsrc=|<iframe|<object|<embed|<base", page.replace("http-equiv", "")), [])
            self.assertEqual(re.findall(r"<link [^>]*>", page), ['<link rel="icon" href="data:,">'])
            self.assertIn("default-src 'none'", page)

    def test_it_is_the_same_each_time(self):
        for fault in SEEDS:
            path = self.crasher(fault)
            self.assertEqual(self.explain(fault, path, "first.html"), self.explain(fault, path, "second.html"), fault)

    def test_text_is_escaped(self):
        name = "<img src=x onerror=alert(1)>&amp;\"'"
        page = self.explain(kit.FAULT, self.file(name, SEEDS[kit.FAULT].read_bytes()))
        self.assertIn("&lt;img src=x onerror=alert(1)&gt;&amp;amp;&quot;&apos;", page)
        self.assertNotIn("<img", page)

    def facts_of_a_hard_bug(self, flavour, hard, words, kind=255, disturb=0):
        """The facts of the first input of two_bugs.c whose key has these words."""
        program = kit.BUILD / flavour / "tests" / "cli" / "two_bugs-replay"
        if not program.exists():
            self.skipTest(f"flavour {flavour} is not built")
        files = [self.file(f"input-{seed}", bytes([kind, hard]) + bytes(range(1, 30)) + kit.plan(seed, disturb=disturb)) for seed in range(40)]
        found = [path for path, said in kit.describe(program, *files).items() if words in said["key"]]
        self.assertTrue(found)
        return json.loads(kit.call(program, "--facts", found[0])[1])

    def test_a_crash(self):
        """Nothing of the scheduler's ended it: the steps before the last one, and the decisions."""
        facts = self.facts_of_a_hard_bug("plain", 2, "use_pointer")
        self.assertTrue(facts["cut"])
        self.assertEqual(facts["cut_verdict"], "crash")
        self.assertEqual(facts["rows"][-1]["step"] + 2, facts["cut_steps"])
        self.assertTrue(any(decision["essential"] for decision in facts["decisions"]))

    def test_a_sanitizers_finding(self):
        facts = self.facts_of_a_hard_bug("asan", 3, "use-after-free")
        self.assertTrue(facts["cut"])
        self.assertEqual(facts["cut_verdict"], "use-after-free")

    # ---- decisions: what is said to be essential is so

    def test_decisions_hold_when_they_are_tried_by_hand(self):
        """The whole and each one left out, written as inputs of their own."""
        program = kit.BUILD / "plain" / "tests" / "faults" / f"{kit.FAULT}-replay"
        path = self.crasher(kit.FAULT)
        small = path.read_bytes()
        kinds = {True: 0, False: 0}
        for data in (small, kit.finding()):
            path.write_bytes(data)
            facts = self.facts(kit.FAULT, path)
            decisions = [decision for decision in facts["decisions"] if decision["kind"] in OVERRIDE]
            self.assertTrue(facts["exact"])
            self.assertEqual((facts["tested"], len(decisions)), (len(facts["decisions"]),) * 2)
            if len(decisions) > 31:
                continue  # no input holds them
            scenario = data[:facts["scenario_bytes"]]
            atomics = bool(data[-1] & 8)
            tries = {None: decisions, **{i: decisions[:i] + decisions[i + 1:] for i in range(len(decisions))}}
            for i, kept in tries.items():
                kept = sorted(kept, key=lambda decision: (decision["thread"], decision["decision"]))
                found = kit.describe(program, self.file("try", scenario + first_in_first_out_with(kept, atomics)))[str(self.folder / "try")]
                if i is None:
                    self.assertEqual(found["hash"], facts["hash"])
                else:
                    self.assertEqual(found["key"] != facts["key"], decisions[i]["essential"], decisions[i])
                    kinds[decisions[i]["essential"]] += 1
        self.assertGreater(kinds[True], 0)

    def test_a_call_that_must_be_disturbed(self):
        facts = self.facts_of_a_hard_bug("plain", 6, "hard_bug", kind=197, disturb=1)
        self.assertTrue(facts["exact"])
        self.assertEqual([decision["kind"] for decision in facts["decisions"] if decision["essential"]], ["disturbance"])

    def test_fifo_needs_no_decision(self):
        page = self.explain("linux-aio-unbounded-recursion", self.crasher("linux-aio-unbounded-recursion"))
        self.assertIn("The empty input is this finding", page)

    # ---- bad input

    def test_it_overwrites_nothing_unless_told(self):
        path, there = self.crasher(kit.FAULT), self.file("page.html", b"precious")
        arguments = ("explain", "--fault", kit.FAULT, "--flavour", "plain", "--html", there)
        self.could_not(*arguments, path, says="--force")
        self.assertEqual(there.read_bytes(), b"precious")
        self.assertEqual(self.wakefuzz(*arguments, "--force", path)[0], 0)
        self.assertIn(b"<!DOCTYPE html>", there.read_bytes())

    def test_where_nothing_can_be_written(self):
        path = self.crasher(kit.FAULT)
        for out, says in ((self.folder, "is a folder"), ("/proc/none/page.html", "cannot write into /proc/none"), ("/proc/page.html", "cannot write")):
            self.could_not("explain", "--fault", kit.FAULT, "--flavour", "plain", "--html", out, path, says=says)

    def test_a_full_disk_leaves_nothing(self):
        def no_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        path = self.crasher(kit.FAULT)
        done = subprocess.run([kit.PROGRAM, "explain", "--fault", kit.FAULT, "--flavour", "plain", "--html", self.folder / "page.html", path],
                              stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=kit.PATIENCE_S, check=False,
                              preexec_fn=no_room)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("cannot write", done.stderr)
        self.assertEqual([file.name for file in self.folder.iterdir()], [path.name])

    def test_no_finding_makes_no_page(self):
        self.could_not("explain", "--target", "graph_lock", "--flavour", "plain", "--html", self.folder / "page.html", self.file("x"),
                       says="no finding")
        self.assertFalse((self.folder / "page.html").exists())

    def test_steps_that_are_none(self):
        program = kit.BUILD / "plain" / "tests" / "faults" / f"{kit.FAULT}-replay"
        for steps in ("", "x", "2,1", "1,1", "-1", "1,", ",".join(map(str, range(2000)))):
            status, out, err = kit.call(program, "--facts", self.crasher(kit.FAULT), "--at", steps)
            self.assertEqual((status, out), (2, ""), steps)
            self.assertIn("--at takes", err)


# What a reader would trip over, measured in the page.
GEOMETRY = r"""
(() => {
    const bad = [], name = e => e.tagName + "." + (e.className.baseVal ?? e.className) + " '" + e.textContent.slice(0, 30) + "'";
    const box = e => e.getBoundingClientRect();
    if (document.documentElement.scrollWidth > innerWidth) { bad.push("the page is wider than the window: " + document.documentElement.scrollWidth); }
    for (const e of document.querySelectorAll("body *")) {
        const style = getComputedStyle(e);
        if (e.closest("svg, #stacks, script, #panel, noscript") || style.display === "none" || style.display === "inline") { continue; }
        if (e.scrollWidth > e.clientWidth + 1 && !e.matches(".scroll")) { bad.push(name(e) + " overflows: " + e.scrollWidth + " > " + e.clientWidth); }
        if (box(e).right > innerWidth + 1 || box(e).left < -1) { bad.push(name(e) + " is out of the window"); }
    }
    const svg = document.querySelector(".scroll svg"), whole = box(svg);
    const texts = [...svg.querySelectorAll("text")].map(e => [e, box(e)]);
    for (const [e, b] of texts) {
        if (b.left < whole.left || b.right > whole.right || b.top < whole.top || b.bottom > whole.bottom) { bad.push(name(e) + " is out of the picture"); }
    }
    texts.forEach(([e, a], i) => texts.slice(i + 1).forEach(([f, b]) => {
        if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) { bad.push(name(e) + " lies on " + name(f)); }
    }));
    for (const e of svg.querySelectorAll("circle, rect, path:not(defs *), line")) {
        const b = box(e);
        if (b.left < whole.left - 1 || b.right > whole.right + 1 || b.top < whole.top - 1 || b.bottom > whole.bottom + 1) { bad.push(name(e) + " is out of the picture"); }
    }
    const blocks = [...document.querySelectorAll("main > section, header, tr, li, #picture > *")].filter(e => e.checkVisibility()).map(e => [e, box(e)]);
    blocks.forEach(([e, a], i) => blocks.slice(i + 1).forEach(([f, b]) => {
        if (!e.contains(f) && !f.contains(e) && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1) {
            bad.push(name(e) + " lies on " + name(f));
        }
    }));
    document.querySelectorAll(".lanes div").forEach(e => { if (e.scrollHeight > e.clientHeight) { bad.push(name(e) + " is higher than its lane"); } });
    return bad;
})()
"""

# Of text and its ground, as WCAG has it.
CONTRAST = r"""
(() => {
    const part = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4); };
    const light = rgb => 0.2126 * part(rgb[0]) + 0.7152 * part(rgb[1]) + 0.0722 * part(rgb[2]);
    const numbers = text => text.match(/[\d.]+/g).map(Number);
    const ground = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) { return c; } } };
    const bad = [];
    for (const e of document.querySelectorAll("h1, h2, p, td, th, li, summary, pre, span, code, svg text, .lanes div")) {
        if (!e.textContent.trim() || !e.checkVisibility()) { continue; }
        const style = getComputedStyle(e), a = light(numbers(e.closest("svg") ? style.fill : style.color)), b = light(ground(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) { bad.push(e.tagName + " '" + e.textContent.slice(0, 20) + "' " + ratio.toFixed(2)); }
    }
    return bad;
})()
"""


class BrowserTest(kit.FolderTest):
    browser = None  # one for all

    def setUp(self):
        super().setUp()
        if not browser.find():
            self.skipTest("no Chromium here: tools/setup --browser installs it")
        if not BrowserTest.browser:
            BrowserTest.browser = browser.Browser()

    @classmethod
    def tearDownClass(cls):
        if cls.browser:
            cls.browser.close()

    crasher, explain = PageTest.crasher, PageTest.explain

    def open(self, fault):
        self.explain(fault, self.crasher(fault))
        return self.browser.open(self.folder / "page.html")

    def silent(self, page):
        shown, asked = page.complaints()
        self.assertEqual(shown, [])
        self.assertEqual([url for url in asked if url != (self.folder / "page.html").resolve().as_uri() and not url.startswith("data:")], [])

    def test_it_can_be_read_at_any_width_in_both_schemes(self):
        shots = kit.BUILD / "plain" / "pages"
        shots.mkdir(exist_ok=True)
        for fault in SEEDS:
            page = self.open(fault)
            grounds = {}
            for width, height, scheme in SHAPES:
                with self.subTest(fault=fault, width=width, scheme=scheme):
                    page.shape(width, height, scheme)
                    grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    self.assertEqual(page.evaluate("innerWidth"), width)
                    shot = page.screenshot()
                    self.assertEqual(shot[:4], b"\x89PNG")
                    self.assertEqual(int.from_bytes(shot[16:20], "big"), width)
                    self.assertGreater(int.from_bytes(shot[20:24], "big"), height)
                    (shots / f"{fault}-{width}-{scheme}.png").write_bytes(shot)
                    self.assertEqual(page.evaluate(GEOMETRY), [])
                    self.assertEqual(page.evaluate(CONTRAST), [])
            self.assertNotEqual(grounds["light"], grounds["dark"])
            self.silent(page)

    def test_its_text_is_there(self):
        page = self.open(kit.FAULT)
        self.assertEqual(page.evaluate("document.querySelector('h1').innerText"), "main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it")
        self.assertEqual(page.evaluate("document.title"), "missed-wakeup: main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it")
        self.assertEqual(page.evaluate("document.querySelectorAll('tbody tr').length"), page.evaluate("document.querySelectorAll('.scroll svg .step').length"))
        page.shape(360, 740, "light")
        self.assertIn("iothread0: [co 1] bdrv_graph_co_rdunlock: has_writer == 0 no wakeup", page.evaluate("document.querySelector('tr[data-step=\"183\"]').innerText.replace(/\\s+/g, ' ')"))

    def panel(self, page):
        return page.evaluate("document.getElementById('panel').hidden ? null : document.getElementById('panel').innerText")

    def test_pointing_at_a_step_shows_its_stack(self):
        page = self.open(kit.FAULT)
        page.shape(1400, 1000, "light")
        self.assertIsNone(self.panel(page))
        for selector, step, function in (("svg [data-step='183'] circle", 183, "bdrv_graph_co_rdunlock"), ("tr[data-step='178']", 178, "bdrv_graph_wrlock")):
            page.evaluate(f"document.querySelector(\"{selector}\").scrollIntoView({{block: 'center'}})")
            box = page.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector(\"{selector}\").getBoundingClientRect())")
            page.point_at(*box)
            shown = self.panel(page)
            self.assertIn(f"step {step}, ", shown)
            self.assertRegex(shown, rf"\d  {function}  src/core/graph_lock.c:\d+")
            self.assertEqual(page.evaluate("[...document.querySelectorAll('.on')].map(e => e.dataset.step)"), [str(step)] * 2)
        self.assertLessEqual(page.evaluate("document.getElementById('panel').getBoundingClientRect().height"), 0.41 * 1000)
        page.press("Escape")
        self.assertIsNone(self.panel(page))
        self.silent(page)

    def test_the_keyboard_reaches_each_step(self):
        page = self.open(kit.FAULT)
        page.shape(820, 700, "dark")
        steps = page.evaluate("[...document.querySelectorAll('[data-step]')].map(e => e.dataset.step)")
        seen = []
        for _ in range(2 * len(steps)):
            page.press("Tab")
            seen.append(page.evaluate("document.activeElement.dataset.step ?? null"))
            if seen[-1]:
                self.assertIn(f"step {seen[-1]}, ", self.panel(page))
                self.assertLessEqual(page.evaluate("document.activeElement.getBoundingClientRect().bottom - document.getElementById('panel').getBoundingClientRect().top"), 0)
            if len([step for step in seen if step]) == len(steps):
                break
        self.assertEqual([step for step in seen if step], steps)


if __name__ == "__main__":
    unittest.main()
