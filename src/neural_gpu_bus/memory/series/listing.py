"""What groups of series there are, without opening or locking any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from neural_gpu_bus.descriptors import SeriesFacts
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.memory.series.clock import BYTES
from neural_gpu_bus.memory.series.directory import COUNT
from neural_gpu_bus.memory.series.group import SeriesGroup, group_folders
from neural_gpu_bus.memory.series.locking import writer_pid
from neural_gpu_bus.memory.series.order import reader_fence
from neural_gpu_bus.memory.series.series import stable_stamp


def series_facts(folder: Path) -> list[SeriesFacts]:
    """Of every group in ``folder``, by name; without those that are spoilt, or go just now."""
    return sorted(_facts(folder), key=lambda one: one.group)


def _facts(folder: Path) -> Iterator[SeriesFacts]:
    for path in group_folders(folder):
        with suppress(NeuralGpuBusError, OSError):
            group = SeriesGroup(path)
            if not group.clock.is_dropped:
                yield _of(group)


def _of(group: SeriesGroup) -> SeriesFacts:
    names = group.names()
    stamp = stable_stamp(group.clock, reader_fence())
    return SeriesFacts(
        group=group.name,
        series=tuple(names),
        partitions=sum(_partitions(group.place(name).partitions) for name in names),
        nbytes=group.clock.words[BYTES],
        generation=stamp.generation,
        published_ns=stamp.published_ns,
        writer_pid=writer_pid(group.folder),
    )


def _partitions(path: Path) -> int:
    """How many keys a series has, told by the head of its directory."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return int.from_bytes(os.pread(file, 8, 8 * COUNT), "little")
    finally:
        os.close(file)
