"""What a caller of ``store`` got wrong is named before a connection is asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import psycopg
import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter


class AskedForAConnectionError(Exception):
    """All arguments were taken."""


def refuse_to_lend() -> AbstractContextManager[psycopg.Connection]:
    raise AskedForAConnectionError


def store(table: Any = "t", columns: Any = None, **options: Any) -> None:
    PostgresWriter(refuse_to_lend, "nowhere").store(table, columns or {"a": [1]}, **options)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"table": None}, "table", "table is None: expected a text"),
    ({"table": 5}, "table", "table is 5: expected a text"),
    ({"table": "t\ud800"}, "table", "surrogates not allowed at character 2"),
    ({"table": "\udfff.t"}, "table", "surrogates not allowed at character 1"),
    ({"job_id": "a\0b"}, "job_id", "has a NUL character"),
    ({"job_id": 5}, "job_id", "job_id is 5: expected a text"),
    ({"job_id": ""}, "job_id", "job_id is '': expected a text"),
    ({"job_id": "\ud800"}, "job_id", "surrogates not allowed"),
    ({"job_id": "x" * 100_000}, "job_id", "job_id of 100,000 bytes"),
    ({"transactions": "2"}, "transactions", "transactions is '2': expected a whole number"),
    ({"transactions": 2.5}, "transactions", r"transactions is 2\.5: expected a whole number"),
    ({"transactions": True}, "transactions", "transactions is True: expected a whole number"),
    ({"transactions": 0}, "transactions", "transactions is 0: .* 1 or more"),
    ({"transactions": 65}, "transactions", "transactions is 65"),
    ({"create": "no"}, "create", "create is 'no': expected True or False"),
    ({"mode": None}, "mode", "mode None is none of append, upsert, replace"),
    ({"mode": ["append"]}, "mode", r"mode \['append'\] is none of"),
    ({"key": "a"}, "key", "key is the text 'a', and no list of columns"),
    ({"key": b"a"}, "key", "key is b'a', and no list of columns"),
    ({"key": 5}, "key", "key is 5, and no list of columns"),
    ({"key": [1]}, "key", "key column 1 is not among the columns a"),
    ({"key": ["a", "a"]}, "key", "key names column 'a' twice"),
    ({"key": ["b"]}, "key", "key column 'b' is not among the columns a"),
]


@pytest.mark.parametrize(("arguments", "parameter", "message"), WRONG)
def test_wrong_arguments_are_named(arguments: dict[str, Any], parameter: str, message: str) -> None:
    with pytest.raises(BadParameterError, match=message) as caught:
        store(**arguments)

    assert caught.value.parameter == parameter
    assert caught.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        {"job_id": "é" * 500, "create": False},
        {"key": ("a",), "mode": "upsert", "transactions": np.int64(1)},
        {"key": [], "mode": "replace"},
    ],
    ids=str,
)
def test_right_ones_are_taken(arguments: dict[str, Any]) -> None:
    with pytest.raises(AskedForAConnectionError, match=r"^$"):
        store(**arguments)
