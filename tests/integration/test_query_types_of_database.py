"""Types that a database brings itself: extensions, enums that grow, composites that are altered."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from fix_reader import open_reader
from neural_gpu_bus.errors import BadParameterError, BadValueError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

TEXT = pa.large_string()
CODES = pa.dictionary(pa.int32(), TEXT)


@pytest.fixture
def schema(postgres_dsn: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection and a schema of its own."""
    name = f"ngb_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        connection.execute(f"SET search_path = {name}, public".encode())
        yield connection, name
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


def test_a_label_added_to_a_known_enum_is_read(
    schema: tuple[psycopg.Connection, str], reader: PostgresReader
) -> None:
    connection, name = schema
    connection.execute("CREATE TYPE mood AS ENUM ('calm', 'wild')")
    query = f"SELECT unnest(enum_range(NULL::{name}.mood)) AS x"
    before: Any = reader.query(query)
    connection.execute("ALTER TYPE mood ADD VALUE 'mild' BEFORE 'wild'")

    after: Any = reader.query(query)
    nested: Any = reader.query(f"SELECT enum_range(NULL::{name}.mood) AS x")

    assert before["x"].type == CODES
    assert before["x"].to_pylist() == ["calm", "wild"]
    assert after["x"].to_pylist() == ["calm", "mild", "wild"]
    assert after["x"].chunk(0).dictionary.to_pylist() == ["calm", "mild", "wild"]
    assert nested["x"].to_pylist() == [["calm", "mild", "wild"]]


def test_a_label_in_an_array_of_a_known_enum_is_read(
    schema: tuple[psycopg.Connection, str], reader: PostgresReader
) -> None:
    connection, name = schema
    connection.execute("CREATE TYPE mood AS ENUM ('calm')")
    query = f"SELECT enum_range(NULL::{name}.mood) AS x"
    reader.query(query)
    connection.execute("ALTER TYPE mood ADD VALUE 'wild' BEFORE 'calm'")

    table: Any = reader.query(query)

    values = table["x"].chunk(0).values
    assert values.dictionary.to_pylist() == ["wild", "calm"]
    assert table["x"].to_pylist() == [["wild", "calm"]]


def test_an_altered_composite_is_read_as_it_is_now(
    schema: tuple[psycopg.Connection, str], reader: PostgresReader
) -> None:
    """Renamed or replaced by another of the same type, which the bytes do not show."""
    connection, name = schema
    connection.execute("CREATE TYPE bar AS (a int4, b text)")
    query = f"SELECT (1, 'x')::{name}.bar AS x"
    before: Any = reader.query(query)
    connection.execute("ALTER TYPE bar RENAME ATTRIBUTE b TO c")
    renamed: Any = reader.query(query)
    connection.execute("ALTER TYPE bar DROP ATTRIBUTE a, ADD ATTRIBUTE d int8")
    altered: Any = reader.query(f"SELECT ('x', 2)::{name}.bar AS x")

    assert before["x"].to_pylist() == [{"a": 1, "b": "x"}]
    assert renamed["x"].to_pylist() == [{"a": 1, "c": "x"}]
    assert altered["x"].to_pylist() == [{"c": "x", "d": 2}]


def test_a_row_of_a_table_is_a_struct_without_dropped_columns(
    schema: tuple[psycopg.Connection, str], reader: PostgresReader
) -> None:
    connection, name = schema
    connection.execute("CREATE TABLE bars (a int4, gone text, b float8)")
    connection.execute("INSERT INTO bars VALUES (1, 'x', 0.5)")
    connection.execute("ALTER TABLE bars DROP gone")

    table: Any = reader.query(f"SELECT t AS x FROM {name}.bars t")

    assert table["x"].to_pylist() == [{"a": 1, "b": 0.5}]


def test_vectors_are_lists_of_their_size(postgres_dsn: str, reader: PostgresReader) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("pgvector is not installed")

    table: Any = reader.query(
        "SELECT x::vector(3) AS sized, x::vector AS any, x::halfvec(3) AS half, "
        "ARRAY[x::vector(3)] AS several FROM (VALUES ('[1,2.5,-3]'), (NULL)) v(x)"
    )

    expected = [1.0, 2.5, -3.0]
    assert table["sized"].type == pa.list_(pa.float32(), 3)
    assert table["half"].type == pa.list_(pa.float16(), 3)
    for name in ("sized", "any", "half"):
        assert table[name].to_pylist() == [expected, None]
    assert table["several"].to_pylist() == [[expected], [None]]


