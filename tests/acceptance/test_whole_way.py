"""The whole way: files, PostgreSQL, shared memory, a worker's engine, PostgreSQL and Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import neural_gpu_bus
from acceptance.conftest import Ngb
from fix_servers import wait_until
from naive import portfolio_risk
from neural_gpu_bus import DataPlane, embedded
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.settings import Settings

SEED = 20_261_122
ASSETS = ("AAA", "BBB", "CCC", "DDD")
DAYS = 300


def prices_file(folder: Path) -> Path:
    """Random walks of four assets as a Parquet file."""
    random = np.random.default_rng(SEED)
    days = np.arange("2024-01-01", DAYS, dtype="datetime64[D]")
    walks = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (DAYS, len(ASSETS))), axis=0))
    columns = {
        "date": np.tile(days, len(ASSETS)),
        "asset": np.repeat(ASSETS, DAYS).tolist(),
        "price": walks.T.ravel(),
    }
    pq.write_table(pa.table(columns), folder / "prices.parquet")
    return folder / "prices.parquet"


POSITIONS = {
    "desk": ["EU", "EU", "US", "US"],
    "asset": list(ASSETS),
    "quantity": [100.0, -50.0, 25.0, 10.0],
}


def test_from_file_to_stored_result(ngb: Ngb, plane: DataPlane, table: str, tmp_path: Path) -> None:
    file = prices_file(tmp_path)
    assert ngb("load", file, "--table", table, "--key", "asset,date").returncode == 0
    prices = plane.query(f'SELECT date, asset, price FROM "{table}"')

    job = plane.submit(
        "risk.portfolio",
        {"prices": prices, "positions": POSITIONS, "confidence": 0.99},
        table=f"{table}_risk",
        redis_key=f"{table}:risk",
    )
    frame = job.wait_result(30)

    expected = portfolio_risk(
        list(zip(*pq.read_table(file).to_pydict().values(), strict=True)),
        list(zip(*POSITIONS.values(), strict=True)),
        confidence=0.99,
    )
    stored = plane.query(f'SELECT * FROM "{table}_risk"').arrow()
    assert frame["desk"].tolist() == ["EU", "US", "TOTAL"]
    for row, (_, at_risk, shortfall, _) in enumerate(expected.values()):
        assert frame["value_at_risk"][row] == pytest.approx(at_risk, rel=1e-10)
        assert frame["expected_shortfall"][row] == pytest.approx(shortfall, rel=1e-10)
    assert stored.to_pydict() == frame.arrow().to_pydict()
    assert plane.redis.read(f"{table}:risk").to_pydict() == frame.arrow().to_pydict()
    assert job.record.stored_rows == 3
    assert {table, f"{table}_risk"} <= set(plane.tables()["name"])
    assert plane.engine_logic.read("results")[-1].payload["job_id"] == job.id


def test_one_job_id_stores_once(plane: DataPlane, table: str) -> None:
    factors = {"a": [1.0, 2.0, 4.0], "b": [2.0, 1.0, 0.5]}
    job_id = uuid.uuid4().hex
    for _ in range(2):
        job = plane.submit(
            "factor.correlation", {"factors": factors}, table=f"{table}_risk", job_id=job_id
        )
        job.wait_result(30)

    assert plane.query(f'SELECT count(*) AS rows FROM "{table}_risk"')["rows"][0] == 2


def test_one_id_is_one_job(plane: DataPlane) -> None:
    factors = {"a": [1.0, 2.0, 4.0], "b": [2.0, 1.0, 0.5]}
    job_id = uuid.uuid4().hex
    first = plane.submit("factor.correlation", {"factors": factors}, job_id=job_id).wait_result(30)
    again = plane.submit("factor.correlation", {"factors": factors}, job_id=job_id).wait_result(30)
    with pytest.raises(BadParameterError, match="is the id of another job"):
        plane.submit("factor.correlation", {"factors": factors | {"a": [3.0, 2, 4]}}, job_id=job_id)

    assert again == first


def test_arguments_of_the_wrong_type_are_refused_at_the_call(plane: DataPlane) -> None:
    job = plane.submit("factor.correlation", {"factors": {"a": [1.0, 2.0]}})
    for call in (
        lambda: plane.query(None),  # type: ignore[arg-type]
        lambda: plane.query("SELECT 1", timeout_s="x"),  # type: ignore[arg-type]
        lambda: plane.query("SELECT 1", name=5),  # type: ignore[arg-type]
        lambda: plane.query("SELECT 1", name="jobs/a"),
        lambda: job.wait_result(timeout_s="x"),  # type: ignore[arg-type]
        lambda: plane.redis.write("ngb:{bus}:jobs", pa.table({"a": [1]})),
    ):
        with pytest.raises(BadParameterError, match=r"expected|name|would break the bus"):
            call()


def test_another_process_sees_the_same_bytes_and_cannot_write(
    plane: DataPlane, home_settings: Settings
) -> None:
    frame = plane.put("shared_prices", {"price": np.arange(100_000.0)})
    program = """
