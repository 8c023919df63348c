"""The series that versions of live tables lie in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import DatasetNotFoundError
from neural_gpu_bus.live.applying.applied_table import AppliedTable
from neural_gpu_bus.live.applying.array_depths import ArrayDepths
from neural_gpu_bus.live.mirror.copy_turns import CopyTurns
from neural_gpu_bus.live.mirror.group import GROUP

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.memory.growing import GrowingColumns
    from neural_gpu_bus.memory.series.writer import SeriesWriter
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape


class SeriesRoom:
    """One group of growing columns with its one writer."""

    def __init__(self, growing: GrowingColumns) -> None:
        """Raises SeriesBusyError where another process writes live tables."""
        self._growing = growing
        #: For copies into them.
        self.turns = CopyTurns()
        #: Of each live table.
        self._depths: defaultdict[str, ArrayDepths] = defaultdict(ArrayDepths)
        self.writer: SeriesWriter = growing.writer(GROUP, make=True)

    def close(self) -> None:
        """Let another process write."""
        self.writer.close()

    def last_version(self, name: str) -> int:
        """Number of the newest series that a table has had."""
        versions = [0]
        for found in self._growing.names(GROUP):
            before, _, version = found.rpartition("@")
            if before == name and version.isdigit():
                versions.append(int(version))
        return max(versions)

    def made(
        self,
        series: str,
        shape: TableShape,
        definition: LiveDefinition,
        columns: Sequence[SourceColumn],
    ) -> AppliedTable:
        """A series for one version of a table."""
        return AppliedTable.create(
            *(self._growing, self.writer, GROUP, series, shape, definition, columns),
            self._depths[definition.name],
        )

    def found(
        self,
        series: str,
        shape: TableShape,
        definition: LiveDefinition,
        columns: Sequence[SourceColumn],
    ) -> AppliedTable:
        """The series of a version that is there, as it was published last. Raises
        DatasetNotFoundError.
        """
        depths = self._depths[definition.name]
        return AppliedTable.found(self.writer, series, shape, definition, columns, depths)

    def forget(self, name: str, *, keep: str) -> None:
        """Empty all versions of a table but one, and take away those that are: views live on."""
        for found in self._growing.names(GROUP):
            if found.rpartition("@")[0] == name and found != keep:
                with suppress(DatasetNotFoundError):
                    if not self.writer.remove(found):  # next time, when that is published
                        self.writer.truncate(found)
