"""Where a table is asked, what it is asked with, and what becomes of the answer."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from analysis_planes import made_bars, opened_plane
from neural_gpu_bus import DataPlane
from neural_gpu_bus.aggregates.rates import Estimate, Rates, RatesFile, choose
from neural_gpu_bus.analysis import table_aggregates
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ColumnNotFoundError,
    DatasetNotFoundError,
    QueryTimeoutError,
    UnsupportedTypeError,
)
from plain_aggregates import alike


@pytest.fixture(scope="module")
def plane(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with opened_plane(postgres_dsn, tmp_path_factory) as plane:
        yield plane


@pytest.fixture(scope="module")
def server(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


def assert_alike(found: pa.Table, expected: list[tuple[Any, ...]]) -> None:
    mine = [tuple(row.values()) for row in found.to_pylist()]
    assert len(mine) == len(expected)
    for one, other in zip(mine, expected, strict=True):
        both = zip(found.column_names, one, other, strict=True)
        assert [(name, a, b) for name, a, b in both if not alike(a, b, scale=1e7)] == []


@pytest.fixture(scope="module")
def bars(server: psycopg.Connection) -> Iterator[str]:
    with made_bars(server, f"bars_{uuid.uuid4().hex[:8]}") as name:
        yield name


def test_the_choice_is_explained_and_learnt(plane: DataPlane, bars: str) -> None:
    given: dict[str, Any] = {"by": "instrument_id", "mean": ["open", "close"], "std": "close"}
    before = plane.explain_aggregate(bars, **given)
    engines = ("database", "resident") * 2  # a process's first run is not counted
    ways = [plane.aggregate(bars, engine=engine, **given) for engine in engines]
    after = plane.explain_aggregate(bars, **given)

    assert before.engine in {"database", "resident"}
    assert "PostgreSQL" in before.why or "here" in before.why
    assert "GROUP BY" in before.sql
    assert (after.measured, after.rows) == (True, 100_000)
    assert after.database_s > 0
    assert after.resident_s > 0
    assert_alike(ways[0].arrow(), [tuple(row.values()) for row in ways[1].arrow().to_pylist()])
    assert plane.explain_aggregate(bars, engine="resident", **given).engine == "resident"


def test_rates_are_known_by_server_and_a_first_run_is_not_counted(
    plane: DataPlane, server: psycopg.Connection, bars: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private server changes its port; what is loaded and compiled at first is no rate."""
    monkeypatch.setattr(table_aggregates, "_gone", set())
    file = RatesFile(plane.settings.home / "cache" / "aggregate_rates.json")
    (row,) = server.execute("SELECT system_identifier::text FROM pg_control_system()").fetchall()
    key = f"{row[0]}/{server.info.dbname}"
    counts = []
    for _ in range(2):
        plane.aggregate(bars, by="instrument_id", sum="close", engine="resident")
        counts.append(file.read(key).resident_runs)

    assert counts[1] == counts[0] + 1


def test_few_rows_of_many_are_asked_for_there(plane: DataPlane, bars: str) -> None:
    """A count of all rows reads nothing: the server is cheaper by any rate."""
    assert plane.explain_aggregate(bars, count=True).engine == "database"


def test_a_dataset_is_taken_before_a_table(plane: DataPlane, bars: str) -> None:
    plane.put(bars, {"instrument_id": ["A", "A", "B"], "close": [1.0, 2.0, 3.0]})
    try:
        here = plane.aggregate(bars, by="instrument_id", sum="close")
        assert here.arrow().to_pydict() == {"instrument_id": ["A", "B"], "close_sum": [3.0, 3.0]}
        assert plane.explain_aggregate(bars, sum="close").why == "the columns are in memory"
        assert plane.aggregate(bars, engine="database", count=True)["count"].tolist() == [100_000]
    finally:
        plane.drop(bars)


def test_results_are_published_and_stored(plane: DataPlane, bars: str) -> None:
    for _ in range(2):  # the same job again stores nothing more
        plane.aggregate(
            bars,
            by="instrument_id",
            bucket=("ts", "1 day"),
            ohlcv=("close", "volume"),
            name="daily",
            table=f"{bars}_daily",
            job_id=f"daily-{bars}",
        )
    stored = plane.query(f"SELECT count(*) AS n, max(high) AS high FROM {bars}_daily")

    assert stored["n"].tolist() == [plane.get("daily").rows]
    assert stored["high"].tolist() == [plane.get("daily")["high"].max()]


