"""The clock of a group: one small file that says which generation is published, and its stamps.

Words of 64 bits. A writer that works on generation G first stores ``WRITING`` = G, then changes
what readers of G - 2 may be looking at, then stores ``PUBLISHED`` = G: one aligned store makes all
of it visible. A reader takes P = ``PUBLISHED``, copies what it needs, and looks at ``WRITING``: up
to P + 1 nothing that it copied was being changed, because of two slots only the one that is not
the newest as of P is written for P + 1.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.memory.files.folder import make_file, no_room_told
from neural_gpu_bus.memory.files.mapping import FileTooShortError, allocate, map_path
from neural_gpu_bus.memory.series.records import Stamp

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: ``ngbclock`` as a number.
MAGIC_WORD = int.from_bytes(b"ngbclock", "little")
#: MAGIC; bytes of all files of the group; number of the next arena; arenas removed so far; 1 once
#: the group was dropped. The two words of publication share a cache line of their own.
MAGIC, BYTES, NEXT_ARENA, ARENAS_GONE, DROPPED = range(5)
PUBLISHED, WRITING = 8, 9
#: Stamps of the last generations, four words each.
STAMPS, STAMP_WORDS = 64, 4
STAMPS_AT = 64
WORDS = STAMPS_AT + STAMPS * STAMP_WORDS
CLOCK_BYTES = 4096
#: ``WRITING`` of a dropped group: no reader finds it quiet again, and so each looks why.
NEVER_QUIET = (1 << 63) - 1
assert WORDS * 8 <= CLOCK_BYTES  # noqa: S101


class Clock:
    """One group's clock as a reader sees it; ``words`` are the 64-bit words."""

    def __init__(self, path: Path) -> None:
        self.words = view(_mapped(path)).cast("q")

    @property
    def is_dropped(self) -> bool:
        """Whether the group is no more: what this clock tells of will never change."""
        return self.words[DROPPED] != 0

    def stamp(self, generation: int) -> Stamp | None:
        """Of a generation; None where it is too long ago. To be validated as all else."""
        at = STAMPS_AT + generation % STAMPS * STAMP_WORDS
        found = Stamp(*self.words[at : at + STAMP_WORDS].tolist())
        return found if found.generation == generation else None


def view(array: npt.NDArray[np.uint8]) -> memoryview:
    """Its bytes, each number of which Python reads with one load."""
    return memoryview(array)  # type: ignore[arg-type]  # the stub knows no numpy


def make_clock(path: Path, at_ns: int) -> None:
    """Generation 0, published when the group was made. Raises SharedMemoryFullError."""
    import numpy as np

    words = np.zeros(CLOCK_BYTES // 8, "<i8")
    words[MAGIC] = MAGIC_WORD
    words[NEXT_ARENA] = 1
    words[STAMPS_AT + 3] = at_ns
    file = make_file(path)
    try:
        with no_room_told(path.parent, CLOCK_BYTES):
            allocate(file, CLOCK_BYTES)
            os.pwrite(file, words.tobytes(), 0)
    finally:
        os.close(file)


def writable_words(path: Path) -> npt.NDArray[np.int64]:
    """The words, for the one writer."""
    import numpy as np

    return _mapped(path, writable=True).view(np.int64)


def was_dropped(path: Path) -> bool:
    """Whether the group of a clock is no more, though its folder may be there still."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        head = os.pread(file, 8 * (DROPPED + 1), 0)
        return int.from_bytes(head[:8], "little") == MAGIC_WORD and any(head[8 * DROPPED :])
    finally:
        os.close(file)


def mark_dropped(path: Path) -> None:
    """Tell whoever has the clock mapped that its group goes. For whoever holds the writer's lock:
    a group that is marked is found by nobody, also where its folder could not be removed any more.
    """
    words = writable_words(path)
    words[DROPPED] = 1
    words[WRITING] = NEVER_QUIET


def _mapped(path: Path, *, writable: bool = False) -> npt.NDArray[np.uint8]:
    try:
        found = map_path(path, CLOCK_BYTES, writable=writable).array()
    except FileTooShortError as error:
        raise _no_clock(path, str(error.strerror)) from None
    head = found[:8].tobytes()
    if len(found) != CLOCK_BYTES or int.from_bytes(head, "little") != MAGIC_WORD:
        raise _no_clock(path, f"{len(found):,} bytes, begins with {head!r}")
    return found


def _no_clock(path: Path, why: str) -> ProtocolError:
    return ProtocolError(
        f"{str(path)!r} is no clock of a group of series ({why})",
        hint="remove its folder; nothing in it can be trusted",
        position=0,
    )
