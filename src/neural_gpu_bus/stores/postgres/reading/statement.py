"""A statement as it goes to the server: its parameters as literals, its end without semicolons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from neural_gpu_bus.errors import BadParameterError, QueryError

Params = Mapping[str, Any] | Sequence[Any] | None


def bound(connection: psycopg.Connection, sql: str, params: Params) -> bytes:
    """The statement with its parameters as literals: COPY takes no others.

    Raises BadParameterError for parameters that do not fit, QueryError for a NUL character.
    """
    if params is not None:
        sql = _with_literals(connection, sql, params)
    statement = without_end(sql).encode(errors="surrogatepass")
    if b"\x00" in statement:
        raise QueryError(
            "the statement has a NUL character", hint="PostgreSQL takes none", sqlstate=None
        )
    return statement


def _with_literals(connection: psycopg.Connection, sql: str, params: Params) -> str:
    try:
        return psycopg.ClientCursor(connection).mogrify(sql, params)
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        raise BadParameterError(
            f"{_place(sql, params, error.object)} has {character!a}, half of a character in "
            "UTF-16 and none in UTF-8",
            hint="read the text with its right encoding, or leave the character out "
            "(text.encode('utf-8', 'ignore').decode())",
            parameter="params",
        ) from error
    except (psycopg.Error, TypeError, ValueError, OverflowError) as error:
        raise BadParameterError(
            f"the statement's parameters do not fit: {error}",
            hint="name each value as %(name)s in the statement and give a mapping, or %s "
            "and a sequence; write % itself as %%",
            parameter="params",
        ) from error


def _place(sql: str, params: Params, text: str) -> str:
    """Where ``text`` was given, in words."""
    if text == sql:
        return "the statement"
    items = params.items() if isinstance(params, Mapping) else enumerate(params or (), 1)
    found = [key for key, value in items if isinstance(value, str) and value == text]
    return f"parameter {found[0]!r}" if found else "a parameter"


def without_end(sql: str) -> str:
    """The statement up to its last word: ``COPY (...)`` takes no semicolon, and none can be told
    from one in a text or a comment without reading from the start.
    """
    sql = sql.rstrip().rstrip(";")
    if ";" not in sql:
        return sql
    position = end = 0
    while piece := _PIECE.match(sql, position):
        position = piece.end()
        if piece.lastgroup == "comment":
            closed = _comment_end(sql, position)
            if closed is None:
                return sql
            position = closed
        elif piece.lastgroup != "nothing":
            end = position
    return sql[:end]


def pieces(sql: str) -> Iterator[tuple[str, str]]:
    """The statement in pieces: ``plain`` SQL, and what is ``quoted`` or a ``comment``."""
    position = 0
    while piece := _PIECE.match(sql, position):
        position, kind = piece.end(), "plain"
        if piece.lastgroup == "comment":
            kind, position = "comment", _comment_end(sql, position) or len(sql)
        elif piece[0].startswith("--"):
            kind = "comment"
        elif piece[0][0] in "'\"$" or _ESCAPED.match(piece[0]):
            kind = "quoted"
        yield kind, sql[piece.start() : position]


def _comment_end(sql: str, position: int) -> int | None:
    """Behind the end of a comment whose beginning was read; they nest. None: it has no end."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(sql, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return None


_ESCAPED = re.compile("[eE]'")
_COMMENT_MARK = re.compile(r"/\*|\*/")

#: Source: PostgreSQL manual, "Lexical Structure". A doubled quote is read as two texts side by
#: side, which end at the same place; only in E'' a quote may also be hidden by a backslash.
_PIECE = re.compile(
    r"""
    (?P<nothing> [\s;]+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | [eE]' (?: [^'\\]+ | \\. | '' )* '?
    | (?: [^'"$;/\-\w\s] [^'"$;/\-\w]* | \w[\w$]*+ (?!') \s* )+
    | \w[\w$]*
    | '[^']*'?
    | "[^"]*"?
    | \$ (?P<tag> (?:[^\W\d]\w*)? ) \$ .*? (?: \$(?P=tag)\$ | \Z )
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=512)
def only_reads(sql: str) -> bool:
    """Whether the statement is a plain SELECT for certain: it may run before its columns are
    looked at. No word of change stands in it, not even in a text; what cannot be told is False.
    Asked before parameters are bound, which are values and change nothing.
    """
    return _READ.match(sql) is not None and _CHANGE.search(sql) is None


_READ = re.compile(r"(?:\s|\(|--[^\n\r]*[\n\r])*(?:select|values|table|with)\b", re.IGNORECASE)
#: INTO makes a table; FOR UPDATE takes locks, and is found as the change it is for.
_CHANGE = re.compile(r"\b(?:insert|update|delete|merge|into)\b", re.IGNORECASE)
