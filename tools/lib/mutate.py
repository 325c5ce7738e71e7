"""
Mutants of src/core: one copy of the sources in which each of some changes to their synchronization can be chosen at run time.

    mutate.py write FOLDER    the copy, FOLDER/table.json (what there is), and what mutant.h and mutants.c include
    mutate.py list            the names

A mutant removes or weakens one thing:

    drop     a call or a write is left out; of a write, the right side is still evaluated; of a read-modify-write, the read is left
    unlocked all locks and unlocks of one mutex in one function are left out
    split    a read-modify-write is a read and then a write
    never    the branch of a condition is not taken        (the condition is evaluated all the same)
    always   the branch of a condition is taken
    once     a loop that would go on ends after one turn
    relaxed  an acquire, a release or a full barrier of an access is left out

Its name is file:function:operator:what, and #2, #3 where there would be two of a name, in the order of the source: lines may shift, and
nothing is lost. Only lines are added within lines, so that __LINE__ stays, and with no mutant chosen an input takes the same steps as in
the core itself.
"""

import argparse
import hashlib
import json
import pathlib
import re
import sys

from common import ROOT, CannotRun, run_main
from csource import Edits, Source, Unreadable, walk

CORE = ROOT / "src" / "core"

# What is no part of the protocols: the end of the program, the switch of stacks, what stands between two executions.
# Texts and vectors, which belong to one owner at a time.
LEFT_OUT_FILES = re.compile(r"^(fatal\.[ch]|(sanitizer|atomic|glib_source)\.h|coroutine_switch.*|(json_message|qmp_json|qiov)\.[ch])$")
LEFT_OUT_FUNCTIONS = re.compile(r"(_reset|_describe|_foreach|_name|_str)$|^trace$")

# Kinds of calls, by name; the first that fits. What fits none is not touched.
CALLS = (
    ("", re.compile(r"^(core_|g_|glib_source_(enter|leave)|json_|qmp_|check$|check_|trace|mem|str|v?s?n?printf|qemu_(mutex|rec_mutex|cond|sem|event|co_queue|co_mutex|"
                    r"lockcnt|co_sleep|iovec)_(init|destroy)|.*_(init|deinit|destroy|free|cleanup|initfn|finalize|describe)(_|$))")),
    ("barrier", re.compile(r"^smp_")),
    ("kick", re.compile(r"(^|_)kick(_|$)")),
    ("wake", re.compile(r"(^|_)(wake|wakeup|signal|broadcast|restart|resume|enter|reenter|post)(_|$)|^qemu_event_set$|^aio_co_|"
                        r"^hand_wakeup_on$")),
    ("notify", re.compile(r"notif|schedule|enqueue|event_notifier_set|raise|rearm|^timer_mod|_mod$")),
    ("wait", re.compile(r"wait|yield|join|(^|_)poll($|_)|sleep|^AIO_WAIT|drain_call|synchronize|^thread_pool_cancel|drained_(begin|poll)|"
                        r"drain(_all)?(_begin.*)?$|quiesce")),
    ("lock", re.compile(r"(^|_)(lock|unlock|wrlock|wrunlock|rdlock|rdunlock|acquire|release)(_|$|(?=_drained))|_(spin|mutex)_(un)?lock|"
                        r"^LOCK|wrlock|wrunlock")),
    ("counter", re.compile(r"(^|_)(inc|dec|ref|unref|ref_locked|unref_locked)(_|$)|^qatomic_(add|sub|inc|dec)$")),
    ("section", re.compile(r"_(begin|end)(_|$)|_(un)?quiesce|_(un)?pause(_|$)|suspend|(register|unregister)_")),
    ("queue", re.compile(r"^(S?LIST|S?TAILQ|STAILQ)_(INSERT|REMOVE|SAFE_REMOVE|CONCAT|MOVE|PREPEND|SWAP|INIT)")),
    ("cancel", re.compile(r"cancel|timer_del|bh_delete|(^|_)stop(_|$)|abort|flush|detach|disable|enable")),
    ("state", re.compile(r"^qatomic_(set|store_release|set_mb|rcu_set|xchg|and|or|cmpxchg)|_(set|clear|reset)(_|$)|transition|"
                         r"^eventfd_|test_and_clear|commit|^update_")),
)

