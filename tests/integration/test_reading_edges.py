"""Reading where names, snapshots and types stand across each other: what a table is asked for is
what the server gives, and what cannot be read is said by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fix_reader import open_reader
from fix_stores import Playground
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ColumnNotFoundError,
    QueryError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader


@pytest.fixture(params=[True, False], ids=["direct", "libpq"])
def several(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[PostgresReader]:
    with open_reader(postgres_dsn, direct=request.param, connections_max=4) as made:
        yield made


def rows(found: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in found.to_pylist()]


# ---- streams


def test_a_closed_stream_gives_nothing_more(several: PostgresReader) -> None:
    """Its buffer and its connection are others' by then."""
    stream = several.stream("SELECT i FROM generate_series(1, 300000) i", batch_rows=10)
    next(stream)
    stream.close()

    with pytest.raises(QueryError, match=r"the stream is closed\nhint: .*plane\.stream"):
        next(stream)
    with pytest.raises(QueryError, match="the stream is closed"):
        next(stream)
    assert rows(several.query("SELECT 1 AS x")) == [{"x": 1}]


def test_a_stream_at_its_end_stays_there(several: PostgresReader) -> None:
    stream = several.stream("SELECT 1 AS x")

    assert [batch["x"].to_pylist() for batch in stream] == [[1]]  # type: ignore[attr-defined]
    assert list(stream) == []
    stream.close()
    assert list(stream) == []


def test_a_stream_that_failed_is_closed(several: PostgresReader) -> None:
    stream = several.stream("SELECT 1 / (i - 500) AS x FROM generate_series(1, 1000) i")

    with pytest.raises(QueryError, match="division by zero"):
        list(stream)
    with pytest.raises(QueryError, match="the stream is closed"):
        next(stream)


# ---- tables


FAMILY = """
CREATE TABLE base (a int, b text);
CREATE TABLE child (extra int) INHERITS (base);
INSERT INTO base SELECT i, 'p' || i FROM generate_series(1, 20000) i;
INSERT INTO child SELECT i, 'c' || i FROM generate_series(1, 20000) i;
"""
PARTED = """
CREATE TABLE base (a int, b text) PARTITION BY LIST (a);
CREATE TABLE one (b text, a int);
ALTER TABLE base ATTACH PARTITION one FOR VALUES IN (1);
CREATE TABLE rest PARTITION OF base DEFAULT;
INSERT INTO base SELECT i % 7, 'c' || i FROM generate_series(1, 40000) i;
"""


@pytest.mark.parametrize("make", [FAMILY, PARTED], ids=["inherited", "partitioned"])
@pytest.mark.parametrize(
    "where",
    [
        "base IS NOT NULL",
        "base::text LIKE '(1,c%%'",
        '"base" = ROW(1, b)::{schema}.base',
        "row_to_json(Base.*)::text LIKE '%%\"a\":1,%%'",
        "{schema}.base.a < 3",
        "base.a < 3",
        "tableoid <> '{schema}.base'::regclass",
    ],
)
def test_a_condition_on_the_row_as_a_whole_means_the_tables_row(
    several: PostgresReader, playground: Playground, make: str, where: str
) -> None:
    """A child's row has more columns, or the same in another order."""
    playground.run(make)
    table, where = playground.table("base"), where.format(schema=playground.schema)

    found = rows(several.table(table, where=where, connections=3, params=[]))

    asked = f"SELECT count(*) AS n, sum(length(b)) AS s FROM {table} WHERE {where}"
    [(count, size)] = playground.connection.execute(asked.replace("%%", "%").encode()).fetchall()
    assert (len(found), sum(len(row["b"]) for row in found)) == (count, size)
    assert count > 0


