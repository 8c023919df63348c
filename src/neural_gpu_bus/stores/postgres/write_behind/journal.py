"""One journal: a folder of segments, locked by the process that delivers it.

The kernel gives the lock up when that process ends, however it ends, so that the next process can
take the journal over. Only the process that made a journal ever adds to it.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from neural_gpu_bus.stores.postgres.write_behind.record_format import Record, decode_record
from neural_gpu_bus.stores.postgres.write_behind.record_queue import Place, RecordQueue
from neural_gpu_bus.stores.postgres.write_behind.room import Room

LOCK = "lock"
_SEGMENT_SUFFIX = ".segment"
_NUMBER = re.compile(r"[0-9]{8,}")


def segment_path(folder: Path, number: int) -> Path:
    """File of a journal's segment; 1 is the first."""
    return folder / f"{number:08d}{_SEGMENT_SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """Segments that are there, oldest first. Other files, a backup's say, are left alone."""
    names = (path.stem for path in folder.glob(f"*{_SEGMENT_SUFFIX}"))
    return sorted(int(name) for name in names if _NUMBER.fullmatch(name))


def lock_journal(folder: Path) -> int | None:
    """The lock's open file; None when another process has it, or the journal went meanwhile."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # gone, or another user's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.fstat(lock).st_ino == (folder / LOCK).stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        is_there = False
    if not is_there:
        os.close(lock)
        return None
    return lock


class _Segment:
    """A segment whose records are not all delivered, or that is still written."""

    __slots__ = ("nbytes", "open", "waiting")

    def __init__(self, nbytes: int, *, is_open: bool) -> None:
        self.nbytes = nbytes
        self.waiting = 0
        self.open = is_open


class Journal:
    """The records of a locked journal that wait, by table. Thread-safe.

    ``name`` is the folder's: names sort by when the journals were made.
    """

    def __init__(self, folder: Path, lock: int, room: Room) -> None:
        self.folder = folder
        self.name = folder.name
        self._lock: int | None = lock
        self._room = room
        self._mutex = threading.Lock()
        self._segments: dict[int, _Segment] = {}
        self._queues: dict[str, RecordQueue] = {}
        self._last_sequence = 0
        _held.add(self)

    def add_segment(self, number: int, nbytes: int, *, is_open: bool) -> None:
        """A segment is there, or is about to be written; its bytes are counted by the caller."""
        with self._mutex:
            self._segments[number] = _Segment(nbytes, is_open=is_open)

    def add_records(self, records: Iterable[tuple[str, Place]], segment: int, end: int) -> None:
        """Records that are on disk: table and place of each; the segment now ends at ``end``. May
        be repeated: what was added before is not added again.
        """
        with self._mutex:
            for table, place in records:
                if place.sequence > self._last_sequence:
                    self._queues.setdefault(table, RecordQueue()).append(place)
                    self._last_sequence = place.sequence
                    self._segments[segment].waiting += 1
            self._segments[segment].nbytes = end

    def close_segment(self, number: int) -> None:
        """Nothing more is added to it; it goes with its last record."""
        with self._mutex:
            self._segments[number].open = False
            self._drop_if_done(number)

    def tables(self) -> list[str]:
        """Those that records wait for."""
        with self._mutex:
            return list(self._queues)

    def head(self, table: str, records_max: int, bytes_max: int) -> list[Place]:
        """See ``RecordQueue.head``; empty when nothing waits for that table."""
        with self._mutex:
            queue = self._queues.get(table)
            return queue.head(records_max, bytes_max) if queue else []

    def waits(self, table: str, sequence: int) -> bool:
        """Whether a record of that table up to ``sequence`` waits."""
        head = self.head(table, 1, 0)
        return bool(head) and head[0].sequence <= sequence

    def drop_through(self, table: str, sequence: int) -> int:
        """Records of the table up to ``sequence`` are done with; how many there were."""
        dropped = 0
        with self._mutex:
            queue = self._queues.get(table)
            while queue and queue.head(1, 0)[0].sequence <= sequence:
                place = queue.pop()
                self._segments[place.segment].waiting -= 1
                self._drop_if_done(place.segment)
                dropped += 1
            if queue is not None and not queue:
                del self._queues[table]
        return dropped

    def waiting(self) -> tuple[int, int]:
        """Records that wait, and their bytes."""
        with self._mutex:
            queues = list(self._queues.values())
            return sum(map(len, queues)), sum(queue.nbytes for queue in queues)

    @property
    def nbytes(self) -> int:
        """Of its segments."""
        with self._mutex:
            return sum(segment.nbytes for segment in self._segments.values())

    @property
    def is_delivered(self) -> bool:
        """Nothing waits, and nothing can come any more."""
        with self._mutex:
            return not self._queues and not self._segments

    def read_bytes(self, place: Place) -> bytes:
        """The record's bytes as they are on disk now."""
        with segment_path(self.folder, place.segment).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), place.nbytes, place.position)

    def read(self, place: Place) -> Record | None:
        """The record; None when its bytes are no longer what was written."""
        record = decode_record(self.read_bytes(place), 0, self.name)
        return record if record is not None and record.sequence == place.sequence else None

    def _drop_if_done(self, number: int) -> None:
        """Its file is no longer needed. A power cut may bring it back: the ledger knows it."""
        segment = self._segments[number]
        if segment.waiting or segment.open:
            return
        with suppress(OSError):  # it goes with the journal's folder, then
            segment_path(self.folder, number).unlink(missing_ok=True)
        self._room.give_back(segment.nbytes)
        del self._segments[number]

    def let_go(self) -> None:
        """Leave what waits to the next process."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


_held: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A child that lives longer must not keep its dead parent's journals from being taken over."""
    for journal in list(_held):
        journal.let_go()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
