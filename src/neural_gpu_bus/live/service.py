"""The process of live tables, put together: one server, one group of series, one state."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.live.asking.asked_database import AskedDatabase
from neural_gpu_bus.live.asking.asked_tables import AskedTables
from neural_gpu_bus.live.changes.told_changes import ToldChanges
from neural_gpu_bus.live.definitions import LiveDefinitions
from neural_gpu_bus.live.mirror.continuing import SLOT_WAL_BYTES_MAX, Continuing
from neural_gpu_bus.live.mirror.leaving import Leaving
from neural_gpu_bus.live.mirror.means import MirrorMeans
from neural_gpu_bus.live.mirror.mirror import Mirror
from neural_gpu_bus.live.mirror.series_room import SeriesRoom
from neural_gpu_bus.live.mirror.source import Source
from neural_gpu_bus.live.mirror.stream_record import RecordFile
from neural_gpu_bus.live.shared.state import LiveState
from neural_gpu_bus.live.shared.words import state_path
from neural_gpu_bus.stores.postgres import PostgresStore
from neural_gpu_bus.stores.postgres.decoding.private_columns import PrivateReservation

if TYPE_CHECKING:
    from neural_gpu_bus.memory import UnifiedMemory

#: Copies are read into this process's own memory: the shared one gets them as growing columns.
_private: Any = PrivateReservation
#: How often declarations are looked at while no table follows the stream.
LOOK_S = 0.05
#: How long the process stays for another table when the last one was dropped: to start takes 4 to
#: 10 s (imports, compiling). It has no stream then, and asks the server nothing.
LINGER_S = 60.0


def follow_tables(
    home: Path,
    memory: UnifiedMemory,
    dsn: str,
    *,
    connections_max: int,
    connect_timeout_s: float,
    query_bytes_max: int,
    slot_wal_bytes_max: int = SLOT_WAL_BYTES_MAX,
    stop: Callable[[], bool],
) -> None:
    """Follow what is declared live in ``home`` until nothing was for ``LINGER_S``, or ``stop``
    says so; where nothing is at first, it ends at once.

    Raises SeriesBusyError where another process of this home does.
    """
    with ExitStack() as closing:
        store = PostgresStore(
            dsn,
            _private,
            connections_max=max(2, connections_max),
            connect_timeout_s=connect_timeout_s,
            query_timeout_s=connect_timeout_s,
            result_bytes_max=query_bytes_max,
        )
        closing.callback(store.close)
        source = Source(
            dsn,
            str(home),
            store,
            connect_timeout_s=connect_timeout_s,
            slot_wal_bytes_max=slot_wal_bytes_max,
        )
        closing.callback(source.close)
        room = SeriesRoom(memory.growing)
        closing.callback(room.close)
        stamp = room.writer.stamp
        published = (stamp.lsn, stamp.committed_ns)
        state = closing.enter_context(LiveState(memory.folder, published=published))
        state.set_source(source.address)
        changes = ToldChanges(memory.folder)
        continuing = Continuing(
            source,
            RecordFile(state_path(memory.folder).parent),
            state,
            position=max(stamp.lsn, state.applied_before),
            wal_bytes_max=slot_wal_bytes_max,
        )
        closing.callback(continuing.close)
        definitions = LiveDefinitions(home)
        means = MirrorMeans(source, room, state, definitions, changes, continuing)
        database = AskedDatabase(dsn, str(home), store, connect_timeout_s=connect_timeout_s)
        asked = AskedTables(database, memory.growing, state, definitions)
        closing.enter_context(asked)
        _follow(means, asked, stop)


def _follow(means: MirrorMeans, asked: AskedTables, stop: Callable[[], bool]) -> None:
    definitions, leaving = means.definitions, Leaving(means.source)
    while not stop():
        linger_s = LINGER_S if definitions.all() else 0.0
        Mirror(means).run(stop)
        leaving.begin()
        # No table follows the stream: where replication is refused that does not matter.
        if not _stream_is_asked(definitions, asked, leaving, stop, linger_s):
            break
    if not definitions.all():
        leaving.look()  # it may have been told to end just as the last one was dropped
        if leaving.has_left and asked.is_clean:
            definitions.forget()


def _stream_is_asked(
    definitions: LiveDefinitions,
    asked: AskedTables,
    leaving: Leaving,
    stop: Callable[[], bool],
    linger_s: float,
) -> bool:
    """Waits until a table is declared that follows the stream; False where none came in
    ``linger_s``, no other is asked for and nothing is left on the server, or at ``stop``.
    """
    token, end_s = None, time.monotonic() + linger_s
    while not stop():
        if token != definitions.token():  # the first time, too: one may just have come
            token = definitions.token()
            if any(one.how == "stream" for one in definitions.all().values()):
                return True
        leaving.look()
        if leaving.is_over and not asked.any and time.monotonic() >= end_s:
            return False
        time.sleep(LOOK_S)
    return False
