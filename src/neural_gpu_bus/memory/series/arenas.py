"""Arenas: files that extents lie in. Mapped once a process; bytes once given out stay as they are.

An arena's first word says how many of its bytes are given out, the second how many it has: a file
that somebody cut is refused before it is mapped and read. The first is stored before the bytes are
used and never goes back: bytes that any view may have seen are never written again, by this writer
or the next. An arena goes as a whole, by unlink; whoever has it mapped keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.files.folder import make_file, no_room_told
from neural_gpu_bus.memory.files.mapping import (
    FileMapping,
    FileTooShortError,
    allocate,
    map_path,
)
from neural_gpu_bus.memory.series.budget import MapFile, file_name
from neural_gpu_bus.memory.series.damage import SIZE, USED, check_arena, damaged
from neural_gpu_bus.memory.series.records import FILE_HEAD_BYTES
from neural_gpu_bus.memory.series.shape import aligned

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

ARENAS = "arenas"
#: Files are whole pages of every machine (Apple's have 16 KiB).
PAGE_BYTES = 16_384
#: Files a process has mapped, beyond twice those that were there at its last look, before it looks
#: which of them are gone: who only attaches others' frames sees no clock that says so.
GONE_MAX = 16


def paged(nbytes: int) -> int:
    """Rounded up to whole pages."""
    return -(-nbytes // PAGE_BYTES) * PAGE_BYTES


class ArenaMaps:
    """Arenas as a reader maps them, each once."""

    def __init__(self, folder: Path, map_file: MapFile) -> None:
        self._folder = folder / ARENAS
        self._map_file = map_file
        self._arrays: dict[int, Bytes] = {}
        self._many = GONE_MAX

    def array(self, arena: int) -> Bytes:
        """All its bytes, read-only. FileNotFoundError where it was removed; ProtocolError."""
        found = self._arrays.get(arena)
        if found is None:
            path = self._folder / str(arena)
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                nbytes = os.fstat(file).st_size
                if nbytes < FILE_HEAD_BYTES:
                    raise damaged(path, f"it has {nbytes:,} bytes")
                found = self._map_file(file, nbytes, file_name(path)).array()
                check_arena(path, found)
            finally:
                os.close(file)
            self._arrays[arena] = found
            if len(self._arrays) > self._many:
                self.forget_gone()
                self._many = 2 * len(self._arrays) + GONE_MAX
        return found

    def forget_gone(self) -> None:
        """Let go of arenas that were removed: their memory is free when no view has them."""
        for arena in list(self._arrays):
            if not (self._folder / str(arena)).exists():
                self._arrays.pop(arena, None)

    def forget_all(self) -> None:
        """Let go of all of them: the group was dropped."""
        self._arrays.clear()

    def __len__(self) -> int:
        return len(self._arrays)

    def __iter__(self) -> Iterator[int]:
        """Numbers of those that are mapped."""
        return iter(list(self._arrays))


class WritableArenas:
    """Arenas as the one writer gives extents out of them."""

    def __init__(
        self,
        folder: Path,
        limits: tuple[int, int],
        next_number: Callable[[], int],
        claim: Callable[[int], None],
        give_back: Callable[[int], None],
    ) -> None:
        import numpy as np

        self._folder = folder / ARENAS
        self._bytes_min, self._bytes_max = limits
        self._next_number = next_number
        self._claim = claim
        self._give_back = give_back
        self.arrays: dict[int, Bytes] = {}
        self._words: dict[int, npt.NDArray[np.int64]] = {}
        #: Address of each arena by its number; 0 where there is none.
        self.addresses: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        #: Bytes of each arena that some partition holds, published or about to be.
        self.live_bytes: dict[int, int] = {}
        #: The same of all arenas, and bytes given out of all; kept because publishing looks.
        self.total_live_bytes = self.total_used_bytes = self.total_bytes = 0
        self._maybe_dead: set[int] = set()
        #: Made before they are needed, oldest first.
        self._ahead: list[int] = []
        self._current = 0
        for name in os.listdir(self._folder):  # noqa: PTH208  its own numbers
            if name.isdigit():
                self._adopt(int(name))
        rooms = {number: self.room(number) for number in self.arrays}
        if rooms:
            self._current = max(rooms, key=lambda number: rooms[number])

    def used(self, arena: int) -> int:
        """Bytes given out of an arena, its head included."""
        return int(self._words[arena][0])

    def room(self, arena: int) -> int:
        """Bytes of an arena that nobody was given."""
        return len(self.arrays[arena]) - self.used(arena)

    def words(self, arena: int) -> npt.NDArray[np.int64]:
        """All its bytes as numbers of 64 bits."""
        return self._words[arena]

    def is_current(self, arena: int) -> bool:
        """Whether extents are given out of it now."""
        return arena == self._current

    def allocate(self, nbytes: int) -> tuple[int, int]:
        """Arena and offset of that many bytes (rounded up to 64), which read as zeros.

        Raises SharedMemoryFullError with nothing given out.
        """
        nbytes = aligned(nbytes)
        arena = self._current
        if not arena or self.room(arena) < nbytes:
            size = self._size_of_next()
            if nbytes > (size - FILE_HEAD_BYTES) // 2:
                arena = self._make(paged(FILE_HEAD_BYTES + nbytes))
            else:
                arena = self._taken_ahead(nbytes) or self._make(size)
                self._maybe_dead.add(self._current)
                self._current = arena
        offset = self.used(arena)
        self._words[arena][0] = offset + nbytes
        self.total_used_bytes += nbytes
        self.hold(arena, nbytes)
        return arena, offset

    def make_ahead(self, turn: AbstractContextManager[Any]) -> int:
        """One arena more, for what will be allocated; bytes that it has. Others may take the
        writer's ``turn`` while its pages are made: 40 MB take 25 ms. Raises SharedMemoryFullError.
        """
        with turn:
            number, nbytes = self._numbered(self._size_of_next())
        try:
            mapping = self._mapping(number, nbytes)
        except BaseException:
            with turn:
                self._give_back(nbytes)
            raise
        with turn:
            self._add(number, mapping)
            self._ahead.append(number)
            return self.room(number)

    def drop_ahead(self) -> None:
        """Those of them that nobody needed go with the next publication."""
        self._maybe_dead.update(self._ahead)
        self._ahead.clear()

    def _taken_ahead(self, nbytes: int) -> int:
        """One of them with room for that many bytes; 0 for none."""
        for place, number in enumerate(self._ahead):
            if self.room(number) >= nbytes:
                return self._ahead.pop(place)
        return 0

    def hold(self, arena: int, nbytes: int) -> None:
        """Some partition holds these bytes of an arena."""
        nbytes = aligned(nbytes)
        self.live_bytes[arena] = self.live_bytes.get(arena, 0) + nbytes
        self.total_live_bytes += nbytes

    def free(self, arena: int, nbytes: int) -> None:
        """Nothing holds these bytes of an arena any more."""
        self.live_bytes[arena] -= aligned(nbytes)
        self.total_live_bytes -= aligned(nbytes)
        self._maybe_dead.add(arena)

    def remove_dead(self) -> int:
        """Unlink arenas that hold nothing, but for the current one; how many."""
        dead = [number for number in self._maybe_dead if self.is_dead(number)]
        self._maybe_dead.clear()
        for number in dead:
            self.total_used_bytes -= self.used(number)
            nbytes = len(self.arrays.pop(number))
            self.total_bytes -= nbytes
            self._words.pop(number)
            self.live_bytes.pop(number, None)
            self.addresses[number] = 0
            with suppress(FileNotFoundError):
                (self._folder / str(number)).unlink()
            self._give_back(nbytes)
        return len(dead)

    def is_dead(self, number: int) -> bool:
        """Whether it is there, nothing in it is held, and nothing will be given out of it."""
        is_held = bool(self.live_bytes.get(number)) or number == self._current
        return number in self.arrays and not is_held and number not in self._ahead

    def _size_of_next(self) -> int:
        """Small groups start small; a large one has few files."""
        wanted = max(self._bytes_min, min(self._bytes_max, self.total_bytes))
        return paged(wanted)

    def _make(self, nbytes: int) -> int:
        number, nbytes = self._numbered(nbytes)
        try:
            mapping = self._mapping(number, nbytes)
        except BaseException:
            self._give_back(nbytes)
            raise
        self._add(number, mapping)
        return number

    def _numbered(self, nbytes: int) -> tuple[int, int]:
        """The next arena's number, its bytes claimed."""
        self._claim(nbytes)
        try:
            return self._next_number(), nbytes
        except BaseException:
            self._give_back(nbytes)
            raise

    def _mapping(self, number: int, nbytes: int) -> FileMapping:
        """A new file with its pages."""
        path = self._folder / str(number)
        file = make_file(path)
        try:
            with no_room_told(self._folder, nbytes):
                allocate(file, nbytes)
                return FileMapping(file, nbytes, writable=True)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)

    def _add(self, number: int, mapping: FileMapping) -> None:
        self._map(number, mapping)
        self._words[number][SIZE] = mapping.nbytes
        self._words[number][USED] = FILE_HEAD_BYTES
        self.total_used_bytes += FILE_HEAD_BYTES

    def _adopt(self, number: int) -> None:
        """An arena of the writer before; one that it did not finish is empty and goes."""
        path = self._folder / str(number)
        try:
            mapping = map_path(path, PAGE_BYTES, writable=True)
        except FileTooShortError:
            path.unlink()
            return
        if mapping.array()[:8].any():
            check_arena(path, mapping.array())
            self._map(number, mapping)
        else:
            path.unlink()

    def _map(self, number: int, mapping: FileMapping) -> None:
        import numpy as np

        if number >= len(self.addresses):
            grown = np.zeros(2 * number, np.int64)
            grown[: len(self.addresses)] = self.addresses
            self.addresses = grown
        self.arrays[number] = mapping.array()
        self._words[number] = self.arrays[number].view(np.int64)
        self.addresses[number] = mapping.address
        self.total_bytes += mapping.nbytes
        self.total_used_bytes += self.used(number)
        self._maybe_dead.add(number)


def arena_bytes(folder: Path) -> int:
    """Of all arenas of a group, by looking at each."""
    return sum(entry.stat().st_size for entry in os.scandir(folder / ARENAS))
