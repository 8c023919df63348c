"""A query's columns equal what psycopg and ADBC read: all types, edge values, NULL patterns."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from psycopg import sql

from fix_reader import open_reader
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

UTC = dt.UTC
#: Column's type in PostgreSQL -> values at its edges and between them. Without xml: private
#: servers are built without libxml.
EDGES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int2": [0, -(1 << 15), (1 << 15) - 1],
    "int4": [0, -(1 << 31), (1 << 31) - 1],
    "int8": [0, -(1 << 63), (1 << 63) - 1],
    "oid": [0, (1 << 32) - 1],
    "float4": [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 2.0**-10],
    "float8": [0.0, -0.0, 0.1, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308],
    "date": [dt.date(1, 1, 1), dt.date(1970, 1, 1), dt.date(2000, 2, 29), dt.date(9999, 12, 31)],
    "timestamp": [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)],  # noqa: DTZ001
    "timestamptz": [
        dt.datetime(1, 1, 2, tzinfo=UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        dt.datetime(2026, 11, 22, 12, 0, 0, 1, tzinfo=UTC),
    ],
    "time": [dt.time(0), dt.time(23, 59, 59, 999_999)],
    "text": ["", "a", "größer 🎯", "quote ' \\ \n", "x" * 10_000],
    "varchar(20)": ["", "varying"],
    "char(4)": ["ab", "abcd"],
    "name": ["n" * 63],
    '"char"': ["c"],
    "json": ['{"a": [1, null]}', '"€"'],
    "jsonb": ['{"a": [1, null]}', '"€"', "3"],
    "bytea": [b"", b"\0\xff", b"x" * 5_000],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1), uuid.UUID(int=1 << 64)],
}
TYPES = list(EDGES)


@pytest.fixture(scope="module")
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """psycopg, in UTC, with a temporary schema gone afterwards."""
    with psycopg.connect(postgres_dsn, autocommit=True) as made:
        made.execute("SET TimeZone = 'UTC'")
        yield made


@pytest.fixture(scope="module", params=[True, False], ids=["direct", "libpq"])
def module_reader(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[PostgresReader]:
    with open_reader(postgres_dsn, direct=request.param) as made:
        yield made


def values_query(
    connection: psycopg.Connection, types: list[str], rows: list[tuple[Any, ...]]
) -> str:
    """SELECT of the rows in order, each column ``c<n>`` cast to its type."""
    casts = [
        sql.SQL("column{}::{} AS {}").format(
            sql.SQL(str(index + 2)), sql.SQL(name), sql.Identifier(f"c{index}")
        )
        for index, name in enumerate(types)
    ]
    tuples = [
        sql.SQL("({})").format(sql.SQL(", ").join(_literal(value) for value in (index, *row)))
        for index, row in enumerate(rows)
    ]
    query = sql.SQL("SELECT {} FROM (VALUES {}) v ORDER BY column1").format(
        sql.SQL(", ").join(casts), sql.SQL(", ").join(tuples)
    )
    return query.as_string(connection)


def _literal(value: Any) -> sql.Composable:
    """Untyped text, so that one list of values may hold NULLs alone."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return sql.Literal(value)
    if isinstance(value, bytes):
        return sql.SQL("'\\x{}'").format(sql.SQL(value.hex()))
    return sql.SQL("{}").format(sql.Literal(str(value)))


def plain(table: pa.Table, types: list[str]) -> list[tuple[Any, ...]]:
    """Rows as psycopg's Python values."""
    columns = []
    for name, column in zip(types, table.columns, strict=True):
        values = column.to_pylist()
        if name == "uuid":
            values = [None if v is None else uuid.UUID(bytes=v) for v in values]
        elif name in ("json", "jsonb"):
            values = [None if v is None else json.loads(v) for v in values]
        elif name == "timestamptz":
            values = [None if v is None else v.astimezone(UTC) for v in values]
        columns.append(values)
    return list(zip(*columns, strict=True))


