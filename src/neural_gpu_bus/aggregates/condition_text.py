"""Conditions as text: ``close > 10 and (instrument_id = 'A' or volume is null)``.

``condition = any of {and of {not}}``; a comparison has its column first: ``=``, ``<>``, ``!=``,
``<``, ``<=``, ``>``, ``>=``, ``[not] in (...)``, ``[not] between a and b``, ``is [not] null``.
Values are numbers, 'texts' (a quote is doubled), true and false. Names stand as they are, or in
double quotes; unlike in SQL their letters' case counts.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

from neural_gpu_bus.aggregates.conditions import (
    All,
    Any_,
    Condition,
    IsNull,
    Not,
    bad_condition,
    comparison,
    one_of,
)

#: Letters of a text, and brackets or NOTs within each other.
LETTERS_MAX, DEPTH_MAX = 100_000, 100

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ )
    | (?P<number> [+-]? (?: \d+\.?\d* | \.\d+ ) (?: [eE][+-]?\d+ )? (?![\w.]) )
    | (?P<text> '(?: [^'] | '' )*' )
    | (?P<quoted> "(?: [^"] | "" )+" )
    | (?P<word> [^\W\d]\w* )
    | (?P<sign> <> | != | <= | >= | == | [=<>(),] )
    """,
    re.VERBOSE,
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})
_COMPARED = frozenset({"=", "==", "<>", "!=", "<", "<=", ">", ">="})


class _Token(NamedTuple):
    kind: str
    text: str
    #: Place of its first letter, from 0.
    start: int


def parse_condition(text: str) -> Condition:
    """Raises BadParameterError with the place where it stops making sense."""
    if len(text) > LETTERS_MAX:
        raise bad_condition(
            f"where has {len(text):,} letters, more than {LETTERS_MAX:,}", "give a list of values"
        )
    reader = _Reader(text)
    found = reader.any_of(0)
    if reader.token.kind != "end":
        raise reader.unexpected("the end, AND or OR")
    return found


def _tokens(text: str) -> list[_Token]:
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise bad_condition(
                f"where makes no sense at letter {place + 1}: {text[place : place + 20]!r}",
                "e.g. \"close > 10 and instrument_id = 'AAPL.XNAS'\"",
            )
        kind = str(found.lastgroup)
        if kind == "word" and found[0].lower() in _KEYWORDS:
            tokens.append(_Token(found[0].lower(), found[0], place))
        elif kind == "sign":
            tokens.append(_Token(found[0], found[0], place))
        elif kind != "space":
            tokens.append(_Token(kind, found[0], place))
        place = found.end()
    return [*tokens, _Token("end", "", place)]


class _Reader:
    """One function a rule, each reading as far as its rule goes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    @property
    def token(self) -> _Token:
        return self._tokens[self._next]

    def take(self, *kinds: str) -> _Token | None:
        if self.token.kind not in kinds:
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def expect(self, kind: str, words: str) -> _Token:
        found = self.take(kind)
        if found is None:
            raise self.unexpected(words)
        return found

    def unexpected(self, wanted: str) -> Exception:
        token = self.token
        what = repr(token.text) if token.kind != "end" else "its end"
        return bad_condition(
            f"where has {what} at letter {token.start + 1} and should have {wanted}",
            "e.g. \"close > 10 and instrument_id = 'AAPL.XNAS'\"",
        )

    def any_of(self, depth: int) -> Condition:
        parts = [self.all_of(depth)]
        while self.take("or"):
            parts.append(self.all_of(depth))
        return parts[0] if len(parts) == 1 else Any_(tuple(parts))

    def all_of(self, depth: int) -> Condition:
        parts = [self.one(depth)]
        while self.take("and"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def one(self, depth: int) -> Condition:
        if depth > DEPTH_MAX:
            raise bad_condition(
                f"where has more than {DEPTH_MAX} brackets or NOTs within each other", "flatten it"
            )
        if self.take("not"):
            return Not(self.one(depth + 1))
        if self.take("("):
            found = self.any_of(depth + 1)
            self.expect(")", "a closing bracket")
            return found
        return self.of_column()

    def of_column(self) -> Condition:
        name = self.take("word", "quoted")
        if name is None:
            raise self.unexpected("a column's name")
        column = name.text
        if name.kind == "quoted":
            column = column[1:-1].replace('""', '"')
        if self.take("is"):
            negated = self.take("not")
            self.expect("null", "NULL")
            return Not(IsNull(column)) if negated else IsNull(column)
        if sign := self.take(*_COMPARED):
            return comparison(column, sign.kind, self.value())
        negated = self.take("not")
        found = self.in_or_between(column)
        return Not(found) if negated else found

    def in_or_between(self, column: str) -> Condition:
        if self.take("between"):
            low = self.value()
            self.expect("and", "AND")
            return All((comparison(column, ">=", low), comparison(column, "<=", self.value())))
        self.expect("in", "a comparison")
        self.expect("(", "an opening bracket")
        values = [self.value()]
        while self.take(","):
            values.append(self.value())
        self.expect(")", "a closing bracket")
        return one_of(column, values)

    def value(self) -> Any:
        token = self.take("number", "text", "true", "false", "null")
        if token is None:
            raise self.unexpected("a number, a 'text', true or false")
        match token.kind:
            case "number":
                whole = re.fullmatch(r"[+-]?\d{1,1000}", token.text)
                return int(token.text) if whole else Decimal(token.text)
            case "text":
                return token.text[1:-1].replace("''", "'")
            case "null":
                return None
        return token.kind == "true"