# Read-modify-write: the macro of mutant.h that takes its place.
RMW = {name: f"MUTANT_{name.upper()}" for name in
       [f"qatomic_{operation}" for operation in ("xchg", "cmpxchg", "set_mb", "inc", "dec", "add", "sub", "and", "or", "fetch_add",
                                                 "fetch_sub", "fetch_and", "fetch_or", "fetch_inc", "fetch_dec")]}
RMW_KIND = {name: "state" if re.search("xchg|set|and|or", name) else "counter" for name in RMW}
ORDERED = {"qatomic_load_acquire": "MUTANT_LOAD_ACQUIRE", "qatomic_rcu_read": "MUTANT_LOAD_ACQUIRE",
           "qatomic_store_release": "MUTANT_STORE_RELEASE", "qatomic_rcu_set": "MUTANT_STORE_RELEASE"}
GUARDS = {"QEMU_LOCK_GUARD": ("MUTANT_LOCK_GUARD", None), "JOB_LOCK_GUARD": ("MUTANT_LOCK_GUARD", "&job_mutex"),
          "WITH_QEMU_LOCK_GUARD": ("MUTANT_WITH_LOCK_GUARD", None), "WITH_JOB_LOCK_GUARD": ("MUTANT_WITH_LOCK_GUARD", "&job_mutex"),
          "GRAPH_RDLOCK_GUARD": ("MUTANT_GRAPH_RDLOCK_GUARD", ""),
          "GRAPH_RDLOCK_GUARD_MAINLOOP": ("MUTANT_GRAPH_RDLOCK_GUARD_MAINLOOP", "")}
WAIT_LOOPS = ("AIO_WAIT_WHILE", "AIO_WAIT_WHILE_UNLOCKED")
ATOMIC = re.compile(r"^(qatomic_|__atomic_)|_ATOMIC$")
ASSIGNMENTS = ("=", "+=", "-=", "|=", "&=", "^=", "<<=", ">>=", "*=", "/=", "%=")
WEAK = ("relaxed",)  # operators that an interleaving cannot tell from the original; so are all barriers


class Mutant:
    def __init__(self, number, name, kind, weak, line, code, function):
        self.number, self.name, self.kind, self.weak = number, name, kind, weak
        self.line, self.code, self.function = line, code, function  # the function's text: a result holds as long as it is the same

    def row(self):
        digest = hashlib.sha256(self.function.encode()).hexdigest()[:16]
        return {"number": self.number, "name": self.name, "kind": self.kind, "weak": self.weak, "line": self.line,
                "code": self.code, "function": digest}


def symbol(file):
    """A file's name as part of a name in C."""
    return file.replace(".", "_")