def test_extensions_of_an_existing_server(existing_postgres_dsn: str) -> None:
    with psycopg.connect(existing_postgres_dsn, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS hstore")
            connection.execute("CREATE EXTENSION IF NOT EXISTS citext")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("hstore and citext are not installed")

    with open_reader(existing_postgres_dsn, connections_max=2) as reader:
        table: Any = reader.query(
            "SELECT x::hstore AS map, 'Größe'::citext AS word, ARRAY['a'::citext] AS words "
            "FROM (VALUES (1, 'a=>1, b=>NULL, \"c d\"=>\"\"'), (2, ''), (3, NULL)) v(n, x) "
            "ORDER BY n"
        )

    assert table["map"].type == pa.map_(TEXT, TEXT)
    assert table["map"].to_pylist() == [[("a", "1"), ("b", None), ("c d", "")], [], None]
    assert table["word"].to_pylist() == ["Größe"] * 3
    assert table["words"].to_pylist() == [["a"]] * 3


REFUSED = {
    "SELECT 'a b'::tsvector AS x": ("tsvector", "x::text"),
    "SELECT ROW(1, 'a') AS x": ("record", "x::my_type"),
    "SELECT ARRAY['a b'::tsvector] AS x": ("tsvector", "x::text"),
}


@pytest.mark.parametrize("query", REFUSED)
def test_a_type_that_is_not_held_is_refused_by_name(query: str, reader: PostgresReader) -> None:
    type_name, way = REFUSED[query]

    with pytest.raises(UnsupportedTypeError, match=f"column 'x' is of type {type_name}") as caught:
        reader.query(query)

    assert way in caught.value.hint
    assert reader.query("SELECT 1 AS x")["x"].to_pylist() == [1]


BAD = {
    "SELECT 'NaN'::numeric(8, 2) AS x": "row 1 is NaN or infinite, which decimal128",
    "SELECT '[0:1]={1,2}'::int4[] AS x": "row 1 is an array whose first item does not have number",
    "VALUES ('{{1}}'::int4[]), ('{}'), ('{1}')": r"row 3 has 1 dimension\(s\) where row 1 has 2",
    "SELECT '300 years 2600000:00:00'::interval AS x": "row 1 is an interval whose time",
    "SELECT ARRAY[date 'infinity'] AS x": r"row 1 \(x.item\) is an infinite date",
    "SELECT '24:00:00+00'::timetz AS x": r"row 1 \(x.time\) is 24:00:00",
}


@pytest.mark.parametrize("query", BAD)
def test_a_value_that_is_not_held_is_refused_by_row(query: str, reader: PostgresReader) -> None:
    with pytest.raises(BadValueError, match=BAD[query]) as caught:
        reader.query(query)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("decimal128(10, 2)", "has more digits behind the point than decimal128"),
        ("decimal128(4, 3)", "has more digits than decimal128"),
    ],
)
def test_a_decimal_that_is_too_small_names_the_row(
    choice: str, message: str, reader: PostgresReader
) -> None:
    with pytest.raises(BadValueError, match=f"column 'x', row 2 {message}"):
        reader.query(
            "VALUES (1::numeric), (12.345)".replace("VALUES", "SELECT * FROM (VALUES") + ") v(x)",
            options=ReadOptions(numeric=choice),
        )


def test_texts_that_repeat_become_a_dictionary(reader: PostgresReader) -> None:
    query = (
        "SELECT 'i' || g % 50 AS low, 'i' || g AS high, CASE WHEN g % 3 > 0 THEN 'x' END AS some, "
        "('i' || g % 5)::name AS name, NULL::text AS nothing, '{}'::json AS json "
        "FROM generate_series(1, 2000) g"
    )

    auto: Any = reader.query(query)
    plain: Any = reader.query(query, options=ReadOptions(texts="plain"))

    kinds = {field.name: field.type for field in auto.schema}
    assert kinds == {
        "low": CODES, "high": TEXT, "some": CODES, "name": CODES, "nothing": TEXT, "json": TEXT,
    }  # fmt: skip
    assert set(plain.schema.types) == {TEXT}
    for name in kinds:
        assert auto[name].to_pylist() == plain[name].to_pylist()


def test_few_rows_stay_plain_texts_and_a_dictionary_may_be_asked_for(
    reader: PostgresReader,
) -> None:
    query = "SELECT 'x' AS x FROM generate_series(1, 999)"

    auto: Any = reader.query(query)
    asked: Any = reader.query(query, options=ReadOptions(texts="dictionary"))

    assert (auto["x"].type, asked["x"].type) == (TEXT, CODES)
    with pytest.raises(BadParameterError, match="more than 100,000 different texts"):
        reader.query(
            "SELECT g::text AS x FROM generate_series(1, 100001) g",
            options=ReadOptions(texts="dictionary"),
        )
