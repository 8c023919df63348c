"""Aggregates of a real table: asked there, folded here and written down plainly are equal."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from neural_gpu_bus import DataPlane
from neural_gpu_bus.aggregates import Aggregate, operations_of
from neural_gpu_bus.aggregates.request import DEFAULT_ORIGIN
from neural_gpu_bus.embedded.records import Addresses
from neural_gpu_bus.errors import (
    BadParameterError,
    ColumnNotFoundError,
    DatasetNotFoundError,
    UnsupportedTypeError,
)
from neural_gpu_bus.settings import Settings
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
    folder: Path = tmp_path_factory.mktemp("memory")
    folder.chmod(0o700)
    nobody = SecretStr("redis://127.0.0.1:1/0")
    addresses = Addresses(SecretStr(postgres_dsn), nobody, nobody, nobody, folder, {})
    attachment: Any = SimpleNamespace(addresses=addresses, close=lambda: None)
    home = tmp_path_factory.mktemp("home")
    with DataPlane(Settings(home=home, memory_bytes_max=256 << 20), attachment) as opened:
        yield opened


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


@pytest.fixture(scope="module")
def bars(server: psycopg.Connection) -> Iterator[str]:
    """100,000 bars of 20 instruments, with the index that finds one of them."""
    name = f"bars_{uuid.uuid4().hex[:8]}"
    server.execute(
        f"""CREATE TABLE {name} AS SELECT 'I' || i % 20 AS instrument_id, '1-MINUTE' AS bar_type,
        timestamptz '2024-01-01Z' + i / 20 * interval '1 minute' AS ts,
        100 + sin(i)::float8 AS open, 102 + sin(i)::float8 AS high, 98 + sin(i)::float8 AS low,
        100 + cos(i)::float8 AS close, (i % 97)::float8 AS volume
        FROM generate_series(0, 99999) AS i""".encode()
    )
    server.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (instrument_id, bar_type, ts)".encode())
    server.execute(f"ANALYZE {name}".encode())
    yield name
    server.execute(f"DROP TABLE {name}".encode())
    server.execute(f"DROP TABLE IF EXISTS {name}_analysed, {name}_daily".encode())


def test_the_choice_is_explained_and_learnt(plane: DataPlane, bars: str) -> None:
    given: dict[str, Any] = {"by": "instrument_id", "mean": ["open", "close"], "std": "close"}
    before = plane.explain_aggregate(bars, **given)
    ways = [plane.aggregate(bars, engine=engine, **given) for engine in ("database", "resident")]
    after = plane.explain_aggregate(bars, **given)

    assert before.engine in {"database", "resident"}
    assert "PostgreSQL" in before.why or "here" in before.why
    assert "GROUP BY" in before.sql
    assert (after.measured, after.rows) == (True, 100_000)
    assert after.database_s > 0
    assert after.resident_s > 0
    assert_alike(ways[0].arrow(), [tuple(row.values()) for row in ways[1].arrow().to_pylist()])
    assert plane.explain_aggregate(bars, engine="resident", **given).engine == "resident"


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


def test_a_series_is_its_parts_merged(plane: DataPlane, bars: str) -> None:
    """Each workload by itself gives the same columns."""
    from neural_gpu_bus.workloads import check_params, find

    found = plane.time_series("I7", "1-MINUTE", last=500, table=bars, indicators={"sma": 5})
    newest = plane.query(
        f"SELECT * FROM (SELECT * FROM {bars} WHERE instrument_id = 'I7'"
        " ORDER BY ts DESC LIMIT 500) AS n ORDER BY ts"
    )
    assert (found["ts"] == newest["ts"]).all()
    assert (found["close"] == newest["close"]).all()
    for name, given, prefix in (
        ("indicators.technical", {"sma": 5}, ""),
        ("patterns.shape", {}, "pattern_"),
    ):
        workload = find(name)
        params = check_params(workload, given)
        outputs = workload.kernels.cpu(workload.prepare({"bars": newest}, params), params)
        alone = workload.table(outputs, params)
        first = 500 - alone.num_rows
        for column in alone.column_names[1:]:
            if column == "shape":
                assert found["pattern"][first:].tolist() == alone["shape"].to_pylist()
                assert found["pattern"][:first].tolist() == [None] * first
            else:
                mine = found[prefix + column]
                np.testing.assert_array_equal(mine[first:], alone[column].to_numpy())
                assert np.isnan(mine[:first]).all()


@pytest.mark.parametrize("last", [1, 31, 32])
def test_short_series_are_not_defined_yet(plane: DataPlane, bars: str, last: int) -> None:
    found = plane.time_series("I1", "1-MINUTE", last=last, table=bars)

    assert found.rows == last
    assert int(np.isfinite(found["pattern_score"]).sum()) == max(0, last - 31)
    assert "pattern_score" not in plane.time_series("I1", "1-MINUTE", table=bars, patterns=False)


def test_the_network_scores_the_same_patterns(plane: DataPlane, bars: str) -> None:
    pytest.importorskip("onnxruntime")
    mine, network = (
        plane.time_series("I2", "1-MINUTE", last=200, table=bars, engine=engine)
        for engine in ("cpu", "neural")
    )

    np.testing.assert_allclose(mine["pattern_score"], network["pattern_score"], atol=1e-5)
    np.testing.assert_array_equal(mine["ema"], network["ema"])


def test_a_series_is_stored_once_a_bar(plane: DataPlane, bars: str) -> None:
    for last in (50, 60):
        plane.time_series(
            "I3", "1-MINUTE", last=last, table=bars, name="series", store=f"{bars}_analysed"
        )
    stored = plane.query(
        f"SELECT sma, pattern FROM {bars}_analysed WHERE instrument_id = 'I3' ORDER BY ts"
    )

    assert stored.rows == 60
    np.testing.assert_array_equal(stored["sma"], plane.get("series")["sma"])


def test_an_unknown_instrument_is_told_with_what_is_like_it(plane: DataPlane, bars: str) -> None:
    with pytest.raises(BadParameterError, match="did you mean 'I1"):
        plane.time_series("I1X", "1-MINUTE", table=bars)
    with pytest.raises(BadParameterError, match="it has '1-MINUTE'"):
        plane.time_series("I7", "5-MINUTE", table=bars)


assert set(TYPES) == set(SCHEMA.names)
