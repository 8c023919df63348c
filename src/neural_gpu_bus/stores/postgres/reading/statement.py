"""A statement as it goes to the server: its parameters as literals, its end without semicolons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer

from neural_gpu_bus.errors import BadParameterError, QueryError
from neural_gpu_bus.sql_text import tokens
from neural_gpu_bus.stores.postgres.reading.parameter_values import Params, not_taken, plain_values


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
    params = plain_values(params)
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
        refused = not_taken(params, lambda value: _is_taken(connection, value))
        raise refused or BadParameterError(
            f"the statement's parameters do not fit: {error}",
            hint="name each value as %(name)s in the statement and give a mapping, or %s "
            "and a sequence; write % itself as %%",
            parameter="params",
        ) from error


def _is_taken(connection: psycopg.Connection, value: Any) -> bool:
    try:
        Transformer(connection).get_dumper(value, PyFormat.TEXT)
    except (psycopg.Error, TypeError, ValueError, OverflowError):
        return False
    return True


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
    end = position = 0
    for kind, text in tokens(sql):
        position += len(text)
        if kind not in {"blank", "comment"} and text != ";" and not text.isspace():
            end = position
    return sql[:end]


@lru_cache(maxsize=512)
def only_reads(sql: str) -> bool:
    """Whether the statement is a plain SELECT for certain: it may run before its columns are
    looked at. No word of change stands in it, not even in a text; what cannot be told is False.
    Asked before parameters are bound, which are values and change nothing.
    """
    return _READ.match(sql) is not None and _CHANGE.search(sql) is None


@lru_cache(maxsize=512)
def may_write(sql: str) -> bool:
    """Whether a function is called, or looks as if it were, that is none of the server's own that
    only compute: it may write, and then its transaction ends when its result was found readable.
    """
    return any(
        found["schema"] is not None or found["name"].lower() not in _COMPUTE
        for found in _CALL.finditer(sql)
    )


_READ = re.compile(r"(?:\s|\(|--[^\n\r]*[\n\r])*(?:select|values|table|with)\b", re.IGNORECASE)
#: INTO makes a table; FOR UPDATE takes locks, and is found as the change it is for.
_CHANGE = re.compile(r"\b(?:insert|update|delete|merge|into)\b", re.IGNORECASE)

#: A name is only tried where it begins, and nothing is tried twice: in a statement with a text of
#: 200,000 letters it took minutes otherwise.
_CALL = re.compile(
    r"(?P<schema>[\w\"]\s*+\.\s*+)?(?<![\w$])(?P<name>\"[^\"]++\"|[^\W\d][\w$]*+)\s*+\("
)
#: What stands before a parenthesis and writes nothing; what is missing costs two round trips.
_COMPUTE_WORDS = """
all and any array as between by case cast distinct else except exists filter from group having
in interval intersect is join lateral like limit materialized not offset on or order over
partition row select some table then union using values when where with within
abs age array_agg array_length avg bit_and bit_or bool_and bool_or ceil ceiling char char_length
chr coalesce concat concat_ws corr count covar_pop covar_samp cume_dist date_bin date_part
date_trunc decimal dense_rank div every exp extract first_value float floor format
generate_series greatest initcap json_agg json_build_object jsonb_agg jsonb_build_object lag
last_value lead least left length ln localtimestamp log lower lpad ltrim make_date make_interval
make_timestamp max md5 min mod mode now nth_value ntile nullif numeric octet_length overlaps
percent_rank percentile_cont percentile_disc position power random rank regexp_replace
regr_slope repeat replace reverse right round row_number row_to_json rpad rtrim sign split_part
sqrt stddev stddev_pop stddev_samp string_agg string_to_array strpos substr substring sum time
timestamp timestamptz to_char to_date to_json to_jsonb to_number to_timestamp translate trim
trunc unnest upper var_pop var_samp varchar variance width_bucket
"""
_COMPUTE = frozenset(_COMPUTE_WORDS.split())
