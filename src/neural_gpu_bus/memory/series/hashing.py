"""Hashes of rows by the bytes of some of their columns: of columns at hand, and of rows held.

The columns of the key come first, because the rows held have them once a partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.memory.series import finding_kernels as finding
from neural_gpu_bus.memory.series import kernels
from neural_gpu_bus.memory.series.batches import FORMS, Arrays, source_of
from neural_gpu_bus.memory.series.chunk_table import chunk_table, order_facts
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.shape import Shape

    Hashes = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.int64]


class RowHashes:
    """Of rows at hand by the same columns, again and again."""

    def __init__(self, shape: Shape, names: Sequence[str], seed: int = 0) -> None:
        """``names``: of columns of the series."""
        of_key = [name for name in names if name in shape.key]
        others = shape.flat([name for name in names if name not in shape.key])
        self._seed = seed
        self._parts = [_matrix(shape, of_key), _matrix(shape, others)]
        #: In the order in which ``of`` takes them.
        self.names = (*of_key, *others)

    def of(self, sources: Numbers, rows: int) -> Hashes:
        """``sources``: where those columns lie, as ``batches.source_of`` gives it."""
        found, at = np.full(rows, self._seed, np.uint64), 0
        for matrix in self._parts:
            seeds, found = found, np.empty(rows, np.uint64)
            here = sources[at : at + len(matrix)]
            finding.hash_rows(matrix, np.arange(len(matrix)), here, seeds, 1, found)
            at += len(matrix)
        return found


def row_hashes(shape: Shape, columns: Arrays, names: Sequence[str], seed: int = 0) -> Hashes:
    """Of rows at hand. ``columns``: of the series' types, each in one piece."""
    rows = len(columns[shape.flat(names)[0]]) if names else 0
    of_key = [name for name in names if name in shape.key]
    others = shape.flat([name for name in names if name not in shape.key])
    found = np.full(rows, seed, np.uint64)
    for several in (of_key, others):
        found = _hashed(shape, columns, several, found)
    return found


def _matrix(shape: Shape, names: Sequence[str]) -> Numbers:
    """What loops know of these columns; see ``kernels``."""
    from neural_gpu_bus.memory.layout.column_types import column_type

    matrix = np.zeros((len(names), kernels.COLUMN_FIELDS), np.int64)
    for number, name in enumerate(names):
        kind = column_type(str(_type_of(shape, name)), name)
        matrix[number, kernels.FORM] = FORMS.get(kind.form, kernels.FIXED)
        matrix[number, kernels.WIDTH] = kind.item_bytes
    return matrix


def _type_of(shape: Shape, name: str) -> Any:
    """Of a flat column, or one of the key."""
    stored = shape.by_name.get(name)
    return shape.schema.field(name).type if stored is None else stored.arrow


def _hashed(shape: Shape, columns: Arrays, names: Sequence[str], seeds: Hashes) -> Hashes:
    from neural_gpu_bus.memory.layout.column_types import column_type

    sources = np.zeros((len(names), kernels.SOURCE_FIELDS), np.int64)
    held: dict[str, Any] = {}
    for number, name in enumerate(names):
        array = columns[name]
        wanted = _type_of(shape, name)
        if array.type != wanted:  # a text of the key, of shorter offsets
            array = held[name] = array.cast(wanted)
        sources[number] = source_of(array, column_type(str(wanted), name))
    found = np.empty_like(seeds)
    # ``held`` keeps what was made for the loop.
    finding.hash_rows(_matrix(shape, names), np.arange(len(names)), sources, seeds, 1, found)
    return found


def held_hashes(state: SeriesState, names: Sequence[str]) -> Iterator[tuple[int, Hashes, Numbers]]:
    """Of all rows held, chunk by chunk: partition, hashes, order values (0 without an order)."""
    import pyarrow as pa

    shape, partitions = state.shape, np.array(state.with_rows(), np.int64)
    of_key = [name for name in names if name in shape.key]
    others = shape.flat([name for name in names if name not in shape.key])
    on = np.array([shape.by_name[name].place for name in others], np.int64)
    keys = [state.directory.keys[partition] for partition in partitions.tolist()]
    values = {
        name: pa.array([key[shape.key.index(name)] for key in keys], shape.schema.field(name).type)
        for name in of_key
    }
    seeds = _hashed(shape, values, of_key, np.zeros(len(partitions), np.uint64))
    held = chunk_table(state, partitions)
    for place, partition in enumerate(partitions.tolist()):
        first = int(held.firsts[place])
        for chunk in held.table[first : first + int(held.counts[place])]:
            rows = int(chunk[finding.ROWS] - chunk[finding.OVERLAP])
            hashes, orders = np.empty(rows, np.uint64), np.empty(rows, np.int64)
            finding.hash_chunk(
                *(state.columns, on, order_facts(shape), chunk, seeds[place], hashes, orders)
            )
            yield partition, hashes, orders
