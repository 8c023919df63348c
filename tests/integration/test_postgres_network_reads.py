"""A network that fails at every phase of a read: the right rows or a clear error, nothing left."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest

from cutting_proxy import CuttingProxy
from fix_postgres_extras import BARS_ROWS, BARS_SUM
from neural_gpu_bus.errors import (
    NeuralGpuBusError,
    QueryTimeoutError,
    ServerUnreachableError,
)
from watched_store import WatchedStore

#: Two ways of reading: rows of the extended protocol, and COPY through libpq, which takes what may
#: change something.
READ_ROWS = "SELECT i, price, t FROM bars"
READ_COPY = "SELECT i, price, t FROM bars WHERE t <> 'insert into'"
READY = b"Z\x00\x00\x00\x05I"

#: Where a read is cut: direction and place, as bytes that pass or what comes just behind. These
#: need a new connection.
CONNECTING = {
    "before authentication": (READ_ROWS, "to_client", 0),
    "in authentication": (READ_ROWS, "to_client", 40),
    "before the session is ready": (READ_ROWS, "to_client", READY),
    "in the start message": (READ_ROWS, "to_server", 5),
}
READING = {
    "before the statement": (READ_ROWS, "to_server", 0),
    "in the statement": (READ_ROWS, "to_server", b"FROM bars"),
    "before the first answer": (READ_ROWS, "to_client", 0),
    "in its description": (READ_ROWS, "to_client", b"price\x00"),
    "in the rows": (READ_ROWS, "to_client", 400_000),
    "in the last row": (READ_ROWS, "to_client", b"bar 60000"),
    "before CommandComplete": (READ_ROWS, "to_client", b"SELECT 60000\x00"),
    "before the session is clean": (READ_ROWS, "to_client", b"DISCARD "),
    "COPY: before its statement": (READ_COPY, "to_server", b"COPY ("),
    "COPY: in its header": (READ_COPY, "to_client", b"PGCOPY\n"),
    "COPY: in the rows": (READ_COPY, "to_client", 400_000),
    "COPY: after the last row": (READ_COPY, "to_client", b"d\x00\x00\x00\x06\xff\xff"),
    "COPY: before CommandComplete": (READ_COPY, "to_client", b"COPY 60000\x00"),
    "COPY: before the session is clean": (READ_COPY, "to_client", b"DISCARD "),
}
#: The server waits for the rest of what it was asked: there is nothing that it could cancel.
HALF_A_STATEMENT = {"in the statement", "COPY: before its statement"}
PHASES = {**CONNECTING, **READING}


def assert_right(columns: Any) -> None:
    """A checksum over all rows, and each row whole."""
    table = columns.arrow()
    assert table.num_rows == BARS_ROWS
    numbers = columns["i"]
    assert int(numbers.sum()) == BARS_SUM
    assert (columns["price"] == numbers * 0.5).all()
    assert all(f"bar {n}" == t for n, t in zip(numbers, table["t"].to_pylist(), strict=True))


def made_ready(watched: WatchedStore, phase: str) -> None:
    """Connected already, unless the phase is one of connecting."""
    if phase in READING:
        watched.assert_answers()


@pytest.mark.parametrize(
    ("phase", "action"),
    [
        *((phase, "cut") for phase in PHASES),
        *((phase, "half_close") for phase in list(PHASES)[::3]),
    ],
)
def test_a_network_that_fails_once_does_not_fail_the_read(
    proxied: WatchedStore, proxy: CuttingProxy, phase: str, action: Any
) -> None:
    made_ready(proxied, phase)
    sql, *place = PHASES[phase]
    fault = proxy.arm(*place, action=action)

    assert_right(proxied.store.query(sql))

    assert fault.happened.is_set()
    proxied.assert_nothing_left()
    proxied.assert_answers()


@pytest.mark.parametrize("phase", list(PHASES)[::2])
def test_a_network_that_keeps_failing_is_a_clear_error(
    proxied: WatchedStore, proxy: CuttingProxy, phase: str
) -> None:
    made_ready(proxied, phase)
    sql, *place = PHASES[phase]
    proxy.arm(*place, action="cut", always=True)

    clear = (ServerUnreachableError, QueryTimeoutError)
    with pytest.raises(clear, match=r"PostgreSQL at 127\.0\.0\.1"):
        proxied.store.query(sql, timeout_s=0.3)

    proxy.heal()
    proxied.assert_nothing_left()
    proxied.assert_answers()


@pytest.mark.parametrize("phase", list(READING)[::2] + sorted(HALF_A_STATEMENT))
def test_a_network_that_hangs_ends_with_the_time_limit(
    proxied: WatchedStore, proxy: CuttingProxy, phase: str
) -> None:
    made_ready(proxied, phase)
    sql, *place = PHASES[phase]
    proxy.arm(*place, action="stall")
    started_s = time.monotonic()

    with pytest.raises(QueryTimeoutError, match=r"did not finish the statement in 0\.15 s"):
        proxied.store.query(sql, timeout_s=0.15)

    assert time.monotonic() - started_s < 10
    if phase not in HALF_A_STATEMENT:  # cancelled already, round the connection that hangs
        proxied.assert_nothing_left()
    proxy.heal()
    proxied.assert_nothing_left()
    proxied.assert_nothing_left()
    proxied.assert_answers()


def test_a_network_that_hangs_for_cancel_requests_too_is_given_up(
    proxied: WatchedStore, proxy: CuttingProxy
) -> None:
    proxied.assert_answers()
    proxy.arm("to_client", 100_000, action="stall", always=True)
    started_s = time.monotonic()

    with pytest.raises(QueryTimeoutError, match=r"did not finish the statement in 0\.3 s"):
        proxied.store.query(READ_ROWS, timeout_s=0.3)

    assert time.monotonic() - started_s < 20
    proxy.heal()
    proxied.assert_nothing_left()
    proxied.assert_answers()


@pytest.mark.parametrize(
    "said",
    [
        b"E\x00\x00\x00\x20SFATAL\x00C57P01\x00Mterminating\x00\x00",
        b"S\x00\x00\x00\x11TimeZone\x00GMT\x00",
        b"E\x00\x00",
    ],
    ids=["the session's end", "a changed setting", "half a message"],
)
def test_what_the_server_says_behind_the_rows_spoils_none(
    proxied: WatchedStore, proxy: CuttingProxy, said: bytes
) -> None:
    proxied.assert_answers()
    end = b"DISCARD SEQUENCES\x00" + READY
    fault = proxy.arm("to_client", end, action="insert", behind=True, more=said)

    assert_right(proxied.store.query(READ_ROWS))

    assert fault.happened.is_set()
    proxied.assert_answers()
    proxied.assert_nothing_left()


@pytest.mark.parametrize("place", [0, 3, 30, 45, 46, 100, 5_000])
def test_a_bent_byte_is_no_crash_and_no_other_number_of_rows(
    proxied: WatchedStore, proxy: CuttingProxy, place: int
) -> None:
    """Of a value itself nothing can be told: the protocol has no checksum, TLS has."""
    proxied.assert_answers()
    proxy.arm("to_client", place, action="corrupt")
    rows = BARS_ROWS
    with suppress(NeuralGpuBusError):
        rows = proxied.store.query(READ_ROWS, timeout_s=1).rows
    assert rows == BARS_ROWS

    proxy.heal()
    proxied.assert_nothing_left()
    proxied.assert_answers()
