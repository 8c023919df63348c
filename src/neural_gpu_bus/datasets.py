"""Datasets: the part of ``DataPlane`` that puts columns into shared memory and finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.memory import Frame, UnifiedMemory

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.descriptors import Region, SeriesFacts
    from neural_gpu_bus.memory import BlockReservation
    from neural_gpu_bus.memory.series import Series
    from neural_gpu_bus.memory.series.writer import SeriesWriter
    from neural_gpu_bus.settings import Settings


def open_memory(settings: Settings, folder: Path) -> UnifiedMemory:
    """The unified memory of these settings. Raises BadSettingError."""
    return UnifiedMemory(
        folder,
        settings.memory_limit_bytes,
        shares=settings.memory_shares,
        group=settings.memory_group,
        policy=settings.memory_policy,
    )


class Plane(Protocol):
    """What a plane has besides."""

    @property
    def memory(self) -> UnifiedMemory: ...  # noqa: D102


class Datasets:
    """Names and blocks of a plane's memory."""

    def put(
        self: Plane,
        name: str,
        columns: Mapping[str, Any] | pa.Table,
        *,
        region: Region = "shared",
        reload_s: float = 0.0,
    ) -> Frame:
        """Copy columns, once, into shared memory as the newest version of ``name``.

        ``columns``: a mapping, a Frame, or any Arrow, Polars or pandas table. ``region``: whose
        budget it counts in. ``reload_s``: what making it again would take, if you know; what is
        cheap to make again is evicted first. Names that begin with ``jobs/``, ``tensors/`` or
        ``queries/`` are not for callers.
        Raises SharedMemoryFullError, UnsupportedTypeError, BadParameterError.
        """
        return self.memory.put(name, columns, region=region, reload_ns=int(reload_s * 1e9))

    def put_all(
        self: Plane,
        datasets: Mapping[str, Mapping[str, Any] | pa.Table],
        *,
        region: Region = "shared",
    ) -> dict[str, Frame]:
        """Publish several datasets in one step: every reader sees all of them, or none."""
        return self.memory.put_all(datasets, region=region)

    def reserve(
        self: Plane,
        name: str,
        schema: pa.Schema,
        rows: int,
        *,
        text_bytes: Mapping[str, int] | None = None,
        null_counts: Mapping[str, int] | None = None,
        list_values: Mapping[str, int] | None = None,
        dictionaries: Mapping[str, pa.Array[Any]] | None = None,
        region: Region = "shared",
    ) -> BlockReservation:
        """Writable columns in shared memory, to fill in place; nobody sees them until ``seal``.

        Fill ``reservation.values(column)``, of shape (rows,), and for text ``offsets`` and
        ``data``; ``seal()`` makes them immutable and publishes them as ``name``. ``text_bytes``:
        bytes of each text column. ``null_counts``: NULLs of each column that has any; only those
        have a ``validity`` bitmap. ``list_values``: values in all lists of a column.
        ``dictionaries``: values of each dictionary column. Several are published in one step by
        ``publish``. Raises SharedMemoryFullError here, never later; UnsupportedTypeError.
        """
        return self.memory.reserve(
            schema,
            rows,
            text_bytes=text_bytes,
            null_counts=null_counts,
            list_values=list_values,
            dictionaries=dictionaries,
            region=region,
            name=name,
        )

    def publish(self: Plane, *reservations: BlockReservation) -> dict[str, Frame]:
        """Seal several reservations in one step: every reader sees all of them, or none.

        Raises what ``seal`` raises; then none is published, and all are given back.
        """
        return self.memory.publish(*reservations)

    def get(self: Plane, name: str, version: int | None = None) -> Frame:
        """The dataset's newest version, or that one while it lives, without a copy.

        Raises DatasetNotFoundError, or DatasetEvictedError for what was there and had to go.
        """
        return self.memory.get(name, version)

    def keep(self: Plane, name: str, *, forever: bool = True) -> None:
        """Never evict this dataset, nor its next versions; ``forever=False`` takes that back."""
        self.memory.keep(name, forever=forever)

    def drop(self: Plane, name: str) -> None:
        """Forget a dataset; views of it live on."""
        self.memory.drop(name)

    def series(
        self: Plane,
        name: str,
        schema: pa.Schema | None = None,
        key: Sequence[str] = (),
        order_by: str | None = None,
        *,
        group: str | None = None,
    ) -> Series:
        """A table that grows, split by ``key`` into partitions; with a schema made if need be.

        ``series.last(10_000, instrument_id="AAPL")`` is a slice of that partition without a copy.
        Rows stand in the order of the column ``order_by``, those that come late too. ``group``:
        series that one writer publishes in one step; by default each is a group of its own. Raises
        DatasetNotFoundError without a schema, BadParameterError for another one than it has.
        """
        return self.memory.growing.series(name, schema, key, order_by, group)

    def write_series(self: Plane, group: str) -> SeriesWriter:
        """The one writer of a group of series: changes to many partitions, visible in one step.

        Raises SeriesBusyError naming the process that writes it now.
        """
        return self.memory.growing.writer(group)

    def drop_series(self: Plane, group: str) -> None:
        """Remove a group with all its series; views of them live on."""
        self.memory.growing.drop(group)

    def series_facts(self: Plane) -> list[SeriesFacts]:
        """What is known of every group of series, by name; nothing is opened or locked."""
        return self.memory.growing.facts()

    def names(self: Plane) -> Sequence[str]:
        """Names of all datasets, sorted."""
        return self.memory.names()
