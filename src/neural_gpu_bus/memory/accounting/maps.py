"""Which blocks a process has mapped, told by the process itself in a file that all may read.

``sessions/<uuid>/maps`` is a row of 48-byte records, ``RECORD`` below. Linux would tell most of it
(``/proc/<pid>/maps``), macOS tells nothing, and neither tells since when.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.memory.files.folder import (
    DATASETS,
    SERIES,
    living_sessions,
    make_file,
    uuid_head,
)
from neural_gpu_bus.memory.files.mapping import FileMapping, allocate

#: Of the file, in the session's folder.
MAPS = "maps"


class Kind(IntEnum):
    """What is mapped; 0 in a record that is free."""

    NAMED = 1
    #: A block of some process without a name, or a pinned one.
    UNNAMED = 2
    #: A file of growing columns.
    SERIES = 3
    #: Pages of a dropped block that its writer keeps for the next one.
    KEPT = 4


RECORD = np.dtype(
    {
        "names": ["uuid", "nbytes", "since_ns", "kind"],
        "formats": ["V16", "<u8", "<u8", "<u4"],
        "offsets": [0, 16, 24, 32],
        "itemsize": 48,
    }
)
#: The file grows by doubling from 1,024 records: whole pages of 4 KiB and of Apple's 16 KiB.
RECORDS_MIN = 1024
#: What ``add`` answers where there was no room to write it down.
NOWHERE = -1

_record = struct.Struct("<16sQQI12x")


class OwnMaps:
    """This process's list. ``add`` and ``remove`` take under 1 us; safe for threads."""

    __slots__ = (
        "_buffer",
        "_clear_into",
        "_clock_ns",
        "_file",
        "_free",
        "_getpid",
        "_lock",
        "_pid",
        "_records",
    )

    def __init__(self, session_folder: Path, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        # Bound here: finalizers run when modules are already being taken down.
        self._clear_into = _record.pack_into
        self._getpid = os.getpid
        self._pid = os.getpid()
        self._file = make_file(session_folder / MAPS)
        self._buffer: memoryview | None = None
        self._records = 0
        #: Places to write to, the next one last.
        self._free: list[int] = []

    def add(self, uuid: str, nbytes: int, kind: Kind = Kind.NAMED) -> int:
        """Note that the file named ``uuid`` (hex) was mapped; the answer goes to ``remove``.

        Never an error: on a full file system it goes unlisted (``NOWHERE``).
        """
        try:
            place = self._free.pop()
        except IndexError:
            place = self._grown()
        if place == NOWHERE or (buffer := self._buffer) is None:
            return NOWHERE
        # The kind is written last; without it the record does not count.
        _record.pack_into(buffer, place * 48, bytes.fromhex(uuid), nbytes, self._clock_ns(), kind)
        return place

    def remove(self, place: int) -> None:
        """Note that it was unmapped. For finalizers: safe after ``close``, and nothing in a child
        made by fork, whose parent still has it mapped.
        """
        buffer = self._buffer
        if place == NOWHERE or buffer is None or self._getpid() != self._pid:
            return
        self._clear_into(buffer, place * 48, b"", 0, 0, 0)
        self._free.append(place)

    def close(self) -> None:
        """Let go of the file; it goes with the session's folder."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
            self._buffer = None

    def forked_in_child(self) -> None:
        """The file is the parent's; a thread of it may hold the lock for ever."""
        self._lock = threading.Lock()
        self.close()

    def _grown(self) -> int:
        """A free place in a file made twice as long; NOWHERE where there is no room."""
        with self._lock:
            if self._free:  # another thread was quicker
                return self._free.pop()
            if self._file < 0:
                return NOWHERE
            records = max(2 * self._records, RECORDS_MIN)
            try:
                allocate(self._file, records * RECORD.itemsize)
            except OSError:
                return NOWHERE
            mapping = FileMapping(self._file, records * RECORD.itemsize, writable=True)
            # Whoever still writes through the mapping before writes to the same pages.
            self._buffer = mapping.array().data
            self._free.extend(range(records - 1, self._records, -1))
            place, self._records = self._records, records
            return place


class Entry(NamedTuple):
    """One line of one process's list."""

    #: ``uuid_head`` of its session.
    session: int
    #: Hex, as the file's name has it.
    uuid: str
    nbytes: int
    since_ns: int
    kind: Kind


class LivingMaps:
    """All that living processes list at this moment."""

    def __init__(self, folder: Path) -> None:
        corners = living_sessions(folder)
        self._homes = [folder / DATASETS, *corners]
        self._arenas = folder / SERIES
        self.entries = [entry for corner in corners for entry in _entries(corner)]

    def is_gone(self, entry: Entry) -> bool:
        """Dropped, replaced, evicted or moved, and mapped still: its memory is not free, and nobody
        else counts it.
        """
        if entry.kind is Kind.SERIES:
            return entry.uuid not in self._growing
        return not any((home / f"{entry.uuid}.arrow").exists() for home in self._homes)

    @cached_property
    def _growing(self) -> set[str]:
        """Files of growing columns that are there: ``series/<group>/arenas/<number>``."""
        prefix = len(str(self._arenas.parent)) + 1
        return {file_uuid(str(path)[prefix:]) for path in self._arenas.glob("*/arenas/*")}


def file_uuid(name: str) -> str:
    """What stands in the list for a file without a uuid, given its path in the memory folder."""
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _entries(corner: Path) -> Iterator[Entry]:
    session = uuid_head(corner.name)
    for uuid, nbytes, since_ns, kind in read_maps(corner).tolist():
        yield Entry(session, bytes(uuid).hex(), nbytes, since_ns, Kind(kind))


def read_maps(session_folder: Path) -> npt.NDArray[Any]:
    """The records of a living session (``RECORD``); none where it has ended or maps nothing.

    Its process may be writing: what is not the same in two looks is left out.
    """
    first, second = _looked(session_folder / MAPS), _looked(session_folder / MAPS)
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    words = RECORD.itemsize // 8
    same = (first.view("<u8").reshape(-1, words) == second.view("<u8").reshape(-1, words)).all(1)
    kinds = (first["kind"] != 0) & (first["kind"] <= max(Kind))
    found: npt.NDArray[Any] = first[same & kinds]
    return found


def _looked(path: Path) -> npt.NDArray[Any]:
    try:
        raw = path.read_bytes()
    except OSError:
        raw = b""
    return np.frombuffer(raw[: len(raw) // RECORD.itemsize * RECORD.itemsize], dtype=RECORD)