def test_what_is_nowhere_is_told_with_what_is_like_it(plane: DataPlane, bars: str) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"did you mean '{bars}'"):
        plane.aggregate(bars[:-1], count=True)
    with pytest.raises(ColumnNotFoundError, match="did you mean 'close'"):
        plane.aggregate(bars, mean="clsoe")
    with pytest.raises(UnsupportedTypeError, match="bar_type"):
        plane.aggregate(bars, mean="bar_type")
    with pytest.raises(BadParameterError, match="in no database"):
        plane.aggregate({"x": [1]}, count=True, engine="database")


def test_types_that_only_the_server_has(plane: DataPlane, server: psycopg.Connection) -> None:
    """Labels of an enum, domains, small floats and integers."""
    name = f"kinds_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE TYPE {name}_side AS ENUM ('sell', 'buy')".encode())
    server.execute(f"CREATE DOMAIN {name}_price AS float8 CHECK (value > 0)".encode())
    server.execute(
        f"""CREATE TABLE {name} AS SELECT v.* FROM (VALUES
        ('buy'::{name}_side, 1.5::{name}_price, 1.25::float4, '2024-02-01Z'::timestamptz, 10::int4),
        ('sell', 2.5, 2.5, '2024-01-01Z', 20), ('sell', 3.5, NULL, NULL, NULL)
        ) AS v (side, price, ratio, ts, size)""".encode()
    )
    try:
        found = [
            plane.aggregate(
                name, by="side", mean="price", sum=["ratio", "size"], max="ts", engine=engine
            ).arrow()
            for engine in ("database", "resident")
        ]
        assert found[0].to_pydict() == found[1].to_pydict()
        assert found[0]["side"].to_pylist() == ["buy", "sell"]
        assert found[0]["price_mean"].to_pylist() == [1.5, 3.0]
    finally:
        server.execute(f"DROP TABLE {name}".encode())
        server.execute(f"DROP TYPE {name}_side".encode())
        server.execute(f"DROP DOMAIN {name}_price".encode())


@pytest.mark.parametrize("engine", [None, "database", "resident"])
def test_a_table_is_seen_as_of_a_snapshot(
    plane: DataPlane, server: psycopg.Connection, engine: Any
) -> None:
    name = f"moments_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE TABLE {name} AS SELECT 1 AS x".encode())
    try:
        with plane.snapshot() as snapshot:
            server.execute(f"INSERT INTO {name} VALUES (2)".encode())
            before = plane.aggregate(name, sum="x", engine=engine, snapshot=snapshot)
            after = plane.aggregate(name, sum="x", engine=engine)
    finally:
        server.execute(f"DROP TABLE {name}".encode())
    assert (before["x_sum"].tolist(), after["x_sum"].tolist()) == ([1], [3])


@pytest.mark.parametrize("engine", [None, "database", "resident"])
def test_a_lock_is_waited_for_no_longer_than_asked(
    plane: DataPlane, server: psycopg.Connection, bars: str, engine: Any
) -> None:
    """The server's estimate waits for it as well."""
    with server.transaction():
        server.execute(f"LOCK TABLE {bars}".encode())
        with pytest.raises(QueryTimeoutError, match=r"0\.2 s"):
            plane.aggregate(bars, count="close", engine=engine, timeout_s=0.2)


def test_columns_in_memory_take_no_snapshot_and_no_time(plane: DataPlane) -> None:
    with pytest.raises(BadParameterError, match=r"snapshot is .*in memory already"):
        plane.aggregate({"x": [1]}, count=True, snapshot="00000003-1")
    with pytest.raises(BadParameterError, match=r"timeout_s is .*in memory already"):
        plane.aggregate({"x": [1]}, count=True, timeout_s=1.0)


@pytest.fixture(scope="module")
def awkward(server: psycopg.Connection) -> Iterator[str]:
    """Values that PostgreSQL orders and no column of a Frame holds."""
    name = f"awkward_{uuid.uuid4().hex[:8]}"
    server.execute(
        f"""CREATE TABLE {name} AS SELECT (i % 11)::numeric AS n,
        CASE WHEN i % 2 = 0 THEN 1.0 ELSE 1.00 END::numeric AS one,
        (i * 100)::numeric(6,-2) AS hundreds, i % 50 AS k, i::float8 AS v,
        CASE WHEN i = 1 THEN 'infinity' ELSE now() END::timestamptz AS ts
        FROM generate_series(1, 3000) AS i""".encode()
    )
    yield name
    server.execute(f"DROP TABLE {name}".encode())


