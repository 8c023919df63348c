"""Rows of changes as Arrow columns, by the decoder of all reading."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.decoding.private_columns import PrivateReservation
from neural_gpu_bus.stores.postgres.replication import tuple_kernels as kernels
from neural_gpu_bus.stores.postgres.replication.few_tuple_rows import FEW_ROWS_MAX, FewRows
from neural_gpu_bus.stores.postgres.replication.key_kernels import hash_keys
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

Which = Literal["new", "old"]

_private: Any = PrivateReservation

#: Nobody knows it, so nobody can make keys whose hashes meet.
_SECRET = np.array([secrets.randbits(64), secrets.randbits(64)], np.uint64)


def rows_of(
    changes: RowChanges,
    which: Which,
    rows: npt.NDArray[np.int64],
    columns: Sequence[SourceColumn],
    wire_places: Sequence[int],
    *,
    few: FewRows | None = None,
) -> tuple[pa.Table, npt.NDArray[np.uint8] | None]:
    """The new or old tuples of some changes, in the order of ``rows``; of each the columns at
    ``wire_places`` of its relation, decoded as ``columns`` say.

    The second: of shape (rows, columns), 1 where a value was not sent because it did not change
    (TOAST); the table has NULL there. None where all were sent. ``few``: these columns made ready
    for few rows. Raises UnsupportedTypeError naming
    a column whose type has no binary form, BadValueError, ProtocolError.
    """
    tuples = tuples_of(changes, which)[rows]
    places = np.asarray(wire_places, np.int64)
    count = len(changes.relation.columns)
    target, missing = _messages(changes, which, tuples, places)
    unchanged = np.zeros((0, 0), np.uint8)
    if missing:
        unchanged = np.zeros((tuples.size, places.size), np.uint8)
        kernels.write_rows(changes.buffer, tuples, count, places, target, unchanged)
    table = few.table(target) if few is not None and 0 < tuples.size <= FEW_ROWS_MAX else None
    if table is None:
        table = _decoded(target, columns)
    return table, unchanged if missing else None


def _messages(
    changes: RowChanges,
    which: Which,
    tuples: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.uint8], int]:
    """Tuples as DataRow messages, and how many values were not sent."""
    count = len(changes.relation.columns)
    answer = np.zeros(kernels.ANSWER_SLOTS, np.int64)
    size = kernels.row_bytes(changes.buffer, tuples, count, checked_places(places, count), answer)
    if size < 0:
        raise fault(changes, which, answer)
    target = np.empty(size, np.uint8)
    missing = kernels.write_rows(
        changes.buffer, tuples, count, places, target, np.zeros((0, 0), np.uint8)
    )
    return target, int(missing)


def _decoded(messages: npt.NDArray[np.uint8], columns: Sequence[SourceColumn]) -> pa.Table:
    scan = CopyScan(columns, framed=True, headless=True)
    scan.feed(messages, messages.size)
    scan.finish(messages, messages.size)
    table: pa.Table = write_columns([ReceivedPart(messages, scan)], _private).seal()  # type: ignore[assignment]
    return table


def key_hashes(
    changes: RowChanges,
    which: Which,
    rows: npt.NDArray[np.int64],
    wire_places: Sequence[int],
    secret: npt.NDArray[np.uint64] | None = None,
) -> npt.NDArray[np.uint64]:
    """128-bit hashes, of shape (rows, 2), of the columns at ``wire_places``, by their bytes as
    PostgreSQL sends them: it too compares a replica identity by bytes (1.0 and 1.00 are two). A
    part of a new key that was not sent, because it is TOASTed and did not change, is the old
    key's.

    ``secret``: two words; hashes of different secrets cannot be compared. Without one it is this
    process's own. Raises ProtocolError where a key was not sent.
    """
    tuples, others = tuples_of(changes, which)[rows], changes.old_at[rows]
    count = len(changes.relation.columns)
    places = checked_places(np.asarray(wire_places, np.int64), count)
    hashes = np.empty((tuples.size, 2), np.uint64)
    answer = np.zeros(kernels.ANSWER_SLOTS, np.int64)
    words = _SECRET if secret is None else secret
    if not hash_keys(changes.buffer, tuples, others, count, places, words, hashes, answer):
        raise fault(changes, which, answer)
    return hashes


def tuples_of(changes: RowChanges, which: Which) -> npt.NDArray[np.int64]:
    """Where the new or the old tuples begin."""
    return changes.new_at if which == "new" else changes.old_at


def checked_places(places: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The places, which lie within a relation of so many columns. Raises ValueError."""
    if places.size and (places.min() < 0 or places.max() >= count):
        raise ValueError(f"a relation of {count} columns has none at {places.tolist()}")
    return places


def fault(changes: RowChanges, which: Which, answer: npt.NDArray[np.int64]) -> NeuralGpuBusError:
    """What a kernel found wrong."""
    relation = changes.relation
    name = f"{relation.schema}.{relation.name}"
    row = int(answer[kernels.FAULT_ROW]) + 1
    kind, place = int(answer[kernels.FAULT]), int(answer[kernels.FAULT_COLUMN])
    if kind == kernels.IS_TEXT:
        column = relation.columns[place]
        return UnsupportedTypeError(
            f"column {column.name!r} of {name} is of the type with OID {column.type_oid}, which "
            "PostgreSQL sends as text alone",
            hint="leave the column out (columns=...)",
            column=column.name,
            type=str(column.type_oid),
        )
    what = {
        kernels.OTHER_COLUMNS: f"has not the {len(relation.columns)} columns of its relation",
        kernels.NO_TUPLE: f"has no {which} values",
        kernels.KEY_NOT_SENT: "has a key that was not sent",
    }[kind]
    return ProtocolError(
        f"change {row} of {name} {what}",
        hint="connect again; if it happens again, report it",
        position=0,
    )
