"""One spelling for statements that are the same but for blanks, comments and the case of words.

Only what PostgreSQL's own lexer throws away is thrown away (manual, "Lexical Structure"): a run of
blanks and comments becomes one blank, ASCII letters of words outside quotes become small, a
semicolon at the end goes. A run of blanks between two texts stays as it is: in two lines they are
one text, in one line an error.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<gap> (?: [ \t\n\r\f]+ | --[^\n\r]* )+ )
    | (?P<comment> /\* )
    | (?P<quoted> [eE]' (?: [^'\\]+ | \\. | '' )* '?
      | '[^']*'?
      | "[^"]*"?
      | \$ (?P<tag> (?: [A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]* )? ) \$
        .*? (?: \$(?P=tag)\$ | \Z ) )
    | (?P<placeholder> % (?: \( [^)]+ \) )? . )
    | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z_0-9$\x80-\U0010ffff]* | [0-9][A-Za-z_0-9.]* )
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def normalised(sql: str, *, bound: bool) -> str:
    """The statement's one spelling, under ``standard_conforming_strings``: equal ones mean the
    same. Two that mean the same may still differ.

    ``bound``: values go where ``%s`` or ``%(name)s`` stands. Where that is within quotes or a
    comment the statement stays as it is, because a value may end either.
    """
    parts: list[str] = []
    gap = ""
    last = ""
    for kind, piece in _pieces(sql):
        if bound and kind in {"gap", "comment", "quoted"} and "%" in piece.replace("%%", ""):
            return sql
        if kind in {"gap", "comment"}:
            gap += piece
            continue
        if gap and parts:
            texts = _is_text(last, parts[-1]) and _is_text(kind, piece)
            parts.append(gap if texts else " ")
        parts.append(piece.translate(_SMALL) if kind == "word" else piece)
        gap, last = "", kind
    while parts and parts[-1] in {";", " "}:
        parts.pop()
    return "".join(parts)


def _pieces(sql: str) -> list[tuple[str, str]]:
    """Kind and text of each piece, in order; together they are the statement."""
    pieces, position = [], 0
    while match := _TOKEN.match(sql, position):
        kind = "quoted" if match["quoted"] is not None else match.lastgroup or ""
        end: int | None = match.end()
        if kind == "comment" and (end := _comment_end(sql, match.end())) is None:
            kind, end = "quoted", len(sql)  # no comment to the server: it is refused
        pieces.append((kind, sql[position:end]))
        position = len(sql) if end is None else end
    return pieces


def _comment_end(sql: str, position: int) -> int | None:
    """Behind the end of a comment whose beginning was read; they nest. None: it has no end."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(sql, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return None


def _is_text(kind: str, piece: str) -> bool:
    """Whether it is a text, or becomes one with its value."""
    return kind == "placeholder" or (kind == "quoted" and "'" in (piece[0], piece[-1]))
