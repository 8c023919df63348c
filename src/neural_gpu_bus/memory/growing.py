"""Growing columns of a memory folder: groups of series, opened once a process, in its budget."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from neural_gpu_bus.memory.accounting.maps import Kind, file_uuid
from neural_gpu_bus.memory.accounting.own_session import list_mapping
from neural_gpu_bus.memory.catalog.names import check_given_name
from neural_gpu_bus.memory.files.mapping import FileMapping
from neural_gpu_bus.memory.series import Series, SeriesGroup
from neural_gpu_bus.memory.series.listing import series_facts
from neural_gpu_bus.memory.series.shape import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.descriptors import SeriesFacts
    from neural_gpu_bus.memory.memory_use import MemoryUse
    from neural_gpu_bus.memory.series.writer import SeriesWriter


class GrowingColumns:
    """The series of one memory folder; their bytes count in the region ``shared``."""

    def __init__(self, use: MemoryUse) -> None:
        self._use = use
        self._folder = use.folder / "series"
        self._opening = threading.Lock()
        self._groups: dict[str, SeriesGroup] = {}

    def series(
        self,
        name: str,
        schema: pa.Schema | None,
        key: Sequence[str],
        order_by: str | None,
        group: str | None,
        **sizes: int,
    ) -> Series:
        """See ``Datasets.series``; ``sizes``: of chunks, see ``SeriesGroup.series``."""
        check_given_name(name)
        if schema is not None:
            Shape(schema, key, order_by)  # refused before an empty group is made for it
        opened = self._group(name if group is None else group, make=schema is not None)
        return opened.series(name, schema, key, order_by, **sizes)

    def writer(self, group: str, *, make: bool = False) -> SeriesWriter:
        """The one writer of a group, which is made where it is not there and ``make`` says so.

        Raises SeriesBusyError, DatasetNotFoundError.
        """
        return self._group(group, make=make).writer(self._use.clock_ns)

    def names(self, group: str) -> list[str]:
        """Of its series, in order. Raises DatasetNotFoundError."""
        return self._group(group, make=False).names()

    def drop(self, group: str) -> None:
        """Remove a group with all its series; frames live on."""
        self._group(group, make=False).drop()
        with self._opening:
            self._groups.pop(group, None)

    def facts(self) -> list[SeriesFacts]:
        """See ``Datasets.series_facts``."""
        return series_facts(self._folder)

    @contextmanager
    def claimed(self, nbytes: int) -> Iterator[None]:
        """Room for so many bytes more, or SharedMemoryFullError; see ``series.Budget``."""
        use = self._use
        with use.occupancy.claimed(use.session, "shared", nbytes, use.remove, use.release_kept):
            yield
        use.give_back("shared", nbytes)  # now the group counts them: for a moment both, never none

    def give_back(self, nbytes: int) -> None:
        """Nothing to do: what a group holds is read from the group."""

    def _group(self, name: str, *, make: bool) -> SeriesGroup:
        check_given_name(name)
        with self._opening:
            found = self._groups.get(name)
            if found is None or found.clock.is_dropped or not found.folder.exists():
                opened = SeriesGroup.create if make else SeriesGroup.open
                found = opened(self._folder, name, budget=self, maker=self._mapped)
                self._groups[name] = found
            return found

    def _mapped(self, descriptor: int, nbytes: int, name: str) -> FileMapping:
        """A file of a series, on the list of what this process maps."""
        listed = list_mapping(self._use.folder, file_uuid(name), nbytes, Kind.SERIES)
        end = None if listed is None else listed.end
        return FileMapping(descriptor, nbytes, at_end=end)
