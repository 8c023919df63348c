"""Which way a statement is read on a connection, and what becomes of the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import TransactionStatus

from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.reading.exchange.direct_rows import DirectRows
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_copy import LibpqCopy
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer

#: Longest wait for the server to take a cancel request; the connection is closed after it anyway.
CANCEL_TIMEOUT_S = 2.0

Exchange = DirectRows | LibpqCopy

_plain: WeakKeyDictionary[psycopg.Connection, bool] = WeakKeyDictionary()


@contextmanager
def exchange_on(
    connection: psycopg.Connection,
    buffer: ReceiveBuffer,
    address: str,
    deadline: Deadline,
    *,
    direct: bool,
    told: Callable[[int], None] | None = None,
    cancelled: Callable[[], None] | None = None,
) -> Iterator[Exchange]:
    """The way to read on this connection for the body; where a reply may still come afterwards,
    the statement is cancelled and the connection closed.

    ``direct``: past libpq where the socket is plain. ``told`` hears of rows as they arrive and may
    raise to end it; ``cancelled`` hears of a cancellation.
    """
    exchange: Exchange
    if direct and is_plain(connection):
        exchange = DirectRows(connection, buffer, address, deadline, told)
    else:
        exchange = LibpqCopy(connection, buffer, address, deadline, told)
    try:
        yield exchange
    finally:
        exchange.close()
        if not exchange.finished:
            if cancelled is not None:
                cancelled()
            give_up(connection)


@contextmanager
def cancelled_on_error(connection: psycopg.Connection) -> Iterator[None]:
    """For statements through libpq: what the body left running is cancelled, and the connection
    closed.
    """
    try:
        yield
    except BaseException:
        if connection.info.transaction_status == TransactionStatus.ACTIVE:
            give_up(connection)
        raise


def give_up(connection: psycopg.Connection) -> None:
    """Cancel what runs on it and close it."""
    try:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
    finally:
        connection.close()


def is_plain(connection: psycopg.Connection) -> bool:
    """Whether the socket carries PostgreSQL's own bytes, neither TLS nor GSS; told once for each
    connection, because libpq lists all its options: 40 us.
    """
    known = _plain.get(connection)
    if known is None:
        pgconn = connection.pgconn
        known = _plain[connection] = not pgconn.ssl_in_use and all(
            option.val == b"disable" for option in pgconn.info if option.keyword == b"gssencmode"
        )
    return known
