"""Rows of a live table as a workload takes them: ``ports.Columns`` over a frame of any source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.descriptors import BlockDescriptor, ColumnDescriptor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.frames.frame import Frame

    Array = npt.NDArray[Any]


class WatchedColumns:
    """A frame's columns under the names that a workload knows; nothing is copied."""

    def __init__(self, frame: Frame, names: dict[str, str]) -> None:
        """``names``: the workload's own -> the frame's."""
        self._frame = frame
        self._names = names

    @cached_property
    def descriptor(self) -> BlockDescriptor:
        """Names and types; there is no block, and so no file."""
        types = self._frame.types
        columns = tuple(
            ColumnDescriptor(name, types[own], self._frame.window(own).nulls)
            for name, own in self._names.items()
        )
        return BlockDescriptor("", 0, "", "", self.rows, 0, columns, 0, "")

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self._frame.rows

    def keys(self) -> Collection[str]:
        """Names of the columns."""
        return self._names.keys()

    def __getitem__(self, name: str) -> Array:
        column: Array = self._frame[self._names[name]]
        return column

    def values(self, name: str) -> Array:
        """Raw values: what lies under NULL is a filler."""
        values: Array = self._frame.values(self._names[name])
        return values

    def valid(self, name: str) -> npt.NDArray[np.bool_] | None:
        """True where not NULL; None for a column without NULLs."""
        return self._frame.valid(self._names[name])

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], Sequence[str]]:
        """A text column as codes and their texts."""
        return self._frame.codes(self._names[name])

    def arrow(self) -> pa.Table:
        """All columns, under the workload's names."""
        whole = self._frame.arrow()
        return whole.select(list(self._names.values())).rename_columns(list(self._names))
