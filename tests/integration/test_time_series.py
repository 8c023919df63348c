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