class Mutator:
    """
    One file. In its text a mutant is MUTANT(file, how many there are in the file up to it): where another file gets more of them, this one
    need not be compiled again.
    """

    def __init__(self, source, mutants):
        self.source, self.mutants = source, mutants
        self.edits = Edits(source.text)
        self.names = {}
        self.count = 0
        self.function = None
        self.locking = []   # the mutexes that the function locks and unlocks by calls of their own
        self.unlocked = {}  # mutex -> number

    # ---- names

    def words(self, first, last):
        """Tokens as a part of a name: words and numbers, joined by dots."""
        words = [token.text for token in self.source.tokens[first:last + 1] if token.kind in ("word", "number")]
        return ".".join(words) or "_"

    def new(self, operator, what, kind, first, last):
        name = f"{self.source.name}:{self.function.name}:{operator}:{what}"
        count = self.names[name] = self.names.get(name, 0) + 1
        if count > 1:
            name += f"#{count}"
        code = " ".join(self.source.between(first, last).split())
        body = self.source.between(self.function.signature[0], self.function.body.last)
        self.count += 1
        self.mutants.append(Mutant(len(self.mutants) + 1, name, kind, kind == "barrier" or operator in WEAK, self.source.line(first), code,
                                   " ".join(body.split())))
        return f"MUTANT({symbol(self.source.name)}, {self.count})"

    # ---- small questions

    def text(self, i):
        return self.source.tokens[i].text

    def is_call(self, i):
        return self.source.tokens[i].kind == "word" and self.text(i + 1) == "("

    def arguments(self, i):
        """Of the call at i: [(first, last), ...] of its arguments; an empty list where there are none."""
        end = self.source.partner[i + 1]
        parts, first, k = [], i + 2, i + 2
        while k < end:
            if self.text(k) == ",":
                parts.append((first, k - 1))
                first = k + 1
            k = self.source.partner[k] + 1 if self.text(k) in "([{" else k + 1
        return parts + [(first, end - 1)] if first < end else parts

    def what_call(self, i):
        arguments = self.arguments(i)
        return self.text(i) + (f".{self.words(*arguments[0])}" if arguments else "")

    @staticmethod
    def call_kind(name):
        return next((kind for kind, pattern in CALLS if pattern.search(name)), "")

    def any_token(self, first, last, wanted):
        return any(wanted(i) for i in range(first, last + 1))

    def reads_atomic(self, first, last):
        return self.any_token(first, last, lambda i: ATOMIC.search(self.text(i)))

    def reads_shared(self, first, last):
        return self.any_token(first, last, lambda i: self.text(i) == "->" or
                              (self.text(i) in self.source.globals and not self.is_call(i)))

    def waits(self, statement):
        return self.any_token(statement.first, statement.last,
                              lambda i: self.is_call(i) and self.call_kind(self.text(i)) == "wait")

    # ---- changes

    def start(self, i):
        return self.source.tokens[i].start

    def end(self, i):
        return self.source.tokens[i].end

    def skip(self, statement, numbers):
        """The statement is left out where one of these mutants is chosen."""
        self.edits.around(self.start(statement.first), self.end(statement.last),
                          "{ if (!mutant_any(%s)) " % ", ".join((numbers + ["0"])[:2]), " }")

    def condition(self, first, last, what, kind, loop=None):
        """first..last is a condition: of a loop (a statement), or of a branch."""
        if loop and loop.kind == "while":
            never, once = (self.new(operator, what, kind, first, last) for operator in ("never", "once"))
            self.edits.around(self.start(loop.first), self.end(loop.last), "{ unsigned mutant_turns_ = 0; ", " }")
            self.edits.around(self.start(first), self.end(last), f"mutant_once({once}, &mutant_turns_, mutant_if({never}, 0, ", "))")
        elif loop:
            once = self.new("once", what, kind, first, last)
            self.edits.around(self.start(first), self.end(last), f"mutant_if({once}, 0, ", ")")
        else:
            never, always = (self.new(operator, what, kind, first, last) for operator in ("never", "always"))
            self.edits.around(self.start(first), self.end(last), f"mutant_if({never}, {always}, ", ")")

    # ---- statements

    def mutate(self, function):
        self.function = function
        self.unlocked = {}
        self.locking = [self.mutex(i) for i in range(function.body.first, function.body.last) if self.is_call(i)]
        locked = function.name.endswith("_locked") or self.any_token(
            function.body.first, function.body.last,
            lambda i: self.is_call(i) and (self.text(i) in GUARDS or self.call_kind(self.text(i)) in ("lock", "wait")))
        result = {token.text for token in self.source.tokens[function.signature[0]:function.signature[1]]}
        is_bool = "bool" in result and "*" not in result
        for statement in walk(function.body):
            if statement.kind in ("if", "while", "do"):
                first, last = statement.head[0], statement.head[1] - 1
                atomic = self.reads_atomic(first, last)
                if atomic or (locked and self.reads_shared(first, last)) or (statement.kind != "if" and self.waits(statement)):
                    self.condition(first, last, self.words(first, last), "check", statement if statement.kind != "if" else None)
            elif statement.kind == "return" and is_bool and statement.last - statement.first > 2:
                if self.reads_atomic(statement.first + 1, statement.last - 1):
                    self.condition(statement.first + 1, statement.last - 1,
                                   self.words(statement.first + 1, statement.last - 1), "check")
            elif statement.kind == "other":
                self.expression(statement)
        self.inside(function.body)

    def expression(self, statement):
        first, last = statement.first, statement.last
        begin = first
        if [self.text(k) for k in range(first, min(first + 3, last))] == ["(", "void", ")"]:
            begin = first + 3
        if self.is_call(begin) and self.source.partner[begin + 1] == last - 1:
            self.call(statement, begin)
            return
        if self.text(last - 1) in ("++", "--") or self.text(first) in ("++", "--"):
            inner = (first, last - 2) if self.text(last - 1) in ("++", "--") else (first + 1, last - 1)
            if self.is_shared_lvalue(*inner):
                self.skip(statement, [self.new("drop", self.words(*inner), "counter", first, last)])
            return
        i = first
        while i < last and self.text(i) not in ASSIGNMENTS:
            i = self.source.partner[i] + 1 if self.text(i) in "([{" else i + 1
        if i < last and i > first and self.is_shared_lvalue(first, i - 1):
            self.write(statement, i)

    def is_shared_lvalue(self, first, last):
        """Not a declaration, and not a variable of the function alone."""
        tokens = self.source.tokens[first:last + 1]
        for one, next_one in zip(tokens, tokens[1:]):
            if one.kind == "word" and (next_one.kind == "word" or next_one.text == "*"):
                return False
        root = next((token.text for token in tokens if token.kind == "word"), None)
        return any(token.text == "->" for token in tokens) or tokens[0].text == "*" or root in self.source.globals

    def write(self, statement, operator):
        first, last = statement.first, statement.last
        kind = "counter" if self.text(operator) in ("+=", "-=") else "state"
        number = self.new("drop", self.words(first, operator - 1), kind, first, last)
        if self.text(operator) == "=" and self.any_token(operator + 1, last - 1, self.is_call):
            target = self.source.between(first, operator - 1)
            self.edits.around(self.start(first), self.end(last), "{ ", f" if (!mutant({number})) {{ {target} = mutant_v_; }} }}")
            self.edits.around(self.start(first), self.end(operator - 1), "__typeof__(", ") mutant_v_")
        else:
            self.skip(statement, [number])

    def call(self, statement, i):
        name = self.text(i)
        if name in RMW or name in GUARDS:
            return  # see inside()
        if name in WAIT_LOOPS:
            first, last = self.arguments(i)[1]
            once = self.new("once", self.what_call(i) + "." + self.words(first, last), "check", statement.first, statement.last)
            self.edits.around(self.start(statement.first), self.end(statement.last), "{ unsigned mutant_turns_ = 0; ", " }")
            self.edits.around(self.start(first), self.end(last), f"mutant_once({once}, &mutant_turns_, ", ")")
            what = self.what_call(i) + "." + self.words(first, last)
            self.skip(statement, [self.new("drop", what, "wait", statement.first, statement.last)])
            return
        kind = self.call_kind(name)
        if not kind:
            return
        numbers = [self.new("drop", self.what_call(i), kind, statement.first, statement.last)]
        mutex = self.mutex(i)
        if mutex and self.locking.count(mutex) > 1:
            if mutex not in self.unlocked:
                self.unlocked[mutex] = self.new("unlocked", mutex, kind, statement.first, statement.last)
            numbers.append(self.unlocked[mutex])
        self.skip(statement, numbers)

    def mutex(self, i):
        """What a call of a lock and one of its unlock have in common; None for other calls."""
        found = re.fullmatch(r"(.*?)(?:un)?lock", self.text(i))
        if not found or self.call_kind(self.text(i)) != "lock":
            return None
        return ".".join([found[1] + "lock", *(self.words(*part) for part in self.arguments(i))])

    # ---- inside of expressions

    def inside(self, body):
        for i in range(body.first, body.last):
            if not self.is_call(i):
                continue
            name = self.text(i)
            end = self.source.partner[i + 1]
            if name in RMW:
                what = self.what_call(i)
                weaker = "relaxed" if name == "qatomic_set_mb" else "split"
                drop, split = (self.new(operator, what, RMW_KIND[name], i, end) for operator in ("drop", weaker))
                self.edits.replace(self.start(i), self.end(i + 1), f"{RMW[name]}({drop}, {split}, ")
            elif name in ORDERED:
                number = self.new("relaxed", self.what_call(i), "order", i, end)
                self.edits.replace(self.start(i), self.end(i + 1), f"{ORDERED[name]}({number}, ")
            elif name in GUARDS:
                macro, argument = GUARDS[name]
                number = self.new("unlocked", self.what_call(i), "lock", i, end)
                comma = ", " if argument is None or argument else ""
                self.edits.replace(self.start(i), self.end(i + 1), f"{macro}({number}{comma}{argument or ''}")


