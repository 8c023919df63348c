"""``ngb watch`` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from acceptance.conftest import COMMAND
from neural_gpu_bus import DataPlane
from neural_gpu_bus.embedded.handover import to_environment

pytestmark = pytest.mark.slow


def test_a_line_for_each_run_until_ctrl_c(plane: DataPlane, table: str, tmp_path: Path) -> None:
    positions = {"asset": ["A"], "desk": ["fx"], "quantity": [10.0]}
    prices = {"asset": ["A"] * 3, "ts": [1, 2, 3], "close": [10.0, 11.0, 9.0]}
    plane.store(table, positions, key=["asset"], mode="upsert")
    plane.store(f"{table}_prices", prices, key=["ts"], mode="upsert")
    for name in (table, f"{table}_prices"):
        plane.live(name, timeout_s=60)
    arguments = [
        *("watch", "risk.portfolio", f"positions={table}", f"prices={table}_prices"),
        *("--column", "prices.date=ts", "--column", "prices.price=close", "confidence=0.5"),
        *("--store", f"{table}_risk", "--key", "desk", "--publish", table, "--json"),
    ]
    watched = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=to_environment(plane.settings, {"NO_COLOR": "1"}),
    )
    try:
        assert watched.stdout is not None
        lines = iter(watched.stdout.readline, "")
        first = json.loads(next(lines))
        assert [row["value"] for row in first["rows"]] == [90.0, 90.0]
        plane.store(table, {**positions, "quantity": [20.0]}, key=["asset"], mode="upsert")
        found = next(json.loads(line) for line in lines if '"value":180.0' in line)
        assert found["changes"] >= 1
        stored = plane.query(f"SELECT value, as_of_lsn FROM {table}_risk")
        assert stored["value"].tolist() == [180.0, 180.0]
        assert set(stored["as_of_lsn"]) == {found["lsn"]}
        assert plane.redis.read(table)["value"].to_pylist() == [180.0, 180.0]
        watched.send_signal(signal.SIGINT)
        assert watched.wait(30) == 0
    finally:
        watched.kill()
        watched.communicate()
        for name in (table, f"{table}_prices"):
            plane.drop_live(name)
        with psycopg.connect(plane.addresses.postgres_dsn.get_secret_value()) as connection:
            connection.execute(f"DROP TABLE {table}_prices")
