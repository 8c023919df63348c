"""Aggregates of a real table: asked there, folded here and written down plainly are equal."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from analysis_planes import opened_plane
from neural_gpu_bus import DataPlane
from neural_gpu_bus.aggregates import Aggregate, operations_of
from neural_gpu_bus.aggregates.request import DEFAULT_ORIGIN
from plain_aggregates import aggregate_plainly, alike
from random_groups import SCHEMA, as_table, rows

TYPES = {
    "name": "text", "code": "int8", "ratio": "float8", "flag": "bool", "x": "float8",
    "y": "float8", "w": "float8", "whole": "int8", "small": "int2", "price": "numeric(18,4)",
    "ts": "timestamptz", "seq": "int8",
}  # fmt: skip
OPERATIONS = [
    Aggregate("quantile", "x", q=0.9, name="p90"),
    Aggregate("quantile_disc", "x", q=0.25, name="d25"),
    Aggregate("quantile_disc", "name", q=0.5, name="middle_name"),
    Aggregate("corr", ("x", "y")),
    Aggregate("weighted_mean", ("y", "w")),
]
KEYWORDS: dict[str, Any] = {
    "count": {"rows": None, "known": "x"},
    "sum": ["x", "y", "whole", "small", "price"],
    "mean": ["x", "y", "whole", "price"],
    "var": ["x", "y", "whole", "price"],
    "std": ["x", "small"],
    "var_pop": ["x", "small"],
    "min": ["x", "y", "whole", "price", "name", "ts"],
    "max": ["x", "y", "whole", "price", "name", "ts"],
    "first": ["x", "name", "flag", "price"],
    "last": ["x", "name", "flag", "price"],
    "median": ["x", "whole", "price"],
}
KEYS = ["name", "code", "ratio", "flag", "small", "price", "ts"]


def compared(value: Any, fits: Callable[[Any], bool]) -> bool | None:
    return None if value is None else fits(value)


def above_10(value: float) -> bool:
    return math.isnan(value) or value > 10


#: As text, and the same in Python with None for NULL.
CONDITIONS: list[tuple[Any, Callable[[Any], bool | None]]] = [
    (None, lambda row: True),
    ("x > 10", lambda row: compared(row["x"], above_10)),
    ("not (x <= 10)", lambda row: compared(row["x"], above_10)),
    ({"name": ["A", "Straße"]}, lambda row: compared(row["name"], lambda n: n in ("A", "Straße"))),
    ("name < 'B'", lambda row: compared(row["name"], lambda n: n < "B")),
    ("name not in ('A', 'It''s 100%')", lambda row: compared(row["name"], lambda n: n != "A")),
    ("code is null or flag = true", lambda row: row["code"] is None or row["flag"]),
    ("whole >= -1.5 and small <> 3", lambda row: compared(row["whole"], lambda n: n >= -1.5)
        and row["small"] != 3),
    ({"ratio": float("nan")}, lambda row: compared(row["ratio"], math.isnan)),
    ("price between -0.5 and 1000",
        lambda row: compared(row["price"], lambda p: -0.5 <= p <= 1000)),
    ("code > 9223372036854775807", lambda row: compared(row["code"], lambda c: False)),
    ("ts < '2024-03-01T00:00:00Z'", lambda row: compared(row["ts"], lambda t: t.month == 2)),
    ({"small": ("not in", [])}, lambda row: True),
]  # fmt: skip


@pytest.fixture(scope="module")
def plane(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with opened_plane(postgres_dsn, tmp_path_factory) as plane:
        yield plane


@pytest.fixture(scope="module")
def server(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def table(server: psycopg.Connection) -> Iterator[str]:
    """A table with an odd name."""
    name = f'odd "100%" {uuid.uuid4().hex[:8]}'
    columns = ", ".join(f"{column} {kind}" for column, kind in TYPES.items())
    quoted = '"' + name.replace('"', '""') + '"'
    server.execute(f"CREATE TABLE {quoted} ({columns})".encode())
    yield name
    server.execute(f"DROP TABLE {quoted}".encode())


def filled(server: psycopg.Connection, table: str, found: list[dict[str, Any]]) -> None:
    quoted = '"' + table.replace('"', '""') + '"'
    with server.transaction(), server.cursor() as cursor:
        cursor.execute(f"TRUNCATE {quoted}".encode())
        with cursor.copy(f"COPY {quoted} FROM STDIN".encode()) as copy:
            for row in found:
                copy.write_row([row[name] for name in TYPES])


def assert_alike(found: pa.Table, expected: list[tuple[Any, ...]]) -> None:
    mine = [tuple(row.values()) for row in found.to_pylist()]
    assert len(mine) == len(expected)
    for one, other in zip(mine, expected, strict=True):
        both = zip(found.column_names, one, other, strict=True)
        assert [(name, a, b) for name, a, b in both if not alike(a, b, scale=1e7)] == []


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],  # each example asks a server: no shrinking for minutes
)
@examples(
    found=rows(rows_max=40),
    by=st.lists(st.sampled_from(KEYS), max_size=2, unique=True),
    condition=st.sampled_from(CONDITIONS),
)
def test_asked_there_folded_here_and_plain_are_equal(  # noqa: PLR0917
    plane: DataPlane,
    server: psycopg.Connection,
    table: str,
    found: list[dict[str, Any]],
    by: list[str],
    condition: tuple[Any, Callable[[Any], bool | None]],
) -> None:
    where, plain_where = condition
    filled(server, table, found)
    expected = aggregate_plainly(found, by, operations_of(OPERATIONS, KEYWORDS, "seq"), plain_where)
    given: dict[str, Any] = {"by": by, "where": where, "order_by": "seq", **KEYWORDS}

    for engine in ("database", "resident"):
        answer = plane.aggregate(table, *OPERATIONS, engine=engine, **given)
        assert_alike(answer.arrow(), expected)
    assert_alike(plane.aggregate(as_table(found), *OPERATIONS, **given).arrow(), expected)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],  # each example asks a server: no shrinking for minutes
)
@examples(found=rows(odd=False, rows_max=40), seconds=st.sampled_from([1, 60, 7, 604_800]))
def test_bars_of_trades_are_equal(
    plane: DataPlane,
    server: psycopg.Connection,
    table: str,
    found: list[dict[str, Any]],
    seconds: int,
) -> None:
    width = timedelta(seconds=seconds)
    filled(server, table, found)
    given: dict[str, Any] = {"ohlcv": ("x", "w"), "vwap": ("y", "w"), "count": True}
    expected = aggregate_plainly(
        found, ["flag"], operations_of([], given, "seq"), bucket=("ts", width, DEFAULT_ORIGIN)
    )

    for source, engine in ((table, "database"), (table, "resident"), (as_table(found), None)):
        answer = plane.aggregate(
            source, by="flag", bucket=("ts", width), order_by="seq", engine=engine, **given
        )
        assert_alike(answer.arrow(), expected)


assert set(TYPES) == set(SCHEMA.names)
