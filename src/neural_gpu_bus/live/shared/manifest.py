"""What is said of each table, and how it is put into the state file and read from it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.live.shared.words import (
    EPOCH,
    MANIFEST_BYTES,
    MANIFEST_HEAD_WORDS,
    TABLES_MAX,
    manifest_place,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

#: What a table is doing. Only a ``live`` one is as of the stream's position. A ``polled`` one has
#: no stream, and is as of its own last look. What readers see of any other, if anything, is an
#: older version.
LiveTableState = Literal[
    "starting",
    "waiting",
    "copying",
    "catching up",
    "live",
    "polled",
    "copying anew",
    "failed",
    "stale",
]
LIVE_STATES: Final[tuple[LiveTableState, ...]] = get_args(LiveTableState)
#: Readers see a version that goes on.
SHOWN_STATES: Final[frozenset[LiveTableState]] = frozenset(("live", "polled"))

#: Characters that are kept of a detail, and of an error's sentence.
DETAIL_MAX, WHAT_MAX = 400, 800
#: A hint may have all the SQL that is to be run: whole where there is room for all tables' hints.
_WHOLE_MAX = 20_000
#: The same where not all tables' fit.
_SHORT_MAX = 60
_HEAD_BYTES = 8 * MANIFEST_HEAD_WORDS
#: Looks at a manifest that is being written over: each is the work of another epoch.
_LOOKS_MAX = 100


class TableState(msgspec.Struct, frozen=True):
    """One table as the process that follows it tells."""

    #: Of the live table.
    name: str
    #: The version that readers see; empty while none was ever whole. Only ``live`` changes it.
    series: str = ""
    state: LiveTableState = "starting"
    #: What it waits for or why it is not live, for a person: ``transaction 712 of pid 4242``.
    detail: str = ""
    #: Of the copy that runs or ran last; expected is PostgreSQL's estimate, 0 for none.
    rows_copied: int = 0
    rows_expected: int = 0
    #: Since when it is in this state.
    since_ns: int = 0
    error: ErrorRecord | None = None
    #: What the version that readers see is as of, where the state is not ``live``: WAL position,
    #: commit time (0: unknown), and the moment of the host's clock up to which it is complete.
    lsn: int = 0
    committed_ns: int = 0
    confirmed_ns: int = 0
    #: Epoch at which readers were given another version, or this one became or ceased to be live.
    version: int = 0
    #: Number of its counters.
    place: int = -1
    #: When a next attempt is due, by the host's clock; 0 where none is needed.
    retry_ns: int = 0
    #: What is worth knowing of a table that follows the stream: rights, row security, slots.
    notices: tuple[str, ...] = ()
    #: Which definition it follows: ``LiveDefinition.added_ns``.
    added_ns: int = 0
    #: How its commits are heard of: ``LiveDefinition.how``, and seconds between two looks.
    how: str = "stream"
    poll_s: float = 0.0
    #: Of one that follows the stream: seconds between two looks at its definition, where the stream
    #: does not tell of it; 0 where it does.
    looked_s: float = 0.0
    #: Since its place was given: row changes applied, transactions with any, and their bytes.
    changes: int = 0
    transactions: int = 0
    stream_bytes: int = 0
    #: Of the copy that runs or ran last, as they were received.
    bytes_copied: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """All tables as of one epoch."""

    epoch: int = 0
    tables: tuple[TableState, ...] = ()
    #: Where they come from, for a person; no password.
    source: str = ""
    #: A slot that outlives the process, for a person; and what is to be worried about of it.
    slot: str = ""
    slot_alarm: str = ""


def write_manifest(array: Bytes, manifest: Manifest) -> None:
    """Into its epoch's place; nobody sees it before ``EPOCH`` is stored.

    Raises BadParameterError for more tables than there is room for.
    """
    raw = _encoded(manifest)
    place = array[manifest_place(manifest.epoch)]
    words = place[:_HEAD_BYTES].view("<i8")
    words[2] = -1  # whoever still reads the manifest that was here finds another epoch
    place[_HEAD_BYTES : _HEAD_BYTES + len(raw)] = memoryview(raw)
    words[0], words[1] = len(raw), zlib.crc32(raw)
    words[2] = manifest.epoch


def read_manifest(array: Bytes, words: memoryview) -> Manifest | None:
    """The one that counts now; None where it cannot be read: its writer is another version."""
    for _ in range(_LOOKS_MAX):
        epoch = words[EPOCH]
        if epoch == 0:
            return Manifest()
        place = array[manifest_place(epoch)]
        length, checksum, written = place[:_HEAD_BYTES].view("<i8").tolist()
        if written != epoch or not 0 <= length <= MANIFEST_BYTES - _HEAD_BYTES:
            continue
        raw = place[_HEAD_BYTES : _HEAD_BYTES + length].tobytes()
        if zlib.crc32(raw) == checksum:
            try:
                return msgspec.msgpack.decode(raw, type=Manifest)
            except msgspec.DecodeError:
                return None
    return None


def _encoded(manifest: Manifest) -> bytes:
    tables = manifest.tables
    if len(tables) > TABLES_MAX:
        raise _too_many(len(tables))
    for limit in (_WHOLE_MAX, WHAT_MAX, _SHORT_MAX, 0):
        cut = tuple(_cut(table, limit) for table in tables)
        raw = msgspec.msgpack.encode(msgspec.structs.replace(manifest, tables=cut))
        if len(raw) <= MANIFEST_BYTES - _HEAD_BYTES:
            return raw
    raise _too_many(len(tables))


def _cut(table: TableState, limit: int) -> TableState:
    error = table.error
    if error is not None:  # the facts are for programs that catch it; what remains is for people
        error = ErrorRecord(error.kind, error.what[: min(limit, WHAT_MAX)], error.hint[:limit])
    notices = table.notices if limit > _SHORT_MAX else ()
    return msgspec.structs.replace(
        table, detail=table.detail[: min(limit, DETAIL_MAX)], error=error, notices=notices
    )


def _too_many(count: int) -> BadParameterError:
    return BadParameterError(
        f"{count} tables cannot be live at once",
        hint=f"at most {TABLES_MAX} can, fewer where their names are long; drop some: "
        "`ngb live drop NAME`",
        parameter="tables",
    )


def by_name(tables: Iterable[TableState]) -> dict[str, TableState]:
    """The same, found by name."""
    return {table.name: table for table in tables}
