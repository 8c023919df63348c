"""What files of a series must agree on; where they do not, somebody else wrote to them.

Found out where it can be without a look at every byte: sizes, counts, and places that point out of
their file. Wrong values within the right places look like any others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.memory.series.records import CHUNK_BYTES, FILE_HEAD_BYTES, Chunk, Slot
from neural_gpu_bus.memory.series.shape import ALIGNMENT_BYTES, HEADER_BYTES, Shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

#: Words of an arena's head: bytes given out, and bytes of the file as it was made.
USED, SIZE = 0, 1


def damaged(path: Path, why: str) -> ProtocolError:
    """The error for a file of a series, or of its group's arenas, that is not as it was written."""
    return ProtocolError(
        f"{str(path)!r} is damaged: {why}",
        hint=f"remove the group's folder {str(path.parent.parent)!r} and write it anew; nothing in "
        "it can be trusted",
        position=0,
    )


def check_arena(path: Path, array: Bytes) -> None:
    """An arena has the size it was made with, and has given out no more. ProtocolError."""
    words = array[:FILE_HEAD_BYTES].view("<i8")
    if words[SIZE] != len(array):
        raise damaged(path, f"it has {len(array):,} bytes, its head says {words[SIZE]:,}")
    if not FILE_HEAD_BYTES <= words[USED] <= len(array):
        raise damaged(path, f"{words[USED]:,} of its {len(array):,} bytes are said to be in use")


def check_slot(slot: Slot, partitions: Path) -> None:
    """The counts of one partition agree. ProtocolError."""
    if _disagree(slot.rows, slot.head_rows, slot.capacity, slot.overlap, slot.spine_count):
        raise damaged(partitions, f"counts that cannot be: {slot}")


def check_slots(slots: npt.NDArray[np.void], partitions: Path) -> None:
    """The same of all partitions."""
    names = ("rows", "head_rows", "capacity", "overlap", "spine_count")
    wrong = _disagree(*(slots[name] for name in names)).nonzero()[0]
    if len(wrong):
        raise damaged(partitions, f"partition {wrong[0]} has counts that cannot be")


def _disagree(rows: Any, head_rows: Any, capacity: Any, overlap: Any, spine_count: Any) -> Any:
    """Of numbers or of arrays of them."""
    in_head = (overlap < 0) | (overlap > head_rows) | (head_rows > capacity)
    return in_head | (head_rows > rows) | (spine_count < 0)


def check_spine(arena: Bytes, offset: int, count: int, partitions: Path) -> None:
    """A list of chunks lies within its arena. ProtocolError."""
    if not FILE_HEAD_BYTES <= offset <= len(arena) - count * CHUNK_BYTES:
        raise damaged(partitions, f"{count:,} chunks at byte {offset:,} of {len(arena):,}")


def check_chunk(chunk: Chunk, shape: Shape, arena: Bytes | None, partitions: Path) -> None:
    """An extent lies within its arena, and its header agrees with that. ProtocolError."""
    if arena is None:
        if chunk.rows:
            raise damaged(partitions, f"{chunk.rows:,} rows lie nowhere")
        return
    if not 0 <= chunk.overlap <= chunk.rows <= chunk.capacity:
        raise damaged(partitions, f"counts that cannot be: {chunk}")
    end, room = shape.places(chunk.capacity)[1], len(arena) - chunk.offset
    if chunk.offset < FILE_HEAD_BYTES or chunk.offset % ALIGNMENT_BYTES or end > room:
        raise damaged(partitions, f"{chunk} lies outside its {len(arena):,} bytes")
    head = arena[chunk.offset : chunk.offset + shape.head_bytes].view("<i8").tolist()
    texts = head[HEADER_BYTES // 8 :][: 2 * shape.texts]
    sound = all(
        end <= at <= at + nbytes <= head[0]
        for at, nbytes in zip(texts[::2], texts[1::2], strict=True)
    )
    if not (end <= head[0] <= room and sound):
        raise damaged(partitions, f"{chunk} points to no such extent")