import neural_gpu_bus as ngb, os, sys
with ngb.open() as plane:
    frame = plane.get("shared_prices")
    column = frame["price"]
    try:
        column[0] = 1
    except ValueError as error:
        print("refused:", error)
    address = column.__array_interface__["data"][0]
    for line in open("/proc/self/maps"):
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        if first <= address < last:
            print(line.split()[1], line.split()[4], column.sum())
"""
    if not Path("/proc/self/maps").exists():
        pytest.skip("the mapping is read from /proc")

    said = subprocess.run(
        [sys.executable, "-c", program],
        env=to_environment(home_settings, os.environ),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        timeout=60,
    ).stdout.splitlines()

    block = plane.addresses.memory_folder / frame.descriptor.path
    assert said[0].startswith("refused:")
    assert said[1].split() == ["r--s", str(block.stat().st_ino), "4999950000.0"]


def test_a_killed_worker_loses_no_job_and_stores_no_row_twice(plane: DataPlane, table: str) -> None:
    """A busy worker is killed while twelve jobs are on their way."""
    random = np.random.default_rng(SEED)
    factors = plane.put("many_factors", {f"f{n}": random.normal(size=400_000) for n in range(12)})
    jobs = [
        plane.submit("factor.correlation", {"factors": factors}, table=f"{table}_risk")
        for _ in range(12)
    ]
    kill_a_busy_worker(plane)

    results = [job.wait_result(60) for job in jobs]

    stored = plane.query(f'SELECT factor FROM "{table}_risk"')
    assert all(frame.rows == 12 for frame in results)
    assert any(job.record.deliveries > 1 for job in jobs)
    assert stored.rows == 12 * 12


def kill_a_busy_worker(plane: DataPlane) -> None:
    """Kill -9 of a worker while both are at a job."""
    wait_until(lambda: plane.statistics().bus.running >= 2, "two busy workers")
    status = embedded.status(plane.settings)
    psutil.Process(status.workers[0].pid).send_signal(signal.SIGKILL)


def test_a_job_that_fails_in_the_worker_says_why(plane: DataPlane) -> None:
    """A NULL is only seen by the worker; the error comes home with its hint."""
    bars = {"ts": np.arange(40), "close": pa.array([1.0] * 39 + [None])}

    job = plane.submit("patterns.shape", {"bars": bars})

    with pytest.raises(neural_gpu_bus.errors.BadParameterError, match="is NULL in row 40"):
        job.wait_result(30)


def test_ngb_submit_shows_result_and_engine(ngb: Ngb) -> None:
    assert (
        ngb(
            "query",
            "SELECT g::float8 AS a, (g * g)::float8 AS b FROM generate_series(1, 9) g",
            "--name",
            "squares",
        ).returncode
        == 0
    )

    result = ngb("submit", "factor.correlation", "factors=squares", "--engine", "cpu")

    assert result.returncode == 0, result.stderr
    assert "engine cpu (numba)" in result.stdout
    assert "0.97" in result.stdout
