"""ManyDatasets: the part of ``DataPlane`` that finds datasets and works on all that match."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.matching.finding import find, literal_prefix
from neural_gpu_bus.matching.tensors import TensorMemory, tensor
from neural_gpu_bus.matching.work import MapMemory, map_datasets

if TYPE_CHECKING:
    from neural_gpu_bus.bus import Job
    from neural_gpu_bus.descriptors import DatasetFacts, Region
    from neural_gpu_bus.matching.tensors import Array, TensorLayout, TensorType
    from neural_gpu_bus.memory import Frame
    from neural_gpu_bus.ports import Progress


class FactsMemory(MapMemory, TensorMemory, Protocol):
    """What is needed of a memory; ``UnifiedMemory`` has it."""

    def facts(self, prefix: str) -> Iterable[DatasetFacts]:
        """Of all datasets whose names begin so."""


class Plane(Protocol):
    """What a plane has besides."""

    @property
    def memory(self) -> FactsMemory: ...  # noqa: D102

    def submit(  # noqa: D102
        self, workload: str, params: Mapping[str, Any], *, engine: str | None = None
    ) -> Job[Frame]: ...


class ManyDatasets:
    """What a plane does with all datasets that match."""

    def find(
        self: Plane,
        pattern: str = "*",
        *,
        columns: Sequence[str] | Mapping[str, str] | None = None,
        types: str | Sequence[str] | None = None,
        rows_min: int | None = None,
        rows_max: int | None = None,
        bytes_min: int | None = None,
        bytes_max: int | None = None,
        older_than_s: float | None = None,
        newer_than_s: float | None = None,
        region: Region | None = None,
        pinned: bool | None = None,
    ) -> list[DatasetFacts]:
        """Datasets that meet every condition given, sorted by name; nothing is attached.

        In ``pattern`` ``*`` stands for any text, ``?`` for one character, ``[a-c]`` and ``[!a]``
        for one of a set, everything else for itself: ``risk.*`` finds ``risk.eu`` and
        ``risk.eu/1``. Results of jobs, tensors and kept results of queries are found by patterns
        that begin with ``jobs/``, ``tensors/`` or ``queries/`` alone.

        ``columns``: names that all have to be there, or a mapping of name to type. ``types``: every
        column is of one of them. A type is Arrow's spelling or ``float`` (any number),
        ``integer``, ``time``, ``text``. Limits are inclusive; age counts from when the version was
        made. Raises BadParameterError for a condition that nothing could meet.
        """
        return find(
            self.memory.facts(literal_prefix(pattern)),
            pattern,
            columns=columns,
            types=types,
            rows_min=rows_min,
            rows_max=rows_max,
            bytes_min=bytes_min,
            bytes_max=bytes_max,
            older_than_s=older_than_s,
            newer_than_s=newer_than_s,
            region=region,
            pinned=pinned,
            now_ns=time.time_ns(),
        )

    def map(
        self: Plane,
        pattern: str,
        work: Callable[..., Any] | str,
        *,
        params: Mapping[str, Any] | None = None,
        input: str | None = None,  # noqa: A002  the word that workloads have for it
        engine: str | None = None,
        name: str | None = None,
        threads: int | None = None,
        timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> Frame:
        """Work on every dataset that matches, side by side; all results as one frame.

        ``work`` is a function of a frame, or the name of a workload. A function is called with the
        frame and ``params`` by name, in ``threads`` threads, by default one a core: numpy, Arrow
        and numba's ``nogil`` functions let go of Python's lock, so they run at the same time; plain
        Python does not. It returns columns in any form that ``put`` takes, a mapping of plain
        values (one row), one plain value (a row of a column ``value``), or None for no row. A
        workload runs as one job a dataset on the workers: ``input`` names the one of its inputs
        that the dataset is, where it has several; ``params`` holds the others and its parameters.

        The first column of the result is ``dataset``; the others are the results' own, which have
        to agree. With ``name`` it is also published.

        All matches are attached before work begins, so a drop or a newer version changes nothing.
        After the first failure no more is begun, and what runs is waited for. Raises
        DatasetNotFoundError where nothing matches, DatasetEvictedError, MapFailedError naming the
        dataset; the bus's own errors keep their kind and name it too.
        """
        prefix = literal_prefix(pattern)
        found = find(self.memory.facts(prefix), pattern, now_ns=time.time_ns())
        return map_datasets(
            self.memory,
            pattern,
            [one.name for one in found],
            work,
            submit=self.submit,
            params=params,
            input=input,
            engine=engine,
            name=name,
            threads=threads,
            timeout_s=timeout_s,
            progress=progress,
        )

    def tensor(
        self: Plane,
        source: Frame | str,
        columns: Sequence[str] | None = None,
        *,
        dtype: TensorType = "float32",
        layout: TensorLayout = "rows",
    ) -> Array:
        """Columns of numbers as one read-only, contiguous matrix in shared memory.

        ``columns``: None for all of numbers. ``dtype``: float16, float32, float64 or int64; values
        are rounded to it, and those that it does not reach are refused. ``layout``: ``rows`` for
        shape (rows, columns), ``columns`` for (columns, rows). NULL and NaN become NaN; int64
        refuses them. Of a dataset with a name it is made once for all processes, and goes with that
        version. Raises ColumnNotFoundError, UnsupportedTypeError, BadValueError naming column and
        row, SharedMemoryFullError.
        """
        return tensor(self.memory, source, columns, dtype=dtype, layout=layout)
