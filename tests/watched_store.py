"""A PostgresStore over real shared memory, and what must be true after anything went wrong."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from fix_servers import wait_until
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres import PostgresStore

APPLICATION_NAME = "neural_gpu_compute"


@dataclass
class WatchedStore:
    """``direct_dsn`` goes round whatever stands between the store and the server."""

    store: PostgresStore
    memory: UnifiedMemory
    direct_dsn: str

    def assert_answers(self) -> None:
        """The next query gets its own answer, and no other's."""
        literal = uuid.uuid4().hex
        frame = self.store.query(f"SELECT '{literal}' AS mine, 7::int8 AS n")
        assert frame.arrow().to_pydict() == {"mine": [literal], "n": [7]}

    def assert_nothing_left(self, *, counted: bool = True) -> None:
        """No block, no claim beyond the files that are kept for the next blocks, and no session of
        ours that is not idle. ``counted=False``: without looking at the accounts.
        """
        gc.collect()  # an exception and the frame that handled it may hold each other
        assert [path.name for path in self.memory.folder.rglob("*.arrow")] == []
        spare_bytes = sum(path.stat().st_size for path in self.memory.folder.rglob("*.spare"))
        found = self.memory.statistics()
        assert found.blocks == 0
        if counted:
            assert sum(own.unnamed_bytes for own in found.processes) <= spare_bytes
            assert sum(own.mapped_blocks for own in found.processes) == 0
        wait_until(lambda: self._busy_sessions() == [], "the end of our sessions' work", 5)

    def _busy_sessions(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.direct_dsn, autocommit=True) as connection:
            return connection.execute(
                "SELECT state, query FROM pg_stat_activity WHERE application_name = %s "
                "AND state IS DISTINCT FROM 'idle' AND datname = current_database()",
                [APPLICATION_NAME],
            ).fetchall()

    def sessions(self) -> int:
        """Sessions of ours on the server."""
        with psycopg.connect(self.direct_dsn, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
                [APPLICATION_NAME],
            ).fetchall()
        return int(found[0][0])


@contextmanager
def watched_store(
    dsn: str,
    memory: UnifiedMemory,
    *,
    direct_dsn: str | None = None,
    connections_max: int = 2,
    connect_timeout_s: float = 5,
    query_timeout_s: float = 20,
    result_bytes_max: int = 1 << 28,
) -> Iterator[WatchedStore]:
    """Closed afterwards; then no session of ours may be left on the server."""
    store = PostgresStore(
        dsn,
        memory.reserve,
        connections_max=connections_max,
        connect_timeout_s=connect_timeout_s,
        query_timeout_s=query_timeout_s,
        result_bytes_max=result_bytes_max,
    )
    try:
        yield WatchedStore(store, memory, direct_dsn or dsn)
    finally:
        store.close()
