"""The server that tables come from: what it lacks, its stream, its catalog, its snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError, QueryError, QueryTimeoutError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.applying.set_up import column_names
from neural_gpu_bus.live.mirror.questions import Questions
from neural_gpu_bus.live.mirror.spare_connections import SpareConnections
from neural_gpu_bus.stores.postgres.connections.connection import connect, translated
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.type_catalog import TypeCatalog
from neural_gpu_bus.stores.postgres.replication import ddl_trigger
from neural_gpu_bus.stores.postgres.replication.append_only import change_counts
from neural_gpu_bus.stores.postgres.replication.catalog_tokens import CatalogTokens
from neural_gpu_bus.stores.postgres.replication.moment_changes import look_again
from neural_gpu_bus.stores.postgres.replication.preflight import TableWanted, preflight
from neural_gpu_bus.stores.postgres.replication.publications import (
    Membership,
    PublicationNames,
    add_table,
    drop_harmful,
    ensure_publications,
    memberships,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.published_only import publish_only
from neural_gpu_bus.stores.postgres.replication.row_filters import check_filter
from neural_gpu_bus.stores.postgres.replication.slots import (
    SlotFacts,
    SlotWait,
    drop_slot,
    end_zombies,
    persistent_slot,
    session_name,
    slot_facts,
    temporary_slot,
)
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import (
    SnapshotMoment,
    moment_on,
)
from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from neural_gpu_bus.stores.postgres.replication.taking_off import take_off
from neural_gpu_bus.stores.postgres.replication.told import Waits
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions
from neural_gpu_bus.stores.postgres.wire.messages import Field

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.live.mirror.claims import Claims
    from neural_gpu_bus.live.mirror.table_copy import Copied
    from neural_gpu_bus.stores.postgres import PostgresStore
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.reading.table.in_order import BatchProgress, TakesBatches
    from neural_gpu_bus.stores.postgres.replication.append_only import ChangeCounts
    from neural_gpu_bus.stores.postgres.replication.ddl_trigger import DdlMessage
    from neural_gpu_bus.stores.postgres.replication.shape_changes import MadeLeaf
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
    from neural_gpu_bus.stores.postgres.replication.transactions import LogicalMessage

#: A series holds texts, not numbers of texts.
OPTIONS = ReadOptions(texts="plain")
#: A slot waits for every transaction that runs when it is made.
SLOT_WAIT_S_MAX = 3600.0
#: First version with slots that a standby keeps.
FAILOVER_SINCE = 170_000

_log = structlog.get_logger(__name__)
#: A commit that waits for a standby is not seen before that has answered.
SEEN_S_MAX, SEEN_PAUSE_S = 5.0, 0.000_5
#: A commit of our own flushes the log up to itself.
_FLUSH = (
    b"SELECT set_config('synchronous_commit', 'local', true), "
    b"pg_logical_emit_message(true, 'ngb_flush', '')"
)
_SNAPSHOT = b"SELECT pg_current_snapshot()::text"
_POSITION = b"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"


class Source:
    """One database, followed for one home. Safe for the threads of its process."""

    def __init__(
        self,
        dsn: str,
        home: str,
        store: PostgresStore,
        *,
        connect_timeout_s: float,
        slot_wal_bytes_max: int,
    ) -> None:
        self.address = postgres_address(dsn)
        self.publications: PublicationNames = publication_names(home)
        self._dsn = dsn
        self._home = home
        self.reader = store.reader
        self._connect_timeout_s = connect_timeout_s
        self._slot_wal_bytes_max = slot_wal_bytes_max
        #: By live table: what is worth knowing of it, as ``preflight`` found it last.
        self.notices: dict[str, tuple[str, ...]] = {}
        self._types = TypeCatalog(self.address)
        self._tokens = CatalogTokens(self.publications)
        self._catalog = Questions(self.address, self._connected)
        #: By itself: a look at many tables must not keep the stream waiting.
        self._clock = Questions(self.address, self._connected)
        #: For what may wait for long.
        self._spare = SpareConnections(self._connected)

    def close(self) -> None:
        """Let go of the server."""
        self._catalog.close()
        self._clock.close()
        self._spare.close()

    # ---- the stream

    def open_stream(self) -> StreamSession:
        """A session that can make a slot and stream. Raises ServerError."""
        dsn = make_conninfo(self._dsn, application_name=session_name(self._home))
        return StreamSession.connect(dsn, timeout_s=self._connect_timeout_s)

    def prepare(self, wanted: Collection[str]) -> None:
        """What the stream needs of the server. Raises ReplicationRefusedError.

        Before its session is opened: where no sender is left the server refuses that one too, and
        does not say what to run. Tables that are not ``wanted`` were dropped while nobody followed:
        once they lost their key, their UPDATE would fail.
        """

        def prepared(connection: psycopg.Connection) -> None:
            preflight(connection, (), self.publications).check()
            ensure_publications(connection, self.publications)
            try:
                publish_only(connection, self.publications, wanted)
            except (QueryError, QueryTimeoutError) as error:
                # An administrator's publication is not ours to alter, nor a locked table.
                _log.warning("tables that are not live are published", reason=str(error))
            refused = ddl_trigger.install(connection)
            if refused:
                _log.info("changes of definitions are looked for twice a second", reason=refused)

        self._catalog.asked(prepared)

    def make_slot(self, session: StreamSession, told: Callable[[str], None]) -> tuple[str, int]:
        """A slot that ends with the session; its name and where its stream begins."""
        name = temporary_slot(self._home)
        waits = Waits(told=told, limit_s=SLOT_WAIT_S_MAX)

        def made(connection: psycopg.Connection) -> int:
            # We are this home's one writer: whoever else has a slot of it is dead, and the server
            # does not know yet.
            end_zombies(connection, self._home, own_pids=(session.backend_pid,), waits=waits)
            wait = SlotWait(connection, session.backend_pid, waits)
            return session.create_slot(name, temporary=True, told=wait)

        return name, self._catalog.asked(made)

    def persistent_slot(self) -> SlotFacts | None:
        """The home's slot that outlives its sessions, as it is now; None where there is none."""
        name = persistent_slot(self._home)
        found: SlotFacts | None = self._clock.asked(lambda it: slot_facts(it, name))
        return found

    def make_persistent_slot(
        self, session: StreamSession, told: Callable[[str], None]
    ) -> tuple[str, int]:
        """A slot that stays, and where its stream begins. A standby of PostgreSQL 17 and newer may
        have it too (``sync_replication_slots``).
        """
        name, waits = persistent_slot(self._home), Waits(told=told, limit_s=SLOT_WAIT_S_MAX)

        def made(connection: psycopg.Connection) -> int:
            failover = connection.info.server_version >= FAILOVER_SINCE
            wait = SlotWait(connection, session.backend_pid, waits)
            return session.create_slot(name, temporary=False, failover=failover, told=wait)

        return name, self._catalog.asked(made)

    def end_zombies(self, own_pid: int = 0) -> None:
        """We are this home's one writer: whoever else reads a slot of it is dead."""
        waits = Waits(limit_s=SLOT_WAIT_S_MAX)
        self._catalog.asked(
            lambda it: end_zombies(it, self._home, own_pids=(own_pid,), waits=waits)
        )

    def drop_persistent_slot(self, own_pid: int = 0) -> None:
        """Nothing where there is none."""
        if self.persistent_slot() is not None:
            self.end_zombies(own_pid)
            self._catalog.asked(lambda it: drop_slot(it, persistent_slot(self._home)))

    def position(self) -> tuple[int, int]:
        """Moment of the host's clock, and how far the WAL went then."""
        at_ns = host_clock_ns()
        row = self._clock.asked(lambda connection: connection.execute(_POSITION).fetchone())
        return at_ns, int(row[0])

    def visible(self) -> VisibleTransactions:
        """Which transactions PostgreSQL shows now."""
        row = self._clock.asked(lambda connection: connection.execute(_SNAPSHOT).fetchone())
        return VisibleTransactions.parse(row[0])

    # ---- tables

    def admit(self, definition: LiveDefinition, waits: Waits, claims: Claims) -> TableShape:
        """The table, which from now on is published. Raises what it cannot be live for."""
        wanted = TableWanted(
            definition.table, definition.columns, definition.where, definition.append_only
        )

        def admitted(connection: psycopg.Connection) -> TableShape:
            # It may be published and have lost its key: its UPDATE fails until it is taken out.
            shape = read_shape(connection, definition.table)
            drop_harmful(connection, self.publications, shape)
            persistent = definition.slot == "persistent"
            found = preflight(
                connection,
                (wanted,),
                self.publications,
                slot_wal_bytes_max=self._slot_wal_bytes_max if persistent else None,
                known={definition.table: shape},
            )
            found.check()
            self.notices[definition.name] = found.notices
            for notice in found.notices:
                _log.info(notice, table=definition.name)
            check_filter(connection, shape, definition.where)
            claims.claim(definition, shape)
            add_table(
                connection,
                self.publications,
                shape,
                where=definition.where,
                append_only=definition.append_only,
                waits=waits,
            )
            return shape

        # On a connection of its own: it may wait for a lock for long.
        with translated(self.address), self._spare.lend() as connection:
            return admitted(connection)

    def look_again(
        self, definition: LiveDefinition, copied: Copied, made: Collection[MadeLeaf]
    ) -> tuple[TableShape | None, str]:
        """The table as it is now, and why its rows may not be what the stream made of them since
        that copy; empty where they are.
        """

        def looked(connection: psycopg.Connection) -> tuple[TableShape | None, str]:
            shape, reason = look_again(
                connection,
                definition.table,
                self.publications,
                copied.moment,
                definition.columns,
                made=made,
            )
            if not reason and shape is not None and copied.counts is not None:
                reason = change_counts(connection, shape).changed_since(copied.counts)
            return shape, reason

        found: tuple[TableShape | None, str] = self._catalog.asked(looked)
        return found

    def published_as(self) -> Mapping[int, Membership]:
        """How tables are published now, by OID."""
        found: Mapping[int, Membership]
        found = self._catalog.asked(lambda it: memberships(it, self.publications))
        return found

    def due(self, shapes: Mapping[str, TableShape]) -> tuple[str, ...]:
        """Tables, by name, that may have been altered since this was asked the last time."""
        found: tuple[str, ...] = self._catalog.asked(lambda it: self._tokens.changed(it, shapes))
        return found

    def tells(self) -> bool:
        """Whether changes of definitions come with the stream."""
        return bool(self._catalog.asked(ddl_trigger.tells))

    def forget_looks(self) -> None:
        """A look failed: all tables are due again."""
        self._tokens.forget()

    def change_counts(self, shape: TableShape) -> ChangeCounts:
        """Rows updated and deleted so far: nobody tells of them where only inserts come."""
        found: ChangeCounts = self._catalog.asked(lambda it: change_counts(it, shape))
        return found

    def wait_seen(self, xid: int) -> bool:
        """Whether others see that transaction, within ``SEEN_S_MAX``.

        A commit comes with the stream as soon as it is in the WAL, and is seen by others a moment
        later: a look at the catalog in between would find everything as it was.
        """
        end_s = time.monotonic() + SEEN_S_MAX
        while True:
            if self._snapshot().sees(xid):
                return True
            if time.monotonic() > end_s:
                return False
            time.sleep(SEEN_PAUSE_S)

    def _snapshot(self) -> VisibleTransactions:
        row = self._catalog.asked(lambda connection: connection.execute(_SNAPSHOT).fetchone())
        return VisibleTransactions.parse(row[0])

    def altered(self, message: LogicalMessage) -> DdlMessage | None:
        """What our event trigger said; None for any other message."""
        if message.prefix == ddl_trigger.MESSAGE_PREFIX:
            with suppress(ProtocolError):  # anybody may write such a message
                return ddl_trigger.parse_message(message.content)
        return None

    def publish_only(self, wanted: Collection[str]) -> None:
        """Publish no other tables than these. Raises QueryTimeoutError where one of them is locked,
        QueryError where the publication is somebody else's.
        """
        self._catalog.asked(lambda it: publish_only(it, self.publications, wanted))

    def leave(self) -> bool:
        """Nothing is live any more: take everything of this home off the server. False where
        something is to be taken off later.
        """
        limit_s = SLOT_WAIT_S_MAX
        gone: bool = self._catalog.asked(lambda it: take_off(it, self._home, limit_s=limit_s))
        return gone

    # ---- copies

    @contextmanager
    def moment(
        self,
        definition: LiveDefinition,
        waits: Waits,
        known: TableShape,
    ) -> Iterator[SnapshotMoment]:
        """A snapshot for the body, once all older transactions have ended. Also of a table that was
        copied from this stream before: one whose commit came just before its changes were kept may
        not be visible yet.
        """
        with (
            self._spare.lend() as it,
            moment_on(it, definition.table, self.publications, waits, known=known) as moment,
        ):
            self._flush()
            yield moment

    def _flush(self) -> None:
        """Let the stream come to the moment soon: it shows what is flushed, and where nobody
        commits the server does that every 200 ms (wal_writer_delay).
        """
        with suppress(NeuralGpuBusError):  # it does so later
            self._catalog.asked(lambda connection: connection.execute(_FLUSH))

    def hand_on(
        self,
        definition: LiveDefinition,
        moment: SnapshotMoment,
        taker: TakesBatches,
        progress: BatchProgress,
    ) -> int:
        """Its rows as of the moment, in batches, while more are received; how many."""
        return self.reader.hand_on(
            definition.table,
            taker,
            columns=column_names(moment.shape, definition),
            where=definition.where,
            snapshot=moment.snapshot,
            options=OPTIONS,
            progress=progress,
        )

    def columns(self, definition: LiveDefinition, shape: TableShape) -> list[SourceColumn]:
        """How the columns of the stream are decoded."""
        wanted = column_names(shape, definition)
        fields = [
            Field(one.name, one.type_oid, one.modifier)
            for one in shape.columns
            if one.name in wanted
        ]
        oids = [field.oid for field in fields]
        self._catalog.asked(lambda connection: self._types.learn(connection, oids))
        return self._types.columns(fields, OPTIONS)

    def _connected(self) -> psycopg.Connection:
        return connect(self._dsn, timeout_s=self._connect_timeout_s)