def test_only_the_row_as_a_whole_needs_one_connection(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run(FAMILY)

    found = several.table(playground.table("base"), where="base.a < 9", connections=2)
    whole = several.table(playground.table("base"), where="base IS NOT NULL", connections=2)

    report, alone = several.report(found), several.report(whole)
    assert report is not None
    assert alone is not None
    assert (report.connections, alone.connections) == (2, 1)
    assert "where names the table's row" in alone.why_one


def test_a_table_that_is_younger_than_the_snapshot(
    several: PostgresReader, playground: Playground
) -> None:
    with several.snapshot() as snapshot:
        playground.run("CREATE TABLE young AS SELECT 1 AS x")
        with pytest.raises(QueryError, match=r"young was made after snapshot .*\nhint: take a new"):
            several.table(playground.table("young"), snapshot=snapshot)
        assert rows(several.query("SELECT 1 AS x", snapshot=snapshot)) == [{"x": 1}]


def test_a_condition_that_is_no_text_is_refused_with_a_hint(several: PostgresReader) -> None:
    where: Any = {"symbol": "SPY"}
    with pytest.raises(BadParameterError, match=r"where is a dict.*\nhint: .*params=") as caught:
        several.table("pg_class", where=where)
    assert caught.value.facts["parameter"] == "where"


# ---- parameters


def test_times_of_a_frame_can_be_given_back(several: PostgresReader) -> None:
    moment = np.datetime64("2026-01-02T03:04:05.000006")
    given = {
        "t": moment,
        "d": np.datetime64("2026-01-02", "D"),
        "n": np.datetime64(moment, "ns"),
        "g": np.timedelta64(90, "m"),
        "no": np.datetime64("NaT"),
        "many": [moment, np.datetime64("2026-01-03", "s")],
        "i": np.int64(3),
        "f": np.float64(0.5),
        "b": np.bool_(True),
        "s": np.str_("x"),
    }
    [row] = rows(
        several.query(
            "SELECT %(t)s = '2026-01-02 03:04:05.000006'::timestamp AS t, %(t)s + %(g)s ="
            " '2026-01-02 04:34:05.000006'::timestamptz AS g, %(d)s = '2026-01-02'::date AS d,"
            " %(n)s = %(t)s AS n, %(no)s IS NULL AS no, '2026-01-03'::timestamp = ANY(%(many)s)"
            " AS many, %(i)s = 3 AS i, %(f)s = 0.5 AS f, %(b)s AS b, %(s)s = 'x' AS s",
            given,
        )
    )
    assert row == dict.fromkeys(row, True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.datetime64("2026-01-02T00:00:00.000000001", "ns"), "parts of a microsecond"),
        (np.datetime64(400_000, "Y"), "outside of the years 1 to 9999"),
        (np.timedelta64(3, "M"), "months or years"),
        (np.array([1, 2]), r"parameter 'x' is a numpy\.ndarray.*\nhint: .*tolist\(\)"),
        (object(), r"parameter 'x' is an object"),
        ([object()], r"parameter 'x' is a list"),
    ],
)
def test_parameters_that_are_no_values_are_named(
    several: PostgresReader, value: Any, message: str
) -> None:
    with pytest.raises(BadParameterError, match=message):
        several.query("SELECT %(x)s AS x", {"x": value})


# ---- types


