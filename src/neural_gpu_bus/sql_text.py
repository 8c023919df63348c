"""SQL as PostgreSQL's lexer reads it (manual, "Lexical Structure"), under
``standard_conforming_strings``. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["blank", "comment", "quoted", "placeholder", "word", "other"]

# A doubled quote is read as two texts side by side, which end at the same place; only in E'' a
# quote may also be hidden by a backslash. Nothing is tried twice: a text of any length is read in
# one pass.
_BLANKS_AND_QUOTES = r"""
    (?P<blank> [ \t\n\r\f]+ )
    | (?P<comment> --[^\n\r]* )
    | (?P<nested> /\* )
    | (?P<quoted> [eE]' (?: [^'\\]+ | \\. | '' )* '?
      | '[^']*'?
      | "[^"]*"?
      | \$ (?P<tag> (?: [A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]* )? ) \$
        .*? (?: \$(?P=tag)\$ | \Z ) )
"""
_PLACEHOLDERS = r"| (?P<placeholder> % (?: \( [^)]+ \) )? . )"
_WORDS = r"""
    | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z_0-9$\x80-\U0010ffff]* | [0-9][A-Za-z_0-9.]* )
    | (?P<other> . )
"""
_FLAGS = re.VERBOSE | re.DOTALL
_TOKEN = re.compile(_BLANKS_AND_QUOTES + _WORDS, _FLAGS)
_TOKEN_TO_BIND = re.compile(_BLANKS_AND_QUOTES + _PLACEHOLDERS + _WORDS, _FLAGS)
_COMMENT_MARK = re.compile(r"/\*|\*/")


def tokens(sql: str, *, placeholders: bool = False) -> Iterator[tuple[Kind, str]]:
    """Kind and text of each token, in order; together they are the statement. A token of kind
    ``other`` is one character; a comment without an end is ``quoted``, for the server refuses it.

    ``placeholders``: values go where ``%s`` or ``%(name)s`` stands; else ``%`` is an operator.
    """
    pattern = _TOKEN_TO_BIND if placeholders else _TOKEN
    position = 0
    while match := pattern.match(sql, position):
        kind, end = match.lastgroup, match.end()
        if kind == "nested":
            closed = _comment_end(sql, end)
            kind, end = ("comment", closed) if closed else ("quoted", len(sql))
        yield kind, sql[position:end]  # type: ignore[misc]  # the groups of the pattern
        position = end


def quoted_name(name: str) -> str:
    """A name as an identifier: capitals and odd characters stay as they are."""
    return '"' + name.replace('"', '""') + '"'


def _comment_end(sql: str, position: int) -> int | None:
    """Behind the end of a comment whose beginning was read; they nest. None: it has no end."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(sql, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return None
