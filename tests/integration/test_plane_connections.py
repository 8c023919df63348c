"""A plane's connections: classes of queries reach the server, and what is counted is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fix_servers import wait_until
from neural_gpu_bus import DataPlane, embedded
from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.settings import Settings
from neural_gpu_bus.status.metrics import metrics_text

SHOW = "SELECT current_setting('work_mem') AS work_mem, current_setting('jit') AS jit"


@pytest.fixture
def plane(private_servers: embedded.Attachment, memory_folder: Path) -> Iterator[DataPlane]:
    given = private_servers.settings.model_dump()
    settings = Settings(
        **{**given, "postgres_connections_max": 2, "postgres_memory_bytes": 16 << 30}
    )
    with DataPlane(settings, embedded.attach(settings)) as opened:
        yield opened


def test_a_query_runs_with_the_settings_of_its_class(plane: DataPlane) -> None:
    # An eighth of 16 GiB / 2 connections / 4 sorts / 2 for hashes / 3 processes, or 1.
    assert plane.query(SHOW)["work_mem"].tolist() == ["43690kB"]
    load = plane.query(SHOW, query_class="load")
    assert (load["work_mem"].tolist(), load["jit"].tolist()) == (["128MB"], ["off"])


def test_nothing_of_a_class_is_left_in_the_session(plane: DataPlane) -> None:
    plane.query(SHOW, query_class="load")
    with plane.database._pool.lend() as connection:
        found = connection.execute(SHOW.encode()).fetchone()

    assert found is not None
    assert found[0] != "128MB"


def test_a_hot_read_has_its_own_time(plane: DataPlane) -> None:
    with pytest.raises(QueryTimeoutError, match=r"0\.1 s"):
        plane.query("SELECT pg_sleep(5)::text AS slept", query_class="hot")

    assert plane.query("SELECT 1 AS one")["one"].tolist() == [1]


def test_what_the_plane_counts(plane: DataPlane) -> None:
    assert plane.statistics().database is None
    plane.query("SELECT 1 AS one")
    found = plane.statistics().database

    assert found is not None
    assert (found.connections_max, found.lent, found.idle, found.opened) == (2, 0, 1, 1)
    memory = plane.memory.statistics()
    text = metrics_text(lambda: (memory, ()), lambda: plane.statistics().database)
    assert "ngb_postgres_connections_idle 1.0" in text
    assert "ngb_postgres_connections_opened_total 1.0" in text


def test_a_read_whose_connection_was_ended_is_counted(plane: DataPlane, postgres_dsn: str) -> None:
    """The server process ends while the statement runs: the read begins again, on a new one."""
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database() AND query LIKE '%sleep_and_end%'"
    )
    plane.query("SELECT 1 AS one")

    def end_it() -> None:
        with psycopg.connect(postgres_dsn, autocommit=True) as other:
            wait_until(lambda: other.execute(ended.encode()).fetchall(), "the statement's start")

    thread = threading.Thread(target=end_it)
    thread.start()
    frame = plane.query("SELECT pg_sleep(0.5)::text AS sleep_and_end")
    thread.join()

    assert frame.rows == 1
    found = plane.statistics().database
    assert found is not None
    assert found.retried == 1
    assert found.lent == 0
