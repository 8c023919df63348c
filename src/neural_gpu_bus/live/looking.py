"""How live tables stand at one moment, as a record for commands and programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError, SeriesBusyError
from neural_gpu_bus.live.definitions import LiveDefinition
from neural_gpu_bus.live.shared import LiveAsOf, LiveView, TableState
from neural_gpu_bus.live.shared.freshness import age_s
from neural_gpu_bus.memory.series.series import Series


class LiveTableNow(msgspec.Struct, frozen=True):
    """One table; parts that are not known yet are None."""

    name: str
    #: None where it was dropped and its process does not know yet.
    definition: LiveDefinition | None
    #: None where it was added and its process does not know yet.
    state: TableState | None
    as_of: LiveAsOf | None
    #: Of the version that readers see.
    rows: int | None = None
    partitions: int | None = None


class LiveNow(msgspec.Struct, frozen=True):
    """All tables, and the stream that they follow. Lags are infinite where they are not known,
    which JSON tells as null.
    """

    #: By the host's clock: for rates between two looks.
    at_ns: int
    tables: tuple[LiveTableNow, ...]
    #: Where they come from; empty where nobody has followed anything.
    source: str
    #: Process that follows; 0 for none.
    pid: int
    heartbeat_s: float
    received_lsn: int
    applied_lsn: int
    #: Shared memory of all tables, their older versions included; 0 where nobody asked.
    nbytes: int = 0
    #: A slot that outlives the process; and what is to be worried about of it.
    slot: str = ""
    slot_alarm: str = ""


def look_at_live(
    view: LiveView,
    definitions: Mapping[str, LiveDefinition],
    open_series: Callable[[str], Series] | None = None,
) -> LiveNow:
    """How everything stands now. With ``open_series`` rows are counted: microseconds for each
    thousand partitions.
    """
    view.look_again()
    told, progress, now_ns = view.tables(), view.progress(), view.clock_ns()
    names = [*definitions, *(name for name in told if name not in definitions)]
    return LiveNow(
        at_ns=now_ns,
        tables=tuple(_table(name, view, definitions, told, open_series) for name in names),
        source=view.source,
        pid=progress.pid,
        heartbeat_s=age_s(progress.heartbeat_ns, progress, now_ns),
        received_lsn=progress.received_lsn,
        applied_lsn=progress.applied_lsn,
        slot=view.slot[0],
        slot_alarm=view.slot[1],
    )


def _table(
    name: str,
    view: LiveView,
    definitions: Mapping[str, LiveDefinition],
    told: Mapping[str, TableState],
    open_series: Callable[[str], Series] | None,
) -> LiveTableNow:
    state = told.get(name)
    rows = partitions = None
    if open_series is not None and state is not None and state.series:
        with suppress(DatasetNotFoundError, DatasetEvictedError, SeriesBusyError):
            snapshot = open_series(state.series).snapshot()
            rows, partitions = snapshot.rows(), len(snapshot.partitions())
    return LiveTableNow(
        name=name,
        definition=definitions.get(name),
        state=state,
        as_of=None if state is None else view.as_of(state),
        rows=rows,
        partitions=partitions,
    )
