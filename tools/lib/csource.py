"""
C sources as functions and statements: as much of the language as it takes to change a statement where it stands.

This is no compiler. Preprocessor directives and comments are skipped, macros are taken as they are written, and what the reader cannot make
sense of is an error with its line, never a guess.
"""

import bisect
import re

TOKEN = re.compile(r"""
    (?P<space>[ \t\f\r]+|\\\n|//[^\n]*|/\*.*?\*/)
  | (?P<newline>\n)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<word>[A-Za-z_]\w*)
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<punctuation><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\#\#|[-+*/%&|^~!<>=?:;,.(){}\[\]\#])
""", re.VERBOSE | re.DOTALL)
DIRECTIVE = re.compile(r"[ \t]*#(?:\\\n|/\*.*?\*/|[^\n])*", re.DOTALL)
PAIRS = {"(": ")", "[": "]", "{": "}"}


class Unreadable(Exception):
    """file:line: what the reader did not expect."""


class Token:
    __slots__ = ("kind", "text", "start", "end")

    def __init__(self, kind, text, start):
        self.kind, self.text, self.start, self.end = kind, text, start, start + len(text)

    def __repr__(self):
        return f"{self.text}@{self.start}"


class Statement:
    """
    kind is "if", "while", "do", "for", "switch", "macro-loop", "return", "other" or "block". Indices are of tokens: the statement is
    first..last, both included; head is the token after "(" and the one that is ")" of its condition, where it has one.
    """

    def __init__(self, kind, first, depth):
        self.kind, self.first, self.depth = kind, first, depth
        self.last = None
        self.head = None
        self.body = []  # the statements inside, in order


class Function:
    def __init__(self, name, signature, body):
        self.name, self.signature, self.body = name, signature, body


