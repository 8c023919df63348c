"""The directory of a series: one entry a partition, and the table of keys. Both only grow.

``partitions``: 128 bytes of head (words: how many partitions have a key, bytes of the key table,
generation that changed any of them last, perhaps not published yet; 0: look at all; 1 once the
series was taken out of its group), then 128 bytes a partition: two slots, see ``records.SLOT``.
``keys``: for each partition, in order of its number: 4 bytes of length, msgpack of its key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.errors import DatasetEvictedError
from neural_gpu_bus.memory.files.folder import make_file, no_room_told
from neural_gpu_bus.memory.files.mapping import FileTooShortError, allocate, map_path
from neural_gpu_bus.memory.series.clock import view
from neural_gpu_bus.memory.series.damage import damaged
from neural_gpu_bus.memory.series.order import reader_fence
from neural_gpu_bus.memory.series.records import (
    ENTRY_BYTES,
    FILE_HEAD_BYTES,
    SLOT_WORDS,
    Slot,
    read_slot,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PARTITIONS, KEYS = "partitions", "keys"
#: Words of the head.
COUNT, KEY_BYTES, CHANGED, REMOVED = 0, 1, 2, 3
_HEAD_WORDS, _ENTRY_WORDS = FILE_HEAD_BYTES // 8, ENTRY_BYTES // 8
#: ``Slot._make`` in a third of its time.
_slot_of: Callable[[tuple[int, ...]], Slot] = partial(tuple.__new__, Slot)
ENTRIES_MIN = 62  # with the head one page of 8,064 bytes

Key = tuple[Any, ...]


class Directory:
    """As a reader sees it. Looks again when it is asked for what it has not seen."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.ids: dict[Key, int] = {}
        self.keys: list[Key] = []
        self._key_bytes = 0
        self._refreshing = threading.Lock()
        self._fence = reader_fence()
        #: The file of entries as it was mapped last: its bytes, and the same as words. Replaced in
        #: one step, because other threads look meanwhile; they take it once a look.
        self._mapped = self._map()

    def find(self, key: Key) -> int | None:
        """Number of a partition; None where no writer ever named it."""
        found = self.ids.get(key)
        if found is None and self._mapped[1][COUNT] > len(self.keys):
            self.refresh()
            found = self.ids.get(key)
        return found

    def refresh(self) -> None:
        """See partitions that were added. Raises DatasetEvictedError where all were dropped."""
        try:
            with self._refreshing:
                self._refresh()
        except FileNotFoundError:
            raise series_dropped(self._name) from None

    def _refresh(self) -> None:
        words = self._mapped[1]
        count = words[COUNT]
        self._fence()  # the count first: the keys of those it counts are written
        stop = words[KEY_BYTES]
        missing = count - len(self.keys)
        for key, nbytes in read_keys(self._folder / KEYS, self._key_bytes, stop, missing):
            self.ids[key] = len(self.keys)
            self.keys.append(key)
            self._key_bytes += nbytes

    def newest(self, partition: int, generation: int) -> Slot:
        """What a partition holds as of a generation; to be validated by the clock."""
        raw, words = self._mapped
        at = _HEAD_WORDS + partition * _ENTRY_WORDS
        if at + _ENTRY_WORDS > len(words):
            raw, words = self._mapped = self._map()
            if at + _ENTRY_WORDS > len(words):
                raise damaged(self._folder / PARTITIONS, f"it ends before entry {partition:,}")
        first, second = words[at], words[at + SLOT_WORDS]
        if second > generation or (first > second and first <= generation):
            if first > generation:
                return Slot()
            return _slot_of(read_slot(raw, at * 8))
        return _slot_of(read_slot(raw, (at + SLOT_WORDS) * 8))

    @property
    def changed(self) -> int:
        """Generation that changed a partition last, or works on one now; 0: not known."""
        return self._mapped[1][CHANGED]

    @property
    def is_removed(self) -> bool:
        """Whether the series was taken out of its group: nothing will ever be in it again."""
        return self._mapped[1][REMOVED] != 0

    def changed_since(self, since: int, generation: int) -> npt.NDArray[np.int64]:
        """Partitions whose newest slot as of a generation is later than ``since``; to be validated
        by the clock.
        """
        import numpy as np

        written = self._entries()[:, :, 0].copy()
        written[written > generation] = -1
        return np.flatnonzero(written.max(axis=1) > since) if len(written) else written.ravel()

    def copy(self) -> npt.NDArray[np.int64]:
        """All entries now, shaped (partitions, 2, words of a slot); some half written."""
        return self._entries().copy()

    def renewed(self, copy: npt.NDArray[np.int64], known: int) -> npt.NDArray[np.int64]:
        """A copy of before made as a copy of now, in a tenth of the time: only entries that
        changed, and those of a generation later than ``known``, are copied.

        ``known`` was published before the copy was made, so what it holds of that generation was
        whole, or is being written over, and then shows another generation now.
        """
        entries = self._entries()
        if len(entries) != len(copy):
            return entries.copy()
        held = copy[:, :, 0]
        changed = ((entries[:, :, 0] != held) | (held > known)).any(axis=1).nonzero()[0]
        copy[changed] = entries[changed]
        return copy

    def _entries(self) -> npt.NDArray[np.int64]:
        import numpy as np

        raw, words = self._mapped
        count = words[COUNT]
        if FILE_HEAD_BYTES + count * ENTRY_BYTES > len(raw):
            raw, _ = self._mapped = self._map()
        if not 0 <= count <= (len(raw) - FILE_HEAD_BYTES) // ENTRY_BYTES:
            raise damaged(self._folder / PARTITIONS, f"{count:,} entries in {len(raw):,} bytes")
        entries = np.frombuffer(raw, np.int64, count * _ENTRY_WORDS, FILE_HEAD_BYTES)
        return entries.reshape(count, 2, SLOT_WORDS)

    def _map(self) -> tuple[memoryview, memoryview]:
        try:
            raw = view(map_path(self._folder / PARTITIONS, FILE_HEAD_BYTES).array())
        except FileNotFoundError:
            raise series_dropped(self._name) from None
        except FileTooShortError as error:
            raise damaged(self._folder / PARTITIONS, str(error.strerror)) from None
        if len(raw) % 8:
            raise damaged(self._folder / PARTITIONS, f"it has {len(raw):,} bytes")
        return raw, raw.cast("q")


