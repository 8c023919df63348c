"""A few rows that come behind all others, or change where they are: the short way.

The general way makes Arrow tables and groups rows by partition: half a millisecond of Python for
one row. Here one compiled call takes new rows from the stream's bytes to their partitions; for
rows that change it says what becomes of their extents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from neural_gpu_bus.live.applying import few_kernels as kernels
from neural_gpu_bus.live.applying.known_keys import KnownKeys
from neural_gpu_bus.memory.series.few_rows_kernels import FEW_ROWS_MAX
from neural_gpu_bus.memory.series.kernels import DATA, SOURCE_FIELDS, VALIDITY, VALUES

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.live.applying.row_places import RowPlaces
    from neural_gpu_bus.live.applying.set_up import Identity
    from neural_gpu_bus.live.applying.tuples import Tuples
    from neural_gpu_bus.memory.series.row_editor import RowEditor
    from neural_gpu_bus.memory.series.shape import Shape

    Numbers = npt.NDArray[np.int64]


#: Of one batch: the general way makes 0.5 us a row of more.
INSERTS_MAX = 2048


class FewChanges:
    """Of one series. What it does not take it leaves as it was: the general way takes it."""

    def __init__(
        self, editor: RowEditor, prepared: Any, names: Sequence[str], places: RowPlaces
    ) -> None:
        """Use ``of``."""
        shape, sources = editor.shape, _sources(prepared)
        numbers = {name: number for number, name in enumerate(names)}
        self._editor, self._prepared, self._places = editor, prepared, places
        self._hashes = places.few_hashes()
        hashed = () if self._hashes is None else self._hashes.names
        self._hashed = sources[[numbers[name] for name in hashed]]
        self._stored = sources[[numbers[column.name] for column in shape.stored]]
        self._on = _on(shape, places.identity)
        self._partitions, self._values = np.zeros((2, FEW_ROWS_MAX), np.int64)
        key = [(numbers[name], _key_bytes(shape.schema.field(name).type)) for name in shape.key]
        keys = np.array(key, np.int64).reshape(len(key), 2)
        self._keys = KnownKeys(keys, sources)
        order = (-1, 0, 0)
        if shape.order is not None:
            raw = np.dtype(shape.order.kind.raw)
            order = (numbers[shape.order.name], raw.itemsize, int(raw.kind == "i"))
        not_null = [number for number, _ in key] + ([order[0]] if order[0] >= 0 else [])
        self._facts = sources, keys, np.array(not_null, np.int64), np.array(order, np.int64)
        #: Rows whose keys were not known last.
        self._missed = 0

    @classmethod
    def of(
        cls, editor: RowEditor, tuples: Tuples, names: Sequence[str], places: RowPlaces
    ) -> Self | None:
        """None where a column is not of rows alone, or a key's bytes are not the key."""
        shape = editor.shape
        widths = [_key_bytes(shape.schema.field(name).type) for name in shape.key]
        prepared = None if -1 in widths else tuples.few(names)
        return None if prepared is None else cls(editor, prepared, names, places)

    def begin(self, several: Sequence[Any]) -> bool:
        """Whether the short way is worth a look: few changes of one relation in one memory."""
        self._missed, first = 0, several[0]
        if any(one.relation is not first.relation for one in several):
            return False
        if any(one.buffer is not first.buffer for one in several):
            return False
        return sum(len(one.kinds) for one in several) <= INSERTS_MAX

    def insert(self, changes: Any) -> int:
        """How many of these changes of one relation were done, all of them or the first: rows that
        were added.
        """
        rows, done = len(changes.kinds), 0
        while done < rows:
            part = changes if rows <= FEW_ROWS_MAX else changes.part(done, done + FEW_ROWS_MAX)
            added = self._inserted(part)
            if not added:
                break
            done += added
        return done

    def _inserted(self, changes: Any) -> int:
        given, rows = self._given(changes), len(changes.kinds)
        if given is None:
            return 0
        added = self._editor.add_few(kernels.insert_few, *given, self._stored)
        if added > 0 and self._hashes is not None and self._places.index_bytes:
            hashes = self._hashes.of(self._hashed, rows)
            self._places.add_few(hashes, self._partitions[:rows], self._values[:rows])
        self._missed = rows if added == kernels.UNKNOWN else 0
        return max(added, 0)

    def update(self, changes: Any) -> int:
        """How many of these changes of one relation were done, all or none: rows were replaced, and
        lie where they did. Raises SharedMemoryFullError.
        """
        given, rows = self._given(changes), len(changes.kinds)
        if given is None or self._on is None or rows > FEW_ROWS_MAX:
            return 0
        count = self._editor.update_few(
            kernels.update_few, self._stored, *given, changes.old_at, self._on
        )
        if count == kernels.UNKNOWN:
            self._missed = rows
        return rows if count > 0 else 0

    def learn(self, partitions: Numbers) -> None:
        """Of the changes that were left to the general way last, in their order."""
        if len(partitions) >= self._missed:
            self._keys.learn(partitions[: self._missed])
        self._missed = 0

    def _given(self, changes: Any) -> tuple[Any, ...] | None:
        """What loops take of these changes; None where their relation lacks a column."""
        prepared, relation = self._prepared, changes.relation
        places = prepared.places(relation)
        if places is None:
            return None
        return (
            *(changes.kinds, changes.buffer, changes.new_at, len(relation.columns), places),
            *(*prepared.arguments, *self._facts, *self._keys.arguments),
            *(self._partitions, self._values),
        )


def _on(shape: Shape, identity: Identity) -> Numbers | None:
    """Stored columns that tell rows of one partition and order value apart; None where old rows
    come whole, and may be there several times, or no row ever changes.
    """
    if identity.whole or not identity.names:
        return None
    names = [name for name in identity.names if name in shape.by_name and name != shape.order_by]
    return np.array([shape.by_name[name].place for name in names], np.int64)


def _sources(prepared: Any) -> Numbers:
    """Where the columns lie: ``batches.sources_of`` of the same columns."""
    sources = np.zeros((len(prepared.stretches), SOURCE_FIELDS), np.int64)
    base = prepared.memory.ctypes.data
    for source, (validity, values, *text) in zip(sources, prepared.stretches, strict=True):
        source[VALIDITY], source[VALUES] = base + validity[0], base + values[0]
        if text:
            source[DATA] = base + text[0][0]
    return sources


def _key_bytes(kind: Any) -> int:
    """Of one value as it lies there; 0 for text of any length, -1 for what is packed in bits."""
    import pyarrow as pa

    if pa.types.is_large_string(kind):
        return 0
    return -1 if pa.types.is_boolean(kind) else int(kind.bit_width) // 8
