"""Where rows that go lie: by what their tuples say, or by an index of the identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.live.applying.place_index import PlaceIndex
from neural_gpu_bus.live.applying.set_up import Identity
from neural_gpu_bus.memory.series.hashing import RowHashes

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.memory.series.batches import Arrays
    from neural_gpu_bus.memory.series.exchanging import FoundRows
    from neural_gpu_bus.memory.series.row_editor import RowEditor

    Hashes = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.int64]


class RowPlaces:
    """Of one series. The index is built at the first row that goes, and kept up to date then."""

    def __init__(self, editor: RowEditor, identity: Identity, definition: LiveDefinition) -> None:
        self._editor = editor
        self.identity = identity
        order = () if definition.order_by is None else (definition.order_by,)
        more = () if identity.by_index else (*definition.key, *order)
        #: Columns of a tuple that ``find`` wants.
        self.names = list(dict.fromkeys((*more, *identity.names)))
        self._index: PlaceIndex | None = None
        self._hashes: npt.NDArray[np.uint64] = np.empty(0, np.uint64)

    @property
    def index_bytes(self) -> int:
        """Of the index; 0 while there is none."""
        return 0 if self._index is None else self._index.nbytes

    def find(self, table: pa.Table) -> FoundRows:
        """Rows with these identities; ``missing`` of the answer says which are not there."""
        if not self.identity.by_index:
            columns, partitions = self._editor.numbered(table, self.names)
            values = self._editor.order_values(columns)
            return self._editor.find(partitions, values, columns)
        columns = self._editor.fitted(table, self.names)
        self._hashes = self._editor.hashes(columns, self.names)
        if self._index is None:
            self._index = self._built()
        return self._tried(self._index, columns)

    def _tried(self, index: PlaceIndex, columns: Arrays) -> FoundRows:
        """Look where the index says; where another row has the hash, at the next place."""
        skipped = np.zeros(len(self._hashes), np.int64)
        while True:
            partitions, values = index.look(self._hashes, skipped)
            found = self._editor.find(partitions, values, columns)
            others = found.missing[partitions[found.missing] >= 0]
            if not len(others):
                return found
            skipped[others] += 1

    def remove(self, found: FoundRows) -> None:
        """These rows, the last that were looked for, are about to go."""
        if self._index is not None:
            self._index.drop(self._hashes, found.partitions, found.values)

    def add(self, columns: Arrays, partitions: Numbers) -> None:
        """These rows have come."""
        if self._index is not None:
            hashes = self._editor.hashes(columns, self.identity.names)
            self._index.put(hashes, partitions, self._editor.order_values(columns))

    def few_hashes(self) -> RowHashes | None:
        """For ``add_few``; None where no index is ever kept."""
        if not self.identity.by_index:
            return None
        return RowHashes(self._editor.shape, self.identity.names)

    def add_few(self, hashes: Hashes, partitions: Numbers, values: Numbers) -> None:
        """The same as ``add``, of rows whose hashes are at hand; order values, 0 without one."""
        if self._index is not None:
            self._index.put(hashes, partitions, values)

    def forget(self) -> None:
        """The series is not what the index says any more."""
        self._index = None

    def _built(self) -> PlaceIndex:
        index = PlaceIndex(self._editor.rows)

        def put(partition: int, hashes: Hashes, values: Numbers) -> None:
            index.put(hashes, np.full(len(hashes), partition), values)

        self._editor.each_held(self.identity.names, put)
        return index
