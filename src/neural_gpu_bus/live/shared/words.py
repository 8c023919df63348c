"""Layout of the state file: words of 64 bits, and two places for the manifest, written in turn.

``<memory>/live/state`` is made once, with every page behind it, and never cut or made anew while
it fits: whoever maps it sees every writer that comes. A writer changes a word with one aligned
store. The manifest of epoch E lies in place E % 2; storing ``EPOCH`` = E makes it the one that
counts. So a writer that is killed at any moment leaves the one before, and nothing that is said
here ever needs room that a full memory may not have.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.host_clock import clock_identity
from neural_gpu_bus.memory.files.folder import (
    LIVE,
    folder_locked,
    make_file,
    no_room_told,
)
from neural_gpu_bus.memory.files.mapping import FileTooShortError, allocate, map_path

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

STATE = "state"
#: ``ngblive1`` as a number: another layout has another.
MAGIC_WORD = int.from_bytes(b"ngblive1", "little")
#: What seldom changes; readers look at EPOCH each time, so it shares no cache line with the rest.
#: GONE: 1 once another file stands in this one's place. CLOCK: which clock ``*_NS`` are told by.
#: The first three stay where they are in every layout to come.
MAGIC, GONE, EPOCH, WRITER_PID, WRITER_STARTED_NS, CLOCK = range(6)
#: What moves all the time. Moments are of ``host_clock``; WALL and COMMITTED are since 1970.
HEARTBEAT_NS, HEARTBEAT_WALL_NS = 8, 9
RECEIVED_LSN, APPLIED_LSN, COMMITTED_NS, CONFIRMED_NS = 10, 11, 12, 13
#: Counters of each table, 64 bytes.
TABLES_MAX = 512
TABLES_AT, TABLE_WORDS = 512, 8
ROWS_COPIED, ROWS_EXPECTED, CHANGES, TRANSACTIONS, STREAM_BYTES = range(5)
#: Of a ``polled`` table: what it shows, as APPLIED_LSN and CONFIRMED_NS tell of live ones.
SHOWN_LSN, SHOWN_CONFIRMED_NS = 5, 6
#: Of the copy that runs or ran last, as they were received.
BYTES_COPIED = 7
#: Bytes of each of the two manifests, its head included: length, checksum and epoch.
MANIFEST_BYTES = 256 << 10
MANIFEST_HEAD_WORDS = 3
_WORDS = TABLES_AT + TABLES_MAX * TABLE_WORDS
MANIFESTS_AT_BYTES = 8 * _WORDS
STATE_BYTES = MANIFESTS_AT_BYTES + 2 * MANIFEST_BYTES
assert STATE_BYTES % 4096 == MANIFESTS_AT_BYTES % 4096 == 0  # noqa: S101


def state_path(memory: Path) -> Path:
    """Where it lies in a memory folder."""
    return memory / LIVE / STATE


def make_state_file(memory: Path) -> Path:
    """The file, made by whoever comes first. Raises SharedMemoryFullError."""
    path = state_path(memory)
    if not path.exists():
        with folder_locked(path.parent), no_room_told(path.parent, STATE_BYTES):
            if not path.exists():
                fill_new(path)
    return path


def fill_new(path: Path) -> None:
    """A new file under that name, in place of what was there; whole before it has the name."""
    making = path.with_suffix(".making")
    making.unlink(missing_ok=True)
    file = make_file(making)
    try:
        allocate(file, STATE_BYTES)
        os.pwrite(file, MAGIC_WORD.to_bytes(8, "little"), 0)
    finally:
        os.close(file)
    making.rename(path)


def replace_state_file(path: Path) -> None:
    """For the one writer, where another version's layout is there: whoever maps that is told."""
    with suppress(OSError):
        found = map_path(path, 8 * (EPOCH + 1), writable=True).array()
        if found[:7].tobytes() == MAGIC_WORD.to_bytes(8, "little")[:7]:
            words = found[: 8 * (EPOCH + 1)].view("<i8")
            words[GONE] = 1
            words[EPOCH] += 1
    with folder_locked(path.parent), no_room_told(path.parent, STATE_BYTES):
        fill_new(path)


def map_state(path: Path, *, writable: bool = False) -> npt.NDArray[np.uint8]:
    """Its bytes. Raises FileNotFoundError, ProtocolError for another layout."""
    try:
        found = map_path(path, STATE_BYTES, writable=writable).array()
    except FileTooShortError as error:
        raise _foreign(path, str(error.strerror)) from None
    head = found[:8].tobytes()
    if int.from_bytes(head, "little") != MAGIC_WORD:
        raise _foreign(path, f"it begins with {head!r}")
    return found


def manifest_place(epoch: int) -> slice:
    """Bytes of the manifest of an epoch."""
    start = MANIFESTS_AT_BYTES + epoch % 2 * MANIFEST_BYTES
    return slice(start, start + MANIFEST_BYTES)


def table_word(place: int, word: int) -> int:
    """Where a counter of the table with that place is."""
    return TABLES_AT + place * TABLE_WORDS + word


def clock_number() -> int:
    """``clock_identity`` as a word: moments of two processes compare only where it is equal."""
    digest = hashlib.blake2b(clock_identity().encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")


def _foreign(path: Path, why: str) -> ProtocolError:
    return ProtocolError(
        f"{str(path)!r} is no state of live tables that this version knows: {why}",
        hint="all processes of a home need the same version; `ngb down` and `ngb up` make it anew",
        position=0,
    )