class Source:
    """A file: .tokens, .functions, and .globals, the words that stand outside of functions and of types' braces."""

    def __init__(self, name, text):
        self.name, self.text = name, text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self.tokens = self._tokens()
        self.partner = self._partners()
        self.functions, self.globals = [], set()
        self._read()

    def line(self, index):
        return bisect.bisect_left(self._newlines, self.tokens[index].start) + 1

    def fail(self, index, message):
        index = min(index, len(self.tokens) - 1)
        raise Unreadable(f"{self.name}:{self.line(index)}: {message}, at '{self.tokens[index].text}'")

    def between(self, first, last):
        """The text of tokens first..last, both included."""
        return self.text[self.tokens[first].start:self.tokens[last].end]

    def _tokens(self):
        tokens, position, fresh_line = [], 0, True
        while position < len(self.text):
            if fresh_line and (match := DIRECTIVE.match(self.text, position)):
                position = match.end()
                continue
            match = TOKEN.match(self.text, position)
            if not match:
                line = self.text.count("\n", 0, position) + 1
                raise Unreadable(f"{self.name}:{line}: no token of C: {self.text[position:position + 20]!r}")
            position = match.end()
            if match.lastgroup == "space":
                continue
            fresh_line = match.lastgroup == "newline"
            if not fresh_line:
                tokens.append(Token(match.lastgroup, match[0], match.start()))
        return tokens

    def _partners(self):
        partner, open_ones = {}, []
        for i, token in enumerate(self.tokens):
            if token.kind != "punctuation":
                continue
            if token.text in PAIRS:
                open_ones.append(i)
            elif token.text in PAIRS.values():
                if not open_ones or PAIRS[self.tokens[open_ones[-1]].text] != token.text:
                    self.fail(i, "closes nothing")
                partner[i] = open_ones[-1]
                partner[open_ones.pop()] = i
        if open_ones:
            self.fail(open_ones[-1], "is never closed")
        return partner

    # ---- outside of functions

    def _read(self):
        i = start = 0
        while i < len(self.tokens):
            text = self.tokens[i].text
            if text == "{":
                name = self._function_name(start, i)
                if name is not None:
                    block, i = self._block(i, 0)
                    self.functions.append(Function(self.tokens[name].text, (start, name), block))
                    start = i
                    continue
                i = self.partner[i] + 1
                continue
            if text in ("(", "["):
                i = self.partner[i] + 1
                continue
            if text == ";":
                start = i + 1
            elif self.tokens[i].kind == "word":
                self.globals.add(text)
            i += 1

    def _function_name(self, start, brace):
        """The index of the word before the parameters, where a function's body begins at brace; else None."""
        i, name = start, None
        while i < brace:
            text = self.tokens[i].text
            if text == "=":
                return None
            if text == "(":
                before = self.tokens[i - 1] if i > start else None
                if before and before.kind == "word" and not before.text.startswith("__attribute"):
                    name = i - 1
                i = self.partner[i]
            i += 1
        return name

    # ---- statements

    def _block(self, i, depth):
        """From "{": the statement of its contents, and the index behind "}"."""
        block = Statement("block", i, depth)
        end = self.partner[i]
        i += 1
        while i < end:
            statement, i = self._statement(i, depth + 1)
            block.body.append(statement)
        block.last = end
        return block, end + 1

    def _condition(self, i, statement):
        """From "(": the index behind ")"."""
        if self.tokens[i].text != "(":
            self.fail(i, "'(' expected")
        statement.head = (i + 1, self.partner[i])
        return self.partner[i] + 1

    def _one(self, i, statement):
        inner, i = self._statement(i, statement.depth + 1)
        statement.body.append(inner)
        return i

    def _statement(self, i, depth):
        token = self.tokens[i]
        text = token.text
        if text == "{":
            return self._block(i, depth)
        if text == "case" or (text == "default" and self.tokens[i + 1].text == ":"):
            while self.tokens[i].text != ":":
                i = self.partner[i] + 1 if self.tokens[i].text in PAIRS else i + 1
            return self._labelled(i + 1, depth)
        if token.kind == "word" and self.tokens[i + 1].text == ":":
            return self._labelled(i + 2, depth)
        statement = Statement(text if text in ("if", "while", "do", "for", "switch", "return") else "other", i, depth)
        if text in ("if", "while", "for", "switch"):
            i = self._one(self._condition(i + 1, statement), statement)
            if text == "if" and self.tokens[i].text == "else":
                i = self._one(i + 1, statement)
        elif text == "do":
            i = self._one(i + 1, statement)
            if self.tokens[i].text != "while":
                self.fail(i, "'while' expected")
            i = self._condition(i + 1, statement)
            if self.tokens[i].text != ";":
                self.fail(i, "';' expected")
            i += 1
        elif text != "return" and token.kind == "word" and self.tokens[i + 1].text == "(" and self.tokens[self.partner[i + 1] + 1].text == "{":
            statement.kind = "macro-loop"
            i = self._one(self._condition(i + 1, statement), statement)
        else:
            while self.tokens[i].text != ";":
                if self.tokens[i].text in PAIRS.values():
                    self.fail(i, "';' expected")
                i = self.partner[i] + 1 if self.tokens[i].text in PAIRS else i + 1
            i += 1
        statement.last = i - 1
        return statement, i

    def _labelled(self, i, depth):
        """What stands behind a label; a label at a block's end has an empty block."""
        if self.tokens[i].text == "}":
            self.fail(i, "a label without a statement")
        return self._statement(i, depth)


def walk(statement):
    """The statement and all inside, outer ones first."""
    yield statement
    for inner in statement.body:
        yield from walk(inner)


class Edits:
    """Insertions into a text, which nest: what is put around a statement encloses what is put around its parts."""

    def __init__(self, text):
        self.text, self._made, self._order = text, [], 0

    def around(self, start, end, before, after):
        self._order += 1
        self._made.append((start, 2, self._order, "", before))
        self._made.append((end, 0, -self._order, "", after))

    def replace(self, start, end, new):
        self._order += 1
        self._made.append((start, 3, self._order, self.text[start:end], new))

    def result(self):
        parts, position = [], 0
        for at, _, _, old, new in sorted(self._made):
            if at < position:
                raise ValueError(f"two changes overlap at {self.text[at:at + 40]!r}")
            parts += [self.text[position:at], new]
            position = at + len(old)
        return "".join(parts) + self.text[position:]
