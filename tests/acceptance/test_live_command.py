"""``ngb live`` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from acceptance.conftest import COMMAND, Ngb
from fix_servers import wait_until
from neural_gpu_bus import DataPlane
from neural_gpu_bus.embedded.handover import to_environment

pytestmark = pytest.mark.slow


@pytest.fixture
def followed(plane: DataPlane, table: str) -> Iterator[str]:
    """A table of 3,000 rows that is not live yet, and is not live any more afterwards."""
    with connect(plane) as connection:
        connection.execute(
            f'CREATE TABLE "{table}" (id int PRIMARY KEY, desk text NOT NULL, at int NOT NULL)'
        )
        connection.execute(
            f"INSERT INTO \"{table}\" SELECT g, 'd' || g % 3, g FROM generate_series(1, 3000) g"
        )
    yield table
    for name in plane.live_definitions.all():
        if name.startswith(table):
            plane.drop_live(name)


def connect(plane: DataPlane) -> psycopg.Connection:
    return psycopg.connect(plane.addresses.postgres_dsn.get_secret_value(), autocommit=True)


def start(plane: DataPlane, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=to_environment(plane.settings, {"NO_COLOR": "1", "COLUMNS": "200"}),
    )


def test_a_table_is_added_shown_watched_and_dropped(
    ngb: Ngb, plane: DataPlane, followed: str, tmp_path: Path
) -> None:
    added = ngb("live", "add", followed, "--key", "desk", "--order-by", "at")
    assert added.returncode == 0, added.stderr
    assert f"{followed} is live: 3,000 rows in 3 partitions" in added.stdout
    assert "whoever can open the memory folder can read" in added.stderr

    listed = ngb("live", "list", COLUMNS="80").stdout
    assert "3,000" in listed
    assert max(map(len, listed.splitlines())) <= 80
    found = json.loads(ngb("live", "list", "--json").stdout)
    one = next(one for one in found["tables"] if one["name"] == followed)
    assert (one["rows"], one["partitions"], one["state"]["state"]) == (3000, 3, "live")

    shown = ngb("live", "show", followed, COLUMNS="80").stdout
    assert "3,000 in 3 partitions" in shown

    watched = start(plane, tmp_path, "live", "watch", followed, "--every", "0.1")
    assert watched.stdout is not None
    with connect(plane) as connection:
        connection.execute(f"INSERT INTO \"{followed}\" VALUES (3001, 'd0', 3001)")
    lines = iter(watched.stdout.readline, "")
    assert next(line for line in lines if f" {followed} live" in line and "3,001 rows" in line)
    watched.send_signal(signal.SIGINT)
    assert watched.wait(30) == 0
    watched.communicate()

    dropped = ngb("live", "drop", followed)
    assert "is followed no more" in dropped.stdout
    again = ngb("live", "show", followed)
    assert again.returncode == 2
    assert "there is no live table" in again.stderr


def test_what_is_missing_is_told_with_the_sql(ngb: Ngb, plane: DataPlane, table: str) -> None:
    with connect(plane) as connection:
        connection.execute(f'CREATE TABLE "{table}" (n int)')

    refused = ngb("live", "add", table)

    assert refused.returncode == 2
    assert "UPDATE and DELETE would fail" in refused.stderr
    assert f'ALTER TABLE "public"."{table}" REPLICA IDENTITY FULL;' in refused.stderr
    assert table not in plane.live_definitions.all()


def test_a_wait_is_told_and_ctrl_c_takes_the_table_back(
    plane: DataPlane, followed: str, tmp_path: Path
) -> None:
    with connect(plane) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS others_work (n int)")
        with connection.transaction():
            connection.execute("INSERT INTO others_work VALUES (1)")
            adding = start(plane, tmp_path, "live", "add", followed, "--key", "desk")
            assert adding.stderr is not None
            lines = iter(adding.stderr.readline, "")
            wait = f"waiting for transaction of pid {connection.info.backend_pid}"
            assert next(line for line in lines if wait in line)
            adding.send_signal(signal.SIGINT)
            assert adding.wait(30) == 130
            said = "".join(lines)

    assert f"{followed} was taken back: nothing follows it" in said
    wait_until(lambda: followed not in plane.live_states(), "it is taken back")
    adding.communicate()