def series_dropped(name: str) -> DatasetEvictedError:
    """The error for a look at a series whose group is no more."""
    return DatasetEvictedError(
        f"series {name!r} was dropped with its group",
        hint="ask for it again: plane.series(name), with a schema where nobody made it anew; "
        "frames taken before live on",
        name=name,
        version=0,
    )


def read_keys(path: Path, start: int, stop: int, count: int) -> Iterator[tuple[Key, int]]:
    """So many keys from one byte of the table on, each with the bytes it takes there.

    What lies behind them, up to ``stop``, may be of a writer that died before it counted them.
    """
    if count <= 0:
        return
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        nbytes = os.fstat(file).st_size
        if not start < stop <= nbytes:
            raise damaged(path, f"{count:,} keys from byte {start:,} to {stop:,} of {nbytes:,}")
        found = os.pread(file, stop - start, start)
    finally:
        os.close(file)
    at = 0
    while at < len(found) and count:
        length = int.from_bytes(found[at : at + 4], "little")
        try:
            key = _decode_key(found[at + 4 : at + 4 + length])
        except (msgspec.DecodeError, ValueError, TypeError, IndexError) as error:
            raise damaged(path, f"no key at byte {start + at:,}: {error}") from None
        yield key, 4 + length
        at += 4 + length
        count -= 1
    if count:
        raise damaged(path, f"it ends {count:,} keys before the last")


def encode_key(key: Key) -> bytes:
    """msgpack of one key; a date stands in brackets, because it would come back as text."""
    return msgspec.msgpack.encode([[value] if type(value) is date else value for value in key])