def test_a_misspelt_column_among_the_choices_is_named(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run("CREATE TABLE a AS SELECT 1.5::numeric AS close, 1 AS i")
    options = ReadOptions(numeric={"clse": "float64"})
    table = playground.table("a")

    for read in (
        lambda: several.query(f"SELECT * FROM {table}", options=options),
        lambda: several.table(table, options=options),
        lambda: several.stream(f"SELECT * FROM {table}", options=options),
    ):
        with pytest.raises(ColumnNotFoundError, match=r"'clse'.*\nhint: did you mean 'close'"):
            read()


def test_types_that_have_no_binary_form_are_named_at_once(several: PostgresReader) -> None:
    for _ in range(2):
        with pytest.raises(UnsupportedTypeError, match=r"column 'relacl' is of type aclitem"):
            several.query("SELECT relacl FROM pg_class")
    assert rows(several.query("SELECT 1 AS x")) == [{"x": 1}]
    with pytest.raises(QueryError, match="nowhere"):
        several.query("SELECT nowhere(1) AS x")


def test_a_function_that_writes_does_not_where_its_result_is_refused(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run("CREATE TABLE log (x int)")
    playground.run(
        f"CREATE FUNCTION noted() RETURNS pg_snapshot LANGUAGE sql AS "
        f"'INSERT INTO {playground.table('log')} VALUES (1); SELECT pg_current_snapshot()'"
    )
    playground.run(
        f"CREATE FUNCTION kept() RETURNS int LANGUAGE sql AS "
        f"'INSERT INTO {playground.table('log')} VALUES (2) RETURNING x'"
    )

    with pytest.raises(UnsupportedTypeError, match="pg_snapshot"):
        several.query(f"SELECT {playground.table('noted')}() AS x")
    assert playground.rows("SELECT * FROM log") == []
    assert rows(several.query(f"SELECT {playground.table('kept')}() AS x")) == [{"x": 2}]
    assert playground.rows("SELECT * FROM log") == [(2,)]
    with pytest.raises(QueryError, match="division by zero"):
        several.query(f"SELECT {playground.table('kept')}() / (random() * 0)::int AS x")
    assert playground.rows("SELECT * FROM log") == [(2,)]
    assert rows(several.query("SELECT 1 AS x")) == [{"x": 1}]


def test_rows_without_columns_are_said(several: PostgresReader) -> None:
    with pytest.raises(QueryError, match=r"returns no columns to read"):
        several.query("SELECT FROM generate_series(1, 3)")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("daterange('2026-01-01', 'infinity')", "cast it: x::text"),
        ("ARRAY[timestamp 'infinity']", "cast it: x::text"),
        ("ARRAY['NaN'::numeric(8, 2)]", "numeric='text'"),
        ("date 'infinity'", "nullif"),
    ],
)
def test_hints_fit_what_the_column_is(several: PostgresReader, value: str, hint: str) -> None:
    with pytest.raises(BadValueError, match=f"column 'x'.*\nhint: .*{hint}") as caught:
        several.query(f"SELECT {value} AS x")
    if hint != "nullif":
        assert "nullif(x" not in str(caught.value)
        assert "isfinite(x" not in str(caught.value)


# ---- sizes


def test_a_function_whose_texts_are_wide_is_refused_early(postgres_dsn: str) -> None:
    """The planner takes a text for 32 bytes; what has come says better."""
    statement = "SELECT repeat('x', 1000) AS t, i FROM generate_series(1, 1000000) i"
    with (
        open_reader(postgres_dsn, received_bytes_max=128 << 20, connections_max=2) as reader,
        pytest.raises(QueryError, match=r"expected to have 1,000,000 rows and 9\d\d MiB") as caught,
    ):
        reader.query(statement)
    assert caught.value.facts["received_bytes"] < 64 << 20


def test_the_limit_says_what_was_expected(postgres_dsn: str, playground: Playground) -> None:
    playground.run("CREATE TABLE a AS SELECT i % 10 AS i FROM generate_series(1, 300000) i")
    playground.run("VACUUM ANALYZE a")
    statement = f"SELECT i, repeat('x', 100) FROM {playground.table('a')} WHERE i >= 0"
    with (
        open_reader(postgres_dsn, received_bytes_max=8 << 20, connections_max=2) as reader,
        pytest.raises(
            QueryError,
            match=r"larger than 8 MiB; the server expects [0-9,]+ rows, which are \d+ MiB",
        ),
    ):
        reader.query(statement)


def test_a_column_with_parts_is_read_again_and_again(several: PostgresReader) -> None:
    statement = "SELECT time with time zone '12:00:00+00' AS x, point(1, 2) AS p"
    first = rows(several.query(statement))

    assert first[0]["p"] == {"x": 1.0, "y": 2.0}
    assert rows(several.query(statement)) == first
