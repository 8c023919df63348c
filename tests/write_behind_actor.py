"""A process that stores rows later and writes down which were acknowledged, until it is killed."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind

TABLES = ("later_a", "later_b")
ROWS_MAX = 40


def open_write_behind(
    dsn: str, folder: Path, *, bytes_max: int = 256 << 20, close_timeout_s: float = 5.0
) -> tuple[WriteBehind, Pool]:
    """With a pool of its own."""
    pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=2, wait_timeout_s=20)
    opened = WriteBehind(
        pool.lend,
        postgres_address(dsn),
        folder,
        bytes_max=bytes_max,
        close_timeout_s=close_timeout_s,
    )
    return opened, pool


def store_until_killed(dsn: str, folder: Path, actor: int, log: Path, seed: int) -> None:
    """Rows (actor, n) for n = 0, 1, ...; each line of ``log``: table, first n, rows that were
    acknowledged. Some batches have a job's id and are stored twice.
    """
    chance = random.Random(seed)
    opened, _ = open_write_behind(dsn, folder)
    opened.resume()
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    n = 0
    while True:
        table = chance.choice(TABLES)
        rows = chance.choice((1, 3, ROWS_MAX))
        columns = {
            "actor": np.full(rows, actor, "i8"),
            "n": np.arange(n, n + rows),
            "value": np.arange(rows) * 0.5,
        }
        job_id = f"later-{actor}-{n}" if chance.random() < 0.2 else None
        opened.store_later(table, columns, job_id=job_id)
        os.write(file, f"{table} {n} {rows}\n".encode())
        if job_id is not None:
            opened.store_later(table, columns, job_id=job_id)
        n += rows
        time.sleep(chance.random() * 0.01)
