"""Series of one instrument's newest bars with indicators and patterns, and storing them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from analysis_planes import made_bars, opened_plane
from neural_gpu_bus import DataPlane
from neural_gpu_bus.errors import BadParameterError


@pytest.fixture(scope="module")
def plane(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with opened_plane(postgres_dsn, tmp_path_factory) as plane:
        yield plane


@pytest.fixture(scope="module")
def server(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def bars(server: psycopg.Connection) -> Iterator[str]:
    with made_bars(server, f"bars_{uuid.uuid4().hex[:8]}") as name:
        yield name


def test_a_series_is_its_parts_merged(plane: DataPlane, bars: str) -> None:
    """Each workload by itself gives the same columns."""
    from neural_gpu_bus.workloads import check_params, find

    found = plane.time_series("I7", "1-MINUTE", last=5000, table=bars, indicators={"sma": 5})
    newest = plane.query(
        f"SELECT * FROM (SELECT * FROM {bars} WHERE instrument_id = 'I7'"
        " ORDER BY ts DESC LIMIT 5000) AS n ORDER BY ts"
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
        first = 5000 - alone.num_rows
        for column in alone.column_names[1:]:
            if column == "shape":
                assert found["pattern"][first:].tolist() == alone["shape"].to_pylist()
                assert found["pattern"][:first].tolist() == [None] * first
            else:
                mine = found[prefix + column]
                np.testing.assert_array_equal(mine[first:], alone[column].to_numpy())
                assert np.isnan(mine[:first]).all()


@pytest.mark.parametrize("rows", [1, 31, 32])
def test_short_series_are_not_defined_yet(
    plane: DataPlane, server: psycopg.Connection, bars: str, rows: int
) -> None:
    view = f"{bars}_first_{rows}"
    server.execute(
        f"""CREATE VIEW {view} AS SELECT * FROM {bars} WHERE instrument_id = 'I1'
        ORDER BY ts LIMIT {rows}""".encode()
    )
    try:
        found = plane.time_series("I1", "1-MINUTE", table=view)
        assert found.rows == rows
        assert int(np.isfinite(found["pattern_score"]).sum()) == max(0, rows - 31)
    finally:
        server.execute(f"DROP VIEW {view}".encode())
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


def test_how_many_bars_are_asked_for_changes_no_value(plane: DataPlane, bars: str) -> None:
    """Averages are read in: a relative 1e-9, of the closes where a value may be near 0."""
    many, few, one = (
        plane.time_series("I4", "1-MINUTE", last=last, table=bars) for last in (3000, 40, 1)
    )

    assert (many.rows, few.rows, one.rows) == (3000, 40, 1)
    for name in many:
        if many[name].dtype.kind != "f":
            assert many[name][-40:].tolist() == few[name].tolist()
            continue
        np.testing.assert_allclose(few[name], many[name][-40:], rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(one[name], many[name][-1:], rtol=1e-9, atol=1e-9, err_msg=name)
        assert np.isfinite(few[name]).all()


def test_what_is_stored_is_not_lost_to_a_shorter_series(
    plane: DataPlane, server: psycopg.Connection, bars: str
) -> None:
    stored = f"{bars}_analysed"
    statement = f"SELECT * FROM {stored} WHERE instrument_id = 'I5' ORDER BY ts"
    plane.time_series("I5", "1-MINUTE", last=1000, table=bars, store=stored)
    before = plane.query(statement)

    plane.time_series("I5", "1-MINUTE", last=50, table=bars, store=stored)
    server.execute(f"DELETE FROM {bars} WHERE instrument_id = 'I5' AND ts < "
        f"(SELECT max(ts) FROM {bars}) - interval '20 minutes'".encode())  # fmt: skip
    shown = plane.time_series("I5", "1-MINUTE", last=50, table=bars, store=stored)
    after = plane.query(statement)

    assert np.isnan(shown["macd"]).all()
    assert before.rows == after.rows == 1000
    for name in ("sma", "macd_signal", "rsi", "atr", "pattern_score"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_prices_are_any_numbers_and_bars_without_them_are_left_out(
    plane: DataPlane, server: psycopg.Connection
) -> None:
    name = f"exact_{uuid.uuid4().hex[:8]}"
    server.execute(
        f"""CREATE TABLE {name} AS SELECT 'A' AS instrument_id, 'M' AS bar_type,
        timestamptz '2024-01-01Z' + i * interval '1 minute' AS ts, 100.25::numeric AS open,
        (102 + i % 3)::numeric(12,2) AS high, 98::float4 AS low,
        CASE i WHEN 7 THEN NULL WHEN 8 THEN 'NaN' ELSE 100.5 END::numeric AS close,
        i::int8 AS volume FROM generate_series(1, 60) AS i""".encode()
    )
    try:
        found = plane.time_series("A", "M", table=name)

        assert found.rows == 58
        assert found["close"].tolist() == [100.5] * 58
        assert found["volume"].tolist() == [*range(1, 7), *range(9, 61)]
    finally:
        server.execute(f"DROP TABLE {name}".encode())
