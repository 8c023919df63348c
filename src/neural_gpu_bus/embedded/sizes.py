"""How large the private servers may grow, from the size of the machine. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from neural_gpu_bus.machine_memory import usable_memory_bytes

MIB = 1 << 20
GIB = 1 << 30

#: One plane keeps 4 connections at most by default, so this is two dozen planes and their workers.
POSTGRES_CONNECTIONS_MAX = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """Limits of the private servers, in bytes.

    Of the machine's memory a quarter is the unified memory's (settings), an eighth the compute
    Redis's (settings), 1/16 PostgreSQL's buffers, 1/16 each of the other Redis's: 9/16 at most, and
    the rest is for workers and for the page cache, which PostgreSQL reads through as well.
    """

    #: Machine / 16, from 64 MiB (a tenth of that already fits a small schema) to 2 GiB: the planes
    #: hold what is hot, the server does not have to.
    shared_buffers_bytes: int
    #: Fixed and small: 100 connections of it make 400 MiB. Queries that need more set it
    #: themselves.
    work_mem_bytes: int
    #: Machine / 64, from 64 MiB to 1 GiB: index builds after a load, few at once.
    maintenance_work_mem_bytes: int
    #: An eighth of the free disk, from 256 MiB to 4 GiB: 100 million rows of bars are about 8 GiB
    #: of WAL, so a load checkpoints twice instead of a hundred times.
    max_wal_size_bytes: int
    #: Machine / 16, from 64 MiB to 4 GiB: market data and engine logic refuse writes beyond it.
    traditional_redis_bytes_max: int


def sizes_for(machine_bytes: int, disk_free_bytes: int) -> Sizes:
    """Sizes for a machine with that much memory and that much room on the disk of the home."""
    return Sizes(
        shared_buffers_bytes=_clamp(machine_bytes // 16, 64 * MIB, 2 * GIB),
        work_mem_bytes=4 * MIB,
        maintenance_work_mem_bytes=_clamp(machine_bytes // 64, 64 * MIB, 1 * GIB),
        max_wal_size_bytes=_clamp(disk_free_bytes // 8, 256 * MIB, 4 * GIB),
        traditional_redis_bytes_max=_clamp(machine_bytes // 16, 64 * MIB, 4 * GIB),
    )


def machine_sizes(home: Path) -> Sizes:
    """Sizes for this machine, or for the container around this process where that is smaller."""
    return sizes_for(usable_memory_bytes(), psutil.disk_usage(str(home)).free)


def _clamp(value: int, lowest: int, highest: int) -> int:
    return max(lowest, min(highest, value))
