"""The same columns as psycopg and ADBC read them, where those are right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg.types.range import Range

from fix_reader import open_reader
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

#: What makes a column of many rows with NULLs out of ``i``.
COLUMNS = {
    "numbers": "CASE WHEN i % 5 > 0 THEN ARRAY[i, -i, NULL] END",
    "words": "CASE WHEN i % 7 > 0 THEN ARRAY['w' || i % 10, NULL, ''] END",
    "price": "(CASE WHEN i % 3 > 0 THEN i * 1.37 END)::numeric(12, 3)",
    "bare": "CASE WHEN i % 4 > 0 THEN i / 7.0 * power(10::numeric, i % 40 - 20) END",
    "span": "CASE WHEN i % 2 > 0 THEN make_interval(months => i, days => -i, secs => i * 0.5) END",
    "side": "CASE WHEN i % 6 > 0 THEN 'side ' || i % 4 END",
    "range": "CASE WHEN i % 3 > 0 THEN int8range(i, i + 10) END",
    "id": "CASE WHEN i % 8 > 0 THEN i::oid END",
}
ROWS = 3_000
QUERY = "SELECT {} FROM generate_series(1, {}) AS g(i)"


@pytest.fixture(scope="module")
def module_reader(postgres_dsn: str) -> Iterator[PostgresReader]:
    with open_reader(postgres_dsn) as made:
        yield made


def query_of(names: list[str]) -> str:
    return QUERY.format(", ".join(f"{COLUMNS[name]} AS {name}" for name in names), ROWS)


def as_psycopg(value: Any) -> Any:
    """A range as psycopg has it."""
    if isinstance(value, dict):
        bounds = ("[" if value["lower_inclusive"] else "(") + "])"[not value["upper_inclusive"]]
        return Range(value["lower"], value["upper"], bounds)
    return value


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("name", sorted(set(COLUMNS) - {"span"}))
def test_a_column_equals_psycopg(
    postgres_dsn: str, module_reader: PostgresReader, name: str, binary: bool
) -> None:
    """An interval is a timedelta there, in which a month has 30 days."""
    with psycopg.connect(postgres_dsn) as connection:
        expected = [v for (v,) in connection.execute(query_of([name]).encode(), binary=binary)]

    table: Any = module_reader.query(query_of([name]))

    found = [as_psycopg(value) for value in table[name].to_pylist()]
    if name == "bare":
        expected = [None if value is None else f"{value:f}" for value in expected]
    assert found == expected


#: ADBC 1.13 reads numeric as text, and ranges as bytes.
ADBC_TYPES = {"numbers": None, "words": None, "price": pa.decimal128(12, 3), "bare": None,
              "span": None, "side": None, "id": pa.uint32()}  # fmt: skip


def test_columns_together_equal_adbc(postgres_dsn: str, module_reader: PostgresReader) -> None:
    adbc = pytest.importorskip("adbc_driver_postgresql.dbapi")
    if "://" not in postgres_dsn:
        pytest.skip("ADBC takes an address as URI only")
    names = random.Random(20_261_122).sample(sorted(ADBC_TYPES), len(ADBC_TYPES))
    with adbc.connect(postgres_dsn) as other, other.cursor() as cursor:
        cursor.execute(query_of(names))
        theirs = cursor.fetch_arrow_table()

    table: Any = module_reader.query(query_of(names))

    for name in names:
        expected = theirs[name].combine_chunks()
        if isinstance(expected, pa.ExtensionArray):
            expected = expected.storage
        kind = ADBC_TYPES[name]
        if kind is not None:
            expected = expected.cast(kind)
        assert table[name].to_pylist() == expected.to_pylist(), name
