"""Columns for a few tuples of the stream, made once and written again for every batch.

Their memory stays where it is, so that compiled code which takes rows from there needs no word of
Python in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.replication.few_tuple_rows import (
    bits_of,
    is_of_rows_alone,
    stretches,
)
from neural_gpu_bus.stores.postgres.replication.prepared_kernels import PREPARED_ROWS_MAX

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.replication.pgoutput import Relation

    Integers = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]

#: Of each text column; touched as far as it is used.
TEXT_BYTES_MAX = 1 << 16
#: Tuples on their way.
MESSAGE_BYTES_MAX = 1 << 18


class PreparedColumns:
    """Of one table, in this order. ``arguments`` are what ``write_prepared`` takes behind the
    tuples; ``stretches``: of each column its validity, its values or the offsets of its text, and
    of a text its bytes: where in ``memory`` each begins and how long it is.
    """

    def __init__(self, columns: Sequence[SourceColumn]) -> None:
        """Use ``of``."""
        texts = [column.is_variable for column in columns]
        bits = [0 if column.is_variable else bits_of(column) for column in columns]
        rows, every = PREPARED_ROWS_MAX, [TEXT_BYTES_MAX] * len(columns)
        self.stretches, nbytes = stretches(texts, bits, rows, every, [1] * len(columns))
        self.memory = np.zeros(nbytes, np.uint8)
        self.counts = np.zeros((2, len(columns)), np.int64)
        self._names = [column.name for column in columns]
        self._places: dict[int, tuple[Relation, Integers | None]] = {}
        self.arguments = (
            np.zeros(MESSAGE_BYTES_MAX, np.uint8),
            np.array([column.width for column in columns], np.int64),
            np.zeros((len(columns), layouts.TEXT_SLOTS), np.int64),
            self.counts,
            self._plan(columns),
            np.array([TEXT_BYTES_MAX if one else 0 for one in texts], np.int64),
            np.zeros(layouts.SCRATCH_BYTES, np.uint8),
        )

    @classmethod
    def of(cls, columns: Sequence[SourceColumn]) -> Self | None:
        """None where one of them is not made of rows alone."""
        return cls(columns) if columns and is_of_rows_alone(columns) else None

    def places(self, relation: Relation) -> Integers | None:
        """Where the columns stand in tuples of a relation; None where it lacks one."""
        found = self._places.get(relation.oid)
        if found is None or found[0] is not relation:
            there = {column.name: place for place, column in enumerate(relation.columns)}
            places = [there.get(name, -1) for name in self._names]
            known = None if -1 in places else np.array(places, np.int64)
            found = self._places[relation.oid] = relation, known
        return found[1]

    def _plan(self, columns: Sequence[SourceColumn]) -> npt.NDArray[np.uint64]:
        base = self.memory.ctypes.data
        plan = np.zeros((len(columns), layouts.PLAN_FIELDS), np.uint64)
        for fields, column, parts in zip(plan, columns, self.stretches, strict=True):
            validity, values, *text = (base + part[0] for part in parts if part is not None)
            fields[layouts.LAYOUT], fields[layouts.PARAMETER] = column.layout, column.parameter
            fields[layouts.VALIDITY] = validity
            fields[layouts.OFFSETS if text else layouts.VALUES] = values
            fields[layouts.DATA] = text[0] if text else 0
        return plan