def sources():
    return sorted(path for path in CORE.iterdir() if path.suffix in (".c", ".h"))


def mutate_all():
    """Returns ({file name: its changed text}, [Mutant, ...])."""
    texts, mutants = {}, []
    for path in sources():
        text = path.read_text("utf-8")
        try:
            mutator = Mutator(Source(path.name, text), mutants)
            if not LEFT_OUT_FILES.search(path.name):
                for function in mutator.source.functions:
                    if not LEFT_OUT_FUNCTIONS.search(function.name):
                        mutator.mutate(function)
        except Unreadable as error:
            raise CannotRun(f"src/core/{error}") from error
        texts[path.name] = mutator.edits.result()
    return texts, mutants


# ---- what a build needs

def write_if_new(path, text):
    """Where nothing has changed nothing is compiled again."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def write(folder):
    """The sources lie in FOLDER as NAME.c, the headers in FOLDER/include/core; #line keeps the names that are part of the names of sites."""
    texts, mutants = mutate_all()
    for name, text in texts.items():
        place = folder / "include" / "core" / name if name.endswith(".h") else folder / f"mutant-{name}"
        write_if_new(place, f'#line 1 "{CORE / name}"\n{text}')
    first, bases = {}, []
    for mutant in mutants:
        first.setdefault(mutant.name.split(":")[0], mutant.number)
    for name in texts:
        bases.append((symbol(name), first.get(name, 1) - 1))
    write_if_new(folder / "mutant_bases.h", "".join(f"extern const unsigned mutant_base_{name};\n" for name, _ in bases))
    write_if_new(folder / "mutant_names.inc", "static const char *const names[] = {\n" +
                 "".join(f'    "{mutant.name}",\n' for mutant in mutants) + "};\n" +
                 "".join(f"const unsigned mutant_base_{name} = {base};\n" for name, base in bases))
    write_if_new(folder / "table.json", json.dumps([mutant.row() for mutant in mutants], indent=0) + "\n")


def main(arguments):
    parser = argparse.ArgumentParser(prog="mutate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "list"))
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--depfile", type=pathlib.Path)
    options = parser.parse_args(arguments)
    if options.action == "list":
        for mutant in mutate_all()[1]:
            print(f"{mutant.kind:8} {mutant.name}  [{mutant.line}] {mutant.code}")
    elif options.folder:
        write(options.folder)
        if options.depfile:
            needed = " ".join(str(path) for path in sources())
            options.depfile.write_text(f"{options.folder / 'table.json'}: {needed}\n", "utf-8")
    else:
        raise CannotRun("write needs a folder")
    return 0


if __name__ == "__main__":
    run_main("mutate.py", main, sys.argv[1:])