def test_numeric_without_a_scale_is_left_to_the_server(
    plane: DataPlane, awkward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read as text, whose order is another: '9' would be above '10'."""
    prefer_folding_here(monkeypatch)
    for given, expected in (
        ({"max": "n"}, {"n_max": [Decimal(10)]}),
        ({"quantile_disc": ("n", 1.0)}, {"n_quantile_disc_1": [Decimal(10)]}),
        ({"by": "one", "count": True}, {"one": [Decimal(1)], "count": [3000]}),
        ({"max": "hundreds"}, {"hundreds_max": [Decimal(300_000)]}),
        ({"sum": "n"}, {"n_sum": [Decimal(14_996)]}),
    ):
        plan = plane.explain_aggregate(awkward, **given)
        found = plane.aggregate(awkward, **given).arrow().to_pydict()

        assert (plan.engine, "scale" in plan.why) == ("database", True)
        assert {
            name: [Decimal(value) for value in values] for name, values in found.items()
        } == expected
        here = plane.aggregate(awkward, engine="resident", **given).arrow().to_pydict()
        assert here == expected
    assert plane.explain_aggregate(awkward, max="v", where="n > 5").engine == "resident"


def test_numeric_counts_as_what_is_asked_for(plane: DataPlane, awkward: str) -> None:
    """Sums are numbers both ways: exact decimals, floats, or decimals of a scale given."""
    wanted: dict[str, Any] = {"by": "k", "sum": "n", "mean": "n", "max": "n"}
    for numeric, kind in (
        ("exact", pa.decimal128(38, 0)),
        ("float64", pa.float64()),
        ({"n": "decimal128(12, 3)"}, pa.decimal128(38, 3)),
    ):
        there, here = (
            plane.aggregate(awkward, engine=engine, numeric=numeric, **wanted).arrow()
            for engine in ("database", "resident")
        )
        assert there.schema.field("n_sum").type == here.schema.field("n_sum").type == kind
        assert_alike(there, [tuple(row.values()) for row in here.to_pylist()])
    with pytest.raises(BadParameterError, match="texts are not summed"):
        plane.aggregate(awkward, sum="n", numeric="text")
    with pytest.raises(ColumnNotFoundError, match="numeric names 'm'"):
        plane.aggregate(awkward, sum="n", numeric={"m": "float64"})
    with pytest.raises(BadParameterError, match="in memory already"):
        plane.aggregate({"n": [1.0]}, sum="n", numeric="float64")


def test_numeric_that_no_decimal_holds_is_refused_by_name(
    plane: DataPlane, server: psycopg.Connection
) -> None:
    name = f"odd_{uuid.uuid4().hex[:8]}"
    server.execute(
        f"CREATE TABLE {name} AS SELECT v::numeric FROM unnest('{{1.5,NaN}}'::numeric[]) v".encode()
    )
    try:
        for engine in ("database", "resident"):
            with pytest.raises(BadValueError, match="'v' has a number that no decimal holds"):
                plane.aggregate(name, sum="v", engine=engine)
            found = plane.aggregate(name, sum="v", numeric="float64", engine=engine)
            assert math.isnan(found["v_sum"][0])
    finally:
        server.execute(f"DROP TABLE {name}".encode())


def test_a_large_table_is_read_by_several_connections(
    plane: DataPlane, bars: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``plane.table`` reads; the answer is the same, with a condition too."""
    given: dict[str, Any] = {"by": "instrument_id", "sum": "volume", "where": "close > 100.5"}
    expected = plane.aggregate(bars, engine="resident", **given).arrow()
    monkeypatch.setattr(table_aggregates, "_SHARED_BYTES_MIN", 0)

    assert_alike(
        plane.aggregate(bars, engine="resident", **given).arrow(),
        [tuple(row.values()) for row in expected.to_pylist()],
    )


def test_what_cannot_be_read_here_is_asked_there(
    plane: DataPlane, awkward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer_folding_here(monkeypatch)
    given: dict[str, Any] = {"last": "v", "order_by": "ts"}

    assert plane.explain_aggregate(awkward, **given).engine == "resident"
    assert plane.aggregate(awkward, **given)["v_last"].tolist() == [1.0]
    with pytest.raises(BadValueError, match="infinity"):
        plane.aggregate(awkward, engine="resident", **given)


def prefer_folding_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every unit of the server's work took a second."""
    rates = Rates(cost_unit_s=1.0, read_bytes_per_s=1e14, database_runs=1, resident_runs=1)
    here = Estimate(1e-6, 3000, 8)
    monkeypatch.setattr(
        table_aggregates,
        "choose",
        lambda _, there, read, **kept: choose(rates, there, here, **kept),
    )
