"""Queries to columns: describe, receive by COPY BINARY, decode into a reservation, seal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from neural_gpu_bus.errors import BadParameterError, QueryError
from neural_gpu_bus.ports import Columns, Reserve
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.decoding.column_types import (
    SourceColumn,
    is_built_in,
    source_column,
    unsupported,
)
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.reading.direct_copy import DirectCopy
from neural_gpu_bus.stores.postgres.reading.libpq_copy import LibpqCopy
from neural_gpu_bus.stores.postgres.reading.receive_buffer import ReceiveBuffer, ReceiveBuffers
from neural_gpu_bus.stores.postgres.reading.statement import Params, bound
from neural_gpu_bus.stores.postgres.tables.near_names import with_near_tables
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: Longest wait for the server to take a cancel request; the connection is closed after it anyway.
CANCEL_TIMEOUT_S = 2.0

#: As of the setting ``query_timeout_s``; PostgreSQL's own limit is 24 days.
TIMEOUT_S_MAX = 86_400

SYNTAX_ERROR = "42601"

#: Types that are sent as their plain text: enums, and those with the send function of a built-in
#: text type (citext, domains come as their base type anyway).
_TYPES_SQL = """
SELECT t.oid, format_type(t.oid, NULL), t.typtype = 'e' OR p.prosrc IN ('textsend', 'citextsend')
FROM pg_type t JOIN pg_proc p ON p.oid = t.typsend WHERE t.oid = ANY(%s)
"""


class PostgresReader:
    """Reads queries into reserved memory; thread-safe.

    ``received_bytes_max``: largest reply. ``direct=False`` reads through libpq always.
    """

    def __init__(
        self,
        pool: Pool,
        reserve: Reserve,
        *,
        address: str,
        timeout_s: float,
        received_bytes_max: int,
        direct: bool = True,
    ) -> None:
        self._pool = pool
        self._reserve = reserve
        self._address = address
        self._timeout_s = timeout_s
        self._buffers = ReceiveBuffers(received_bytes_max)
        self._direct = direct
        #: OID -> name; an OID is given again only after four billion others.
        self._text_types: dict[int, str] = {}

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout_s: float | None = None,
        name: str | None = None,
    ) -> Columns:
        """The statement's rows as sealed columns, named ``name`` where given.

        ``params``: values for ``%(name)s`` or ``%s``; without any, ``%`` means itself.
        Raises QueryError, UnsupportedTypeError, BadValueError, QueryTimeoutError,
        ServerUnreachableError and what reserving memory raises; nothing is left behind then.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if not 0 < limit_s <= TIMEOUT_S_MAX:
            raise BadParameterError(
                f"timeout_s is {limit_s:g}",
                hint=f"give a time above 0, and {TIMEOUT_S_MAX} at most",
                parameter="timeout_s",
            )
        started_ns, source_ns = time.perf_counter_ns(), time.time_ns()
        with self._buffers.lend() as buffer:
            with self._pool.lend() as connection:
                deadline = Deadline(limit_s, self._address)
                statement = bound(connection, sql, params)
                try:
                    scan = self._receive(connection, buffer, deadline, statement)
                except QueryError as error:
                    raise with_near_tables(connection, error) from error.__cause__
            reservation = write_columns([ReceivedPart(buffer.bytes, scan)], self._reserve)
        reload_ns = time.perf_counter_ns() - started_ns
        return reservation.seal(name, reload_ns=reload_ns, source_ns=source_ns)

    def close(self) -> None:
        """Give the receive buffer back; the pool is its owner's."""
        self._buffers.close()

    def _receive(
        self,
        connection: psycopg.Connection,
        buffer: ReceiveBuffer,
        deadline: Deadline,
        statement: bytes,
    ) -> CopyScan:
        with self._exchange(connection, buffer, deadline) as exchange:
            fields = exchange.describe(statement)
            while fields and self._learn_types(connection, exchange, fields):
                fields = exchange.describe(statement)
            try:
                columns = self._columns(fields)
            except QueryError:
                exchange.leave()
                raise
            try:
                return exchange.copy(statement, columns)
            except QueryError as error:
                raise _not_copyable(error) from error.__cause__

    @contextmanager
    def _exchange(
        self, connection: psycopg.Connection, buffer: ReceiveBuffer, deadline: Deadline
    ) -> Iterator[DirectCopy | LibpqCopy]:
        """The way to read on this connection, which is closed where a reply may still come."""
        exchange: DirectCopy | LibpqCopy
        if self._direct and _is_plain(connection):
            exchange = DirectCopy(connection.fileno(), buffer, self._address, deadline)
        else:
            exchange = LibpqCopy(connection, buffer, self._address, deadline)
        try:
            yield exchange
        finally:
            exchange.close()
            if not exchange.finished:
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
                connection.close()

    def _learn_types(
        self,
        connection: psycopg.Connection,
        exchange: DirectCopy | LibpqCopy,
        fields: Sequence[Field],
    ) -> bool:
        """Ask the server about types that are not built in; True when it was asked, and the
        statement has to be described again.
        """
        unknown = {
            field.oid: field.name
            for field in fields
            if not is_built_in(field.oid) and field.oid not in self._text_types
        }
        if not unknown:
            return False
        exchange.leave()
        with translated(self._address):
            found = connection.execute(_TYPES_SQL, [list(unknown)]).fetchall()
        types = {oid: (type_name, is_text) for oid, type_name, is_text in found}
        for oid, name in unknown.items():
            type_name, is_text = types.get(oid, ("a type that was just dropped", False))
            if not is_text:
                raise unsupported(name, type_name)
            self._text_types[oid] = type_name
        return True

    def _columns(self, fields: Sequence[Field] | None) -> list[SourceColumn]:
        if not fields:
            raise QueryError(
                "the statement returns no rows to read",
                hint="query a SELECT, or add RETURNING; write with plane.store",
                sqlstate=None,
            )
        repeated = [
            name for name, count in Counter(field.name for field in fields).items() if count > 1
        ]
        if repeated:
            raise QueryError(
                f"the statement returns {len(repeated)} column name(s) more than once: "
                + ", ".join(repr(name) for name in repeated),
                hint=f'name them apart, e.g. a."{repeated[0]}" AS "{repeated[0]}_2"',
                sqlstate=None,
            )
        return [source_column(field.name, field.oid, self._text_types) for field in fields]


def _not_copyable(error: QueryError) -> QueryError:
    """What was described and yet is no syntax for COPY (SHOW, EXPLAIN, CALL), said so."""
    if error.facts.get("sqlstate") != SYNTAX_ERROR:
        return error
    return QueryError(
        "the statement cannot be read in bulk: only SELECT, VALUES, TABLE, WITH and a change "
        "with RETURNING can",
        hint="for SHOW name select current_setting('name'); for EXPLAIN use psql",
        **error.facts,
    )


def _is_plain(connection: psycopg.Connection) -> bool:
    """Whether the socket carries PostgreSQL's own bytes, neither TLS nor GSS."""
    pgconn = connection.pgconn
    if pgconn.ssl_in_use:
        return False
    return all(o.val == b"disable" for o in pgconn.info if o.keyword == b"gssencmode")
