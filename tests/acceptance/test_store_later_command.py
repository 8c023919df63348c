"""``ngb store-later`` and a process that dies with rows on disk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from acceptance.conftest import Ngb
from neural_gpu_bus import DataPlane
from neural_gpu_bus.embedded.handover import to_environment

pytestmark = pytest.mark.slow

STORE_AND_DIE = """
import os, signal, sys
import neural_gpu_bus as ngb

plane = ngb.open()
with plane.database._pool.lend() as connection, connection.transaction():
    connection.execute(f'LOCK TABLE "{sys.argv[1]}"')
    for n in range(100):
        plane.store_later(sys.argv[1], {"n": [n]})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rows_of_a_killed_process_are_delivered_by_the_next_command(
    ngb: Ngb, plane: DataPlane, table: str
) -> None:
    plane.store(table, {"n": [-1]})
    environment = to_environment(plane.settings, {})
    killed = subprocess.run([sys.executable, "-c", STORE_AND_DIE, table], env=environment)
    assert killed.returncode == -9

    result = ngb("store-later", "status")

    assert result.returncode == 0, result.stderr
    assert "nothing is set aside" in result.stdout
    found = plane.query(f'SELECT count(*) AS rows, max(n) AS last FROM "{table}"')
    assert (found["rows"][0], found["last"][0]) == (101, 99)


def test_refused_rows_are_shown_retried_and_dropped(ngb: Ngb, plane: DataPlane, table: str) -> None:
    plane.store(table, {"n": [1]}, key=["n"])
    for n in (1, 1):
        plane.store_later(table, {"n": [n]})
    with pytest.raises(Exception, match="its key is in table"):
        plane.write_behind.flush()

    shown = ngb("store-later", "status", "--json")
    first, second = (one["id"] for one in json.loads(shown.stdout)["set_aside"])
    told = ngb("store-later", "status", COLUMNS="80")
    refused = ngb("store-later", "retry", first)
    dropped = ngb("store-later", "drop", first)
    plane.store(table, {"n": [2]}, mode="replace")
    stored = ngb("store-later", "retry", second)
    unknown = ngb("store-later", "drop", second)

    assert any(line.startswith(f"{first} ") for line in told.stdout.splitlines()), told.stdout
    assert refused.returncode == 2
    assert "its key is in table" in refused.stderr
    assert f"{first}: dropped" in dropped.stdout
    assert f"{second}: 1 row stored" in stored.stdout
    assert "no rows are set aside as" in unknown.stderr
    assert plane.write_behind.set_aside() == []
