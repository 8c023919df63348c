"""Where results of a watch go: a table of PostgreSQL, a key of Redis and an event."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.errors import BadParameterError

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.descriptors import AsOf, EngineChoice, StoreReceipt
    from neural_gpu_bus.stores.postgres import Mode

#: Columns that rows in PostgreSQL and Redis have besides: which position they are of, and when its
#: newest transaction was committed.
LSN_COLUMN, COMMIT_COLUMN = "as_of_lsn", "as_of_commit"
#: What events of results are.
EVENT = "WatchRun"


class Store(Protocol):
    """As ``PostgresStore.store``."""

    def __call__(  # noqa: D102
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None,
        mode: Mode,
        job_id: str | None,
    ) -> StoreReceipt: ...


class WriteKey(Protocol):
    """As ``RedisColumns.write``."""

    def __call__(self, key: str, columns: pa.Table) -> int: ...  # noqa: D102


class Announce(Protocol):
    """As ``EventBus.publish``."""

    def __call__(self, topic: str, kind: str, payload: Mapping[str, Any]) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Outlets:
    """What is stored and published of each result; none of both is right too."""

    table: str | None = None
    key: tuple[str, ...] = ()
    mode: Mode = "append"
    redis_key: str | None = None
    topic: str = "results"
    store: Store | None = None
    write_key: WriteKey | None = None
    announce: Announce | None = None

    def stored(self, rows: pa.Table, job_id: str | None) -> StoreReceipt | None:
        """Once for one ``job_id``. None where nothing is stored."""
        if self.table is None or self.store is None:
            return None
        key = list(self.key) or None
        return self.store(self.table, rows, key=key, mode=self.mode, job_id=job_id)

    def published(self, rows: pa.Table, facts: Mapping[str, Any]) -> None:
        """The rows under their key, then the event that says so."""
        if self.redis_key is None or self.write_key is None or self.announce is None:
            return
        self.write_key(self.redis_key, rows)
        told = {**facts, "rows": rows.num_rows, "table": self.table, "redis_key": self.redis_key}
        self.announce(self.topic, EVENT, told)


def checked_mode(store: str | None, key: Sequence[str], mode: Mode | None) -> Mode:
    """What is asked for; else upsert with a key, append without."""
    if isinstance(key, str):
        raise BadParameterError(
            f"key is {key!r}: expected names", hint=f"e.g. key=[{key!r}]", parameter="key"
        )
    if store is None and (key or mode is not None):
        raise BadParameterError(
            "key and mode are of a table", hint="name it: store='risk'", parameter="store"
        )
    chosen: Mode = mode if mode is not None else ("upsert" if key else "append")
    if chosen not in {"append", "upsert", "replace"}:
        raise BadParameterError(
            f"mode is {mode!r}", hint="append, upsert or replace", parameter="mode"
        )
    return chosen


def with_position(rows: pa.Table, told: AsOf) -> pa.Table:
    """The result with the columns that say what it is of."""
    import pyarrow as pa

    moment = None if told.committed_ns is None else told.committed_ns // 1000
    at = pa.repeat(pa.scalar(moment, pa.timestamp("us", tz="UTC")), rows.num_rows)
    lsn = pa.repeat(pa.scalar(told.lsn, pa.string()), rows.num_rows)
    return rows.append_column(LSN_COLUMN, lsn).append_column(COMMIT_COLUMN, at)


def facts_of(watch: str, workload: str, told: AsOf, choice: EngineChoice) -> dict[str, Any]:
    """Of an event; times as decimal texts, as all events of the bus have them."""
    return {
        "watch": watch,
        "workload": workload,
        "engine": choice.engine,
        "lsn": told.lsn,
        "committed_ns": "" if told.committed_ns is None else str(told.committed_ns),
    }


def behind_s(told: AsOf) -> float | None:
    """How long ago its newest transaction was committed, by the clocks of both hosts."""
    return None if told.committed_ns is None else (time.time_ns() - told.committed_ns) / 1e9
