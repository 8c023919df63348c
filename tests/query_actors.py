"""What other processes do in the tests of kept results, importable by a fresh process."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.query_cache import QueryCache
from neural_gpu_bus.stores.postgres import PostgresStore

BYTES_MAX = 256 << 20


class CachedReads:
    """A cache over a real server; counts the statements that it sends."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.memory = UnifiedMemory(folder, BYTES_MAX)
        self.store = PostgresStore(
            dsn,
            self.memory.reserve,
            connections_max=4,
            connect_timeout_s=5,
            query_timeout_s=30,
            result_bytes_max=64 << 20,
        )
        self.cache = QueryCache(
            self.memory, folder, lambda: self.store, bytes_max=32 << 20, wait_timeout_s=30
        )
        self.sent = 0

    def ask(self, sql: str, params: Any = None, *, freshness: Any, **other: Any) -> Any:
        found = self.cache.find(sql, params, freshness=freshness)
        if found is not None:
            return found

        def read(reserve: Any, timeout_s: float | None) -> Any:
            self.sent += 1
            return self.store.query(sql, params, reserve=reserve, timeout_s=timeout_s)

        return self.cache.load(read, sql, params, freshness=freshness, **other)

    def close(self) -> None:
        self.store.close()
        self.memory.close()


def ask_when_told(dsn: str, folder: Path, sql: str, told: Event, answer: Connection) -> None:
    """Ask once; send the first value, where its block lies, and statements sent."""
    reads = CachedReads(dsn, folder)
    answer.send("ready")
    told.wait(30)
    frame = reads.ask(sql, freshness=60)
    answer.send((frame["x"][0].item(), frame.descriptor.uuid, reads.sent))
    del frame
    reads.close()


def ask_and_never_come_back(dsn: str, folder: Path, sql: str, answer: Connection) -> None:
    """Begin to read; the statement takes longer than this process lives."""
    reads = CachedReads(dsn, folder)
    answer.send("ready")
    reads.ask(sql, freshness="manual")
    time.sleep(60)