def _decode_key(raw: bytes) -> Key:
    return tuple(
        date.fromisoformat(value[0]) if isinstance(value, list) else value
        for value in msgspec.msgpack.decode(raw)
    )


class WritableDirectory:
    """The same for the one writer: ``entries`` shaped (room, 2, words of a slot)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._map()
        if self.head[COUNT] > len(self.entries):
            raise damaged(folder / PARTITIONS, f"it ends before entry {self.head[COUNT]:,}")
        stop, count = int(self.head[KEY_BYTES]), int(self.head[COUNT])
        found = list(read_keys(folder / KEYS, 0, stop, count))
        self.keys = [key for key, _ in found]
        self.ids = {key: number for number, key in enumerate(self.keys)}
        # Not up to KEY_BYTES: a writer that died after it told them did not count its keys.
        self._written = sum(nbytes for _, nbytes in found)

    @property
    def nbytes(self) -> int:
        """Of the file of entries."""
        return FILE_HEAD_BYTES + self.entries.nbytes

    def add(self, keys: list[Key]) -> int:
        """Give new keys their partitions, which hold nothing yet; returns bytes that files grew.

        Raises SharedMemoryFullError before any of them is there.
        """
        needed = FILE_HEAD_BYTES + (len(self.keys) + len(keys)) * ENTRY_BYTES
        grown = 0
        if needed > self.nbytes:
            grown = self._grow(max(needed, 2 * self.nbytes))
        packed = b"".join(_framed(key) for key in keys)
        file = os.open(self._folder / KEYS, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            with no_room_told(self._folder, len(packed)):
                written = 0
                while written < len(packed):
                    written += os.pwrite(file, packed[written:], self._written + written)
        finally:
            os.close(file)
        self._written += len(packed)
        for key in keys:
            self.ids[key] = len(self.keys)
            self.keys.append(key)
        from neural_gpu_bus.memory.series.kernels import store_in_order

        store_in_order(self.head, KEY_BYTES, self._written)
        store_in_order(self.head, COUNT, len(self.keys))
        return grown + len(packed)

    def tell_changed(self, generation: int) -> None:
        """Some partition changes with that generation; before it is published."""
        self.head[CHANGED] = generation

    def tell_removed(self) -> None:
        """Whoever has it mapped is told that nothing more comes."""
        self.head[REMOVED] = 1

    def _grow(self, nbytes: int) -> int:
        """Longer, never shorter: whoever maps the file keeps what he has."""
        before = self.nbytes
        file = os.open(self._folder / PARTITIONS, os.O_RDWR | os.O_NOFOLLOW)
        try:
            with no_room_told(self._folder, nbytes - before):
                allocate(file, nbytes)
        finally:
            os.close(file)
        self._map()
        return self.nbytes - before

    def _map(self) -> None:
        import numpy as np

        path = self._folder / PARTITIONS
        try:
            raw = map_path(path, FILE_HEAD_BYTES, writable=True).array()
        except FileTooShortError as error:
            raise damaged(path, str(error.strerror)) from None
        words = raw[: len(raw) // 8 * 8].view(np.int64)
        self.head = words[:_HEAD_WORDS]
        whole = (len(words) - _HEAD_WORDS) // _ENTRY_WORDS
        entries = words[_HEAD_WORDS : _HEAD_WORDS + whole * _ENTRY_WORDS]
        self.entries = entries.reshape(whole, 2, SLOT_WORDS)


def _framed(key: Key) -> bytes:
    packed = encode_key(key)
    return len(packed).to_bytes(4, "little") + packed


def make_directory_files(folder: Path) -> None:
    """Empty ones. Raises SharedMemoryFullError."""
    nbytes = FILE_HEAD_BYTES + ENTRIES_MIN * ENTRY_BYTES
    for name, size in ((PARTITIONS, nbytes), (KEYS, 0)):
        file = make_file(folder / name)
        try:
            if size:
                with no_room_told(folder, size):
                    allocate(file, size)
        finally:
            os.close(file)
