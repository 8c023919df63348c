"""A network that fails at every phase of a store: all rows or none, and none twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from cutting_proxy import CuttingProxy
from neural_gpu_bus.errors import ServerUnreachableError
from own_server import OwnServer
from watched_store import WatchedStore

ROWS = 20_000
OLD_ROWS = 500
COLUMNS = {"i": np.arange(ROWS), "price": np.arange(ROWS) * 0.5}
OLD_COLUMNS = {"i": np.arange(OLD_ROWS), "price": np.zeros(OLD_ROWS)}

#: Direction and place, as bytes or as what comes just behind.
BEFORE_COMMIT = {
    "before the transaction": ("to_server", 0),
    "before COPY is asked for": ("to_server", b"COPY "),
    "before COPY is taken": ("to_client", b"G\x00\x00\x00"),
    "in the rows": ("to_server", 200_000),
    "before the end of the rows": ("to_server", b"c\x00\x00\x00\x04"),
    "before CommandComplete": ("to_client", b"COPY 20000\x00"),
    "before COMMIT": ("to_server", b"COMMIT"),
}
#: Nobody can tell from here whether it was committed.
AFTER_COMMIT = {
    "before the answer to COMMIT": ("to_client", b"COMMIT\x00"),
}
PHASES = {**BEFORE_COMMIT, **AFTER_COMMIT}
#: An append to a table that was stored to before is one exchange without BEGIN and COMMIT, whose
#: answer comes after the commit.
ONE_EXCHANGE = {
    "before the statements": ("to_server", 0),
    "in the rows": ("to_server", 200_000),
    "before the end of the rows": ("to_server", b"c\x00\x00\x00\x04"),
    "before the answer": ("to_client", b"COPY 20000\x00"),
}
STORED = {*AFTER_COMMIT, "before the answer"}
JOBS = [("append", phase) for phase in ONE_EXCHANGE]
JOBS += [(mode, phase) for mode in ("upsert", "replace") for phase in PHASES]


@pytest.fixture
def table(failing_server: OwnServer) -> Iterator[str]:
    name = f"stored_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint PRIMARY KEY, price double precision)")
    yield name
    failing_server.run(f"DROP TABLE {name}")


def rows_and_sum(watched: WatchedStore, table: str) -> tuple[int, float]:
    """What is committed."""
    with psycopg.connect(watched.direct_dsn) as connection:
        query = f"SELECT count(*), coalesce(sum(price), 0) FROM {table}"
        return connection.execute(query.encode()).fetchall()[0]


NONE = (0, 0.0)
ALL = (ROWS, float(np.sum(COLUMNS["price"])))


@pytest.mark.parametrize("action", ["cut", "half_close"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_store_that_is_cut_wrote_all_rows_or_none(
    proxied: WatchedStore,
    proxy: CuttingProxy,
    table: str,
    phase: str,
    action: Any,
) -> None:
    """Without a job's id it is not tried again: nobody could tell the second from the first."""
    proxied.assert_answers()
    fault = proxy.arm(*PHASES[phase], action=action)

    with pytest.raises(ServerUnreachableError, match=r"cannot talk to PostgreSQL at 127\.0\.0\.1"):
        proxied.store.store(table, COLUMNS)

    assert fault.happened.is_set()
    proxied.assert_nothing_left()
    assert rows_and_sum(proxied, table) == (NONE if phase in BEFORE_COMMIT else ALL)
    proxied.assert_answers()


@pytest.mark.parametrize("action", ["cut", "half_close"])
@pytest.mark.parametrize("phase", ONE_EXCHANGE)
def test_an_append_in_one_exchange_that_is_cut_says_whether_it_may_be_stored(
    proxied: WatchedStore, proxy: CuttingProxy, table: str, phase: str, action: Any
) -> None:
    proxied.store.store(table, {"i": np.arange(0), "price": np.zeros(0)})
    fault = proxy.arm(*ONE_EXCHANGE[phase], action=action)

    with pytest.raises(ServerUnreachableError, match=r"cannot talk to PostgreSQL") as caught:
        proxied.store.store(table, COLUMNS)

    assert fault.happened.is_set()
    proxied.assert_nothing_left()
    assert rows_and_sum(proxied, table) == (ALL if phase in STORED else NONE)
    if phase in STORED:
        assert "all of them may have been stored, or none" in str(caught.value)
    proxied.assert_answers()


@pytest.mark.parametrize(("mode", "phase"), JOBS)
def test_a_job_that_is_cut_is_stored_once(
    proxied: WatchedStore,
    proxy: CuttingProxy,
    table: str,
    phase: str,
    mode: Any,
) -> None:
    if mode != "append":
        proxied.store.store(table, OLD_COLUMNS)
    job = uuid.uuid4().hex
    proxied.store.store(table, {"i": np.arange(0), "price": np.zeros(0)}, job_id=f"{job} before")
    fault = proxy.arm(*{**PHASES, **ONE_EXCHANGE}[phase])

    receipt = proxied.store.store(table, COLUMNS, mode=mode, job_id=job)

    assert fault.happened.is_set()
    assert receipt.repeated == (phase in STORED)
    assert rows_and_sum(proxied, table) == ALL
    assert proxied.store.store(table, COLUMNS, mode=mode, job_id=job).repeated
    assert rows_and_sum(proxied, table) == ALL
    proxied.assert_nothing_left()


def test_a_job_whose_network_stays_away_is_an_error_and_nothing_is_stored(
    proxied: WatchedStore, proxy: CuttingProxy, table: str
) -> None:
    proxied.assert_answers()
    proxy.arm("to_server", 100_000, always=True)

    with pytest.raises(ServerUnreachableError, match=r"cannot talk to .* \(tried 4 times\)"):
        proxied.store.store(table, COLUMNS, job_id=uuid.uuid4().hex)

    proxy.heal()
    assert rows_and_sum(proxied, table) == NONE
    proxied.assert_nothing_left()
    proxied.assert_answers()
