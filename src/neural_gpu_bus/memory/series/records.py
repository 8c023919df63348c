"""Layouts of everything that processes share besides the rows: all numbers little, all aligned.

A *slot* says what one partition holds as of one generation. A *chunk* is a full extent of a
partition that has more rows than its head; the chunks of a partition, oldest first, are its
*spine*, written anew into an arena whenever it changes.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import msgspec
import numpy as np

SLOT = np.dtype(
    [
        ("generation", "<i8"),
        #: Of the whole partition.
        ("rows", "<i8"),
        #: Head: its extent. Arena 0: there is none.
        ("arena", "<i4"),
        ("capacity", "<i4"),
        ("offset", "<i8"),
        #: Rows in the head's extent, and how many of these, at its start, repeat the chunks before.
        ("head_rows", "<i4"),
        ("overlap", "<i4"),
        #: Mask of columns that may have NULLs in the head.
        ("nulls", "<i8"),
        ("spine_arena", "<i4"),
        ("spine_count", "<i4"),
        ("spine_offset", "<i8"),
    ]
)
CHUNK = np.dtype(
    [
        ("arena", "<i4"),
        ("capacity", "<i4"),
        ("offset", "<i8"),
        ("rows", "<i4"),
        ("overlap", "<i4"),
        ("nulls", "<i8"),
    ]
)
SLOT_BYTES, SLOT_WORDS, CHUNK_BYTES = 64, 8, 32
assert SLOT.itemsize == SLOT_BYTES == 8 * SLOT_WORDS  # noqa: S101
assert CHUNK.itemsize == CHUNK_BYTES  # noqa: S101

#: A partition's entry: two slots, written in turn.
ENTRY_BYTES = 2 * SLOT_BYTES
#: In front of the entries, and of an arena's extents.
FILE_HEAD_BYTES = 128


class Chunk(NamedTuple):
    """One extent of a partition and which of its rows count; fields as in ``CHUNK``."""

    arena: int
    capacity: int
    offset: int
    rows: int
    overlap: int
    nulls: int

    @property
    def own_rows(self) -> int:
        """Rows that no earlier chunk has."""
        return self.rows - self.overlap


class Slot(NamedTuple):
    """One partition as of one generation, as a reader copies it; fields as in ``SLOT``."""

    generation: int = 0
    rows: int = 0
    arena: int = 0
    capacity: int = 0
    offset: int = 0
    head_rows: int = 0
    overlap: int = 0
    nulls: int = 0
    spine_arena: int = 0
    spine_count: int = 0
    spine_offset: int = 0

    @property
    def head(self) -> Chunk:
        """Its newest extent."""
        head: Chunk = _made(Chunk, self[_HEAD])
        return head


#: Fields of a slot that are those of a chunk, in the same order. A look at a partition makes one
#: slot and one chunk: so they cost 0.1 us each, by their own constructors 0.3.
_HEAD = slice(2, 8)
_made: Any = tuple.__new__
assert tuple(Slot._fields)[2:8] == ("arena", "capacity", "offset", "head_rows", "overlap", "nulls")  # noqa: S101


#: The machine's own order of bytes: Python then copies each number with one load.
read_slot = struct.Struct("@qqiiqiiqiiq").unpack_from
read_chunk = struct.Struct("@iiqiiq").unpack_from


class Stamp(NamedTuple):
    """One publication."""

    generation: int
    #: WAL position as a number; 0 for none.
    lsn: int
    #: 0 for none.
    committed_ns: int
    published_ns: int


class GroupMeta(msgspec.Struct, frozen=True):
    """``meta`` of a group's folder."""

    name: str
    #: Format of the files; another one is refused.
    format: int
    arena_bytes_min: int
    arena_bytes_max: int


class SeriesMeta(msgspec.Struct, frozen=True):
    """``meta`` of a series' folder."""

    name: str
    #: Arrow's own serialisation.
    schema: bytes
    key: tuple[str, ...]
    order_by: str | None
    chunk_rows_max: int
    overlap_rows: int


#: Version of all these layouts.
FORMAT = 2
