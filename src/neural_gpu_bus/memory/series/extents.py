"""Extents and spines of one series in the writer's arenas: made, filled, moved, given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neural_gpu_bus.memory.series import kernels
from neural_gpu_bus.memory.series.records import CHUNK, CHUNK_BYTES, Chunk
from neural_gpu_bus.memory.series.shape import HEADER_BYTES, TEXT_HEADER_BYTES, Shape, aligned

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.arenas import WritableArenas

    Numbers = npt.NDArray[np.int64]


@dataclass(slots=True)
class CopyCounts:
    """What a writer has done since it was opened."""

    appended_rows: int = 0
    #: Rows copied because an extent was full, or began with what the one before ends with.
    grown_rows: int = 0
    #: Rows written again because of updates, deletes and late rows.
    rewritten_rows: int = 0
    #: Bytes copied because their arena was mostly dead.
    compacted_bytes: int = 0


class Extents:
    """Gives out extents, and remembers what to free when the generation is published, or not."""

    def __init__(self, shape: Shape, columns: Numbers, arenas: WritableArenas) -> None:
        self.shape = shape
        self.columns = columns
        self.arenas = arenas
        #: Given out since the last publication, and given up since: arena, bytes.
        self.made: list[tuple[int, int]] = []
        self.dropped: list[tuple[int, int]] = []

    def make(self, capacity: int, text_bytes: Sequence[int]) -> tuple[int, int]:
        """Arena and offset of an empty extent. Raises SharedMemoryFullError."""
        _, end = self.shape.places(capacity)
        sizes = [aligned(nbytes) for nbytes in text_bytes]
        nbytes = end + sum(sizes)
        arena, offset = self.arenas.allocate(nbytes)
        self.made.append((arena, nbytes))
        words, at = self.arenas.words(arena), end
        words[offset // 8] = nbytes
        for text, size in enumerate(sizes):
            place = (offset + HEADER_BYTES + TEXT_HEADER_BYTES * text) // 8
            words[place], words[place + 1] = at, size
            at += size
        return arena, offset

    def address(self, arena: int, offset: int) -> int:
        """Of an extent."""
        return int(self.arenas.addresses[arena]) + offset

    def nbytes(self, arena: int, offset: int) -> int:
        """Size of an extent, as its header has it."""
        return int(self.arenas.words(arena)[offset // 8])

    def drop(self, arena: int, offset: int) -> None:
        """No partition will hold it any more, once this is published."""
        if arena:
            self.dropped.append((arena, self.nbytes(arena, offset)))

    def text_use(self, chunk: Chunk, rows: int) -> tuple[list[int], list[int]]:
        """Bytes of texts in its first rows, and bytes that they may take."""
        import numpy as np

        used = np.zeros((1, self.shape.texts), np.int64)
        room = np.zeros((1, self.shape.texts), np.int64)
        if self.shape.texts and chunk.arena:
            address = np.array([self.address(chunk.arena, chunk.offset)], np.int64)
            capacity, count = np.array([chunk.capacity], np.int64), np.array([rows], np.int64)
            kernels.text_use(self.columns, address, capacity, count, used, room)
        return used[0].tolist(), room[0].tolist()

    def move(self, chunk: Chunk, first: int, target: Chunk, row: int, rows: int) -> None:
        """Copy rows of one extent into another, from its row ``row`` on."""
        import numpy as np

        move = [
            self.address(chunk.arena, chunk.offset),
            chunk.capacity,
            first,
            self.address(target.arena, target.offset),
            target.capacity,
            row,
            rows,
        ]
        kernels.move_rows(self.columns, np.array([move], np.int64))

    def write_spine(self, chunks: Sequence[Chunk]) -> tuple[int, int]:
        """Arena and offset of a list of chunks; arena 0 for none."""
        import numpy as np

        if not chunks:
            return 0, 0
        packed = np.array([tuple(chunk) for chunk in chunks], CHUNK)
        arena, offset = self.arenas.allocate(packed.nbytes)
        self.made.append((arena, packed.nbytes))
        self.arenas.arrays[arena][offset : offset + packed.nbytes] = packed.view(np.uint8)
        return arena, offset

    def read_spine(self, arena: int, offset: int, count: int) -> list[Chunk]:
        """The chunks of a spine."""
        if not count:
            return []
        raw = self.arenas.arrays[arena][offset : offset + count * CHUNK_BYTES].view(CHUNK)
        return [Chunk._make(chunk) for chunk in raw.tolist()]

    def drop_spine(self, arena: int, count: int) -> None:
        """The same as for an extent."""
        if count:
            self.dropped.append((arena, count * CHUNK_BYTES))

    def mark(self) -> tuple[int, int]:
        """Where we are, for ``undo``."""
        return len(self.made), len(self.dropped)

    def undo(self, mark: tuple[int, int]) -> None:
        """Forget what was given out and given up since."""
        del self.dropped[mark[1] :]
        while len(self.made) > mark[0]:
            self.arenas.free(*self.made.pop())

    def settle(self, *, published: bool) -> None:
        """Free what is held no more: what was given up, or if not published what was made."""
        held_no_more, rest = (self.dropped, self.made) if published else (self.made, self.dropped)
        rest.clear()
        while held_no_more:  # one by one: interrupted and called again, nothing is freed twice
            self.arenas.free(*held_no_more.pop())
