"""A few rows that come behind all others, the usual change of market data: the short way.

The general way makes Arrow tables and groups rows by partition: half a millisecond of Python for
one row. Here a key's bytes say which partition it is, and one compiled call writes all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from neural_gpu_bus.live.applying.net_effect_kernels import INSERT
from neural_gpu_bus.memory.series.few_rows_kernels import FEW_ROWS_MAX
from neural_gpu_bus.memory.series.kernels import DATA, SOURCE_FIELDS, VALIDITY, VALUES

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.live.applying.row_places import RowPlaces
    from neural_gpu_bus.live.applying.tuples import Tuples
    from neural_gpu_bus.memory.series.row_editor import RowEditor

    Numbers = npt.NDArray[np.int64]
    Key = tuple[bytes, ...]

#: Keys whose partition is kept by their bytes; then all are forgotten and learnt again.
KEYS_MAX = 1 << 16


class FewInserts:
    """Of one series. What it does not take it leaves as it was: the general way takes it."""

    def __init__(
        self, editor: RowEditor, tuples: Tuples, names: Sequence[str], places: RowPlaces
    ) -> None:
        """Use ``of``."""
        shape = editor.shape
        self._places = places
        self._hashes = places.few_hashes()
        self._editor = editor
        self._tuples = tuples
        self._names = tuple(names)
        hashed = () if self._hashes is None else self._hashes.names
        self._hashed = [self._names.index(name) for name in hashed]
        self._stored = [self._names.index(column.name) for column in shape.stored]
        self._key = [self._names.index(name) for name in shape.key]
        self._widths = [_key_bytes(shape.schema.field(name).type) for name in shape.key]
        self._order = None if shape.order is None else self._names.index(shape.order.name)
        self._not_null = self._key if self._order is None else [*self._key, self._order]
        self._raw = None if shape.order is None else np.dtype(shape.order.kind.raw)
        self._numbers: dict[Key, int] = {}
        self._missed: list[Key] = []

    @classmethod
    def of(
        cls, editor: RowEditor, tuples: Tuples, names: Sequence[str], places: RowPlaces
    ) -> Self | None:
        """None where keys are of a type whose bytes are not the key."""
        shape = editor.shape
        widths = [_key_bytes(shape.schema.field(name).type) for name in shape.key]
        return None if -1 in widths else cls(editor, tuples, names, places)

    def insert(self, changes: Any) -> int:
        """Rows that were added: all of these changes of one relation, or none."""
        self._missed = []
        rows = len(changes.kinds)
        if rows > FEW_ROWS_MAX or not (changes.kinds == INSERT).all():
            return 0
        found = self._tuples.few(changes, self._names)
        if found is None or any(found.nulls[place] for place in self._not_null):
            return 0
        keys = self._keys(found)
        try:
            numbers = np.array([self._numbers[key] for key in keys], np.int64)
        except KeyError:
            self._missed = keys
            return 0
        values = self._values(found)
        if not self._editor.add_few(_sources(found, self._stored), numbers, values):
            return 0
        if self._hashes is not None and self._places.index_bytes:
            hashes = self._hashes.of(_sources(found, self._hashed), rows)
            self._places.add_few(hashes, numbers, values if len(values) else np.zeros_like(numbers))
        return rows

    def learn(self, partitions: Numbers) -> None:
        """Of the rows that were left to the general way last, in their order."""
        if len(self._numbers) + len(self._missed) > KEYS_MAX:
            self._numbers.clear()
        if len(partitions) == len(self._missed):
            self._numbers.update(zip(self._missed, partitions.tolist(), strict=True))
        self._missed = []

    def _keys(self, found: Any) -> list[Key]:
        """Of each row the bytes of its key."""
        if not self._key:
            return [()] * found.rows
        parts = []
        for place, width in zip(self._key, self._widths, strict=True):
            _, (at, size), *text = found.places[place]
            raw = found.memory[at : at + size].tobytes()
            if width:
                parts.append([raw[i : i + width] for i in range(0, found.rows * width, width)])
                continue
            ends = np.frombuffer(raw, np.int64).tolist()
            at, size = text[0]
            raw = found.memory[at : at + size].tobytes()
            parts.append([raw[a:b] for a, b in pairwise(ends)])
        return list(zip(*parts, strict=True))

    def _values(self, found: Any) -> Numbers:
        """Of the order column."""
        if self._order is None or self._raw is None:
            return np.empty(0, np.int64)
        at = found.places[self._order][1][0]
        values = np.frombuffer(found.memory, self._raw, found.rows, at)
        return values.astype(np.int64, copy=False)


def _sources(found: Any, places: Sequence[int]) -> Numbers:
    """Where these columns lie: ``batches.sources_of`` of the same columns."""
    sources = np.zeros((len(places), SOURCE_FIELDS), np.int64)
    base = found.memory.ctypes.data
    for number, place in enumerate(places):
        validity, values, *text = found.places[place]
        if validity is not None:
            sources[number, VALIDITY] = base + validity[0]
        sources[number, VALUES] = base + values[0]
        if text:
            sources[number, DATA] = base + text[0][0]
    return sources


def _key_bytes(kind: Any) -> int:
    """Of one value as it lies there; 0 for text of any length, -1 for what is packed in bits."""
    import pyarrow as pa

    if pa.types.is_large_string(kind):
        return 0
    return -1 if pa.types.is_boolean(kind) else int(kind.bit_width) // 8