def from_psycopg(connection: psycopg.Connection, query: str, binary: bool) -> list[tuple[Any, ...]]:
    rows = connection.execute(query.encode(), binary=binary).fetchall()
    return [tuple(_in_utc(value) for value in row) for row in rows]


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, dt.datetime) and value.tzinfo else value


def assert_equal(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> None:
    """Row by row; NaN equals NaN, -0.0 is not 0.0."""
    assert len(left) == len(right)
    for row, (ours, theirs) in enumerate(zip(left, right, strict=True)):
        assert [repr(value) for value in ours] == [repr(value) for value in theirs], row


def random_rows(types: list[str], count: int, chance: float, number: int) -> list[tuple[Any, ...]]:
    dice = random.Random(number)
    return [
        tuple(None if dice.random() < chance else dice.choice(EDGES[name]) for name in types)
        for _ in range(count)
    ]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(("count", "chance"), [(1, 0.0), (64, 0.25), (65, 1.0), (200, 0.05)])
def test_all_types_equal_psycopg(
    connection: psycopg.Connection,
    module_reader: PostgresReader,
    count: int,
    chance: float,
    binary: bool,
) -> None:
    query = values_query(connection, TYPES, random_rows(TYPES, count, chance, number=count))

    table: Any = module_reader.query(query)

    assert_equal(plain(table, TYPES), from_psycopg(connection, query, binary))


@seed(20_261_122)
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_random_tables_equal_psycopg(
    connection: psycopg.Connection, module_reader: PostgresReader, data: st.DataObject
) -> None:
    types = data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=9))
    one = st.tuples(*(st.one_of(st.none(), st.sampled_from(EDGES[name])) for name in types))
    rows = data.draw(st.lists(one, min_size=1, max_size=20))
    query = values_query(connection, types, rows)

    table: Any = module_reader.query(query)

    assert_equal(plain(table, types), from_psycopg(connection, query, binary=False))


def test_a_long_result_equals_adbc(postgres_dsn: str, module_reader: PostgresReader) -> None:
    """More than one page of every buffer, with NULLs now and then."""
    adbc = pytest.importorskip("adbc_driver_postgresql.dbapi")
    query = (
        "SELECT i::int8 AS number, i * 0.5::float8 AS half, i::int4 AS small, i % 2 = 0 AS even, "
        "CASE WHEN i % 7 <> 0 THEN 'text ' || i END AS words, "
        "timestamptz '2024-01-01' + i * interval '1 minute' AS ts, "
        "CASE WHEN i % 3 <> 0 THEN date '2020-01-01' + i % 1000 END AS day "
        "FROM generate_series(1, 60000) AS i"
    )
    uri = postgres_dsn if "://" in postgres_dsn else None
    if uri is None:
        pytest.skip("ADBC takes an address as URI only")
    with adbc.connect(uri) as other, other.cursor() as cursor:
        cursor.execute(query)
        expected = cursor.fetch_arrow_table()

    table: Any = module_reader.query(query)

    assert table.column_names == expected.column_names
    for name in table.column_names:
        assert (
            table[name]
            .combine_chunks()
            .equals(expected[name].combine_chunks().cast(table[name].type))
        ), name


def test_types_of_the_database_that_are_text(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    """Enums by their label, domains as their base type, unknown literals as text."""
    schema = f"ngb_test_{uuid.uuid4().hex[:12]}"
    connection.execute(f"CREATE SCHEMA {schema}".encode())
    try:
        connection.execute(f"CREATE TYPE {schema}.mood AS ENUM ('calm', 'wild')".encode())
        connection.execute(f"CREATE DOMAIN {schema}.price AS float8 CHECK (value > 0)".encode())

        for _ in range(2):
            table: Any = module_reader.query(
                f"SELECT 'wild'::{schema}.mood AS mood, 2.5::{schema}.price AS price, 'x' AS u"
            )

            assert table.to_pylist() == [{"mood": "wild", "price": 2.5, "u": "x"}]
    finally:
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
