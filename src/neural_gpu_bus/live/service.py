"""The process of live tables, put together: one server, one group of series, one state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.live.changes.told_changes import ToldChanges
from neural_gpu_bus.live.definitions import LiveDefinitions
from neural_gpu_bus.live.mirror.continuing import SLOT_WAL_BYTES_MAX, Continuing
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
    """Follow what is declared live in ``home`` until nothing is, or ``stop`` says so.

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
        source = Source(dsn, str(home), store, connect_timeout_s=connect_timeout_s)
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
        means = MirrorMeans(source, room, state, LiveDefinitions(home), changes, continuing)
        Mirror(means).run(stop)
