"""A table that is followed for its changes alone: in place of ``AppliedTable``, it keeps no row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neural_gpu_bus.live.applying.applied_table import ApplyCounts

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
    from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges, Truncated


class NoRows:
    """Everything is right of a table without rows."""

    def apply(self, steps: Sequence[RowChanges | Truncated]) -> ApplyCounts:  # noqa: ARG002
        """Nothing to publish."""
        return ApplyCounts()

    def check_rows(self) -> None:
        """There are none."""

    def take_shape(self, shape: TableShape) -> None:
        """It may have any columns."""

    def discarded(self) -> None:
        """There was nothing to take back."""
