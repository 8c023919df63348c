"""One spelling for statements that are the same but for blanks, comments and the case of words.

Only what PostgreSQL's own lexer throws away is thrown away: a run of blanks and comments becomes
one blank, ASCII letters of words outside quotes become small, a semicolon at the end goes. A run of
blanks between two texts stays as it is: in two lines they are one text, in one line an error.
"""

from __future__ import annotations

from neural_gpu_bus.sql_text import tokens

_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def normalised(sql: str, *, bound: bool) -> str:
    """The statement's one spelling, under ``standard_conforming_strings``: equal ones mean the
    same. Two that mean the same may still differ.

    ``bound``: values go where ``%s`` or ``%(name)s`` stands. Where that is within quotes or a
    comment the statement stays as it is, because a value may end either.
    """
    if bound and sql.rfind("%(") > sql.rfind(")"):
        return sql  # refused when it is bound; the end of each name would be looked for in vain
    parts: list[str] = []
    gap = ""
    last = ""
    for kind, piece in tokens(sql, placeholders=bound):
        if bound and kind in {"blank", "comment", "quoted"} and "%" in piece.replace("%%", ""):
            return sql
        if kind in {"blank", "comment"}:
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


def _is_text(kind: str, piece: str) -> bool:
    """Whether it is a text, or becomes one with its value."""
    return kind == "placeholder" or (kind == "quoted" and "'" in (piece[0], piece[-1]))
