"""What can be asked of a series, as of now or of one generation: the same words for both."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.series.attaching import SeriesPlace
from neural_gpu_bus.memory.series.clock import view
from neural_gpu_bus.memory.series.damage import check_slot, check_spine
from neural_gpu_bus.memory.series.gathered import GatheredSource, as_of
from neural_gpu_bus.memory.series.records import CHUNK_BYTES, Chunk, Slot, Stamp, read_chunk
from neural_gpu_bus.memory.series.source import ChunkSource, Piece

#: At the end of a moment's text, behind its time of day.
_OFFSET = re.compile(r":.*[+-]\d\d(:?\d\d)?$")

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.descriptors import AsOf
    from neural_gpu_bus.memory.series.directory import Directory, Key
    from neural_gpu_bus.memory.series.series import SeriesSnapshot
    from neural_gpu_bus.memory.series.shape import Shape

    Bytes = npt.NDArray[np.uint8]

Made = TypeVar("Made")

#: Looks at a partition while a writer publishes; each takes a microsecond, a step of the writer
#: tens of them.
ATTEMPTS_MAX = 10_000


class SeriesViews(ABC):
    """Rows of a series by key; every frame stays as it is, whatever is written later."""

    def __init__(self, place: SeriesPlace, directory: Directory) -> None:
        self._place = place
        self._directory = directory
        self._titles: dict[int, str] = {}
        self._key: tuple[str, ...] = place.shape.key

    def __repr__(self) -> str:
        order = f", order_by={self.order_by!r}" if self.order_by else ""
        return (
            f"{type(self).__name__}({self.name!r}, key={list(self.key)}{order}, "
            f"generation={self.generation})"
        )

    # ---- facts

    @property
    def name(self) -> str:
        """Of the series."""
        name: str = self._place.meta.name
        return name

    @property
    def schema(self) -> pa.Schema:
        """Columns in order, those of the key included."""
        return self._shape.schema

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that split it into partitions."""
        return self._shape.key

    @property
    def order_by(self) -> str | None:
        """Column that never falls within a partition; None: rows stand as they came."""
        return self._shape.order_by

    @property
    @abstractmethod
    def generation(self) -> int:
        """Steps of publication of its group."""

    @property
    @abstractmethod
    def as_of(self) -> AsOf:
        """When that generation was published, and what its source told."""

    def partitions(self) -> list[dict[str, Any]]:
        """Keys of the partitions that have rows, in order of their first appearance."""
        keys = self._directory.keys
        return [dict(zip(self.key, keys[at], strict=True)) for at, _ in self._whole().all_slots()]

    # ---- rows

    # Positional only: a column of the key may have any of these names.

    def rows(self, /, **key: Any) -> int:
        """Rows of one partition, or without a key of all."""
        if not key and self.key:
            return sum(slot.rows for _, slot in self._whole().all_slots())
        slot = self._slot(self._partition(key))[0]
        check_slot(slot, self._place.partitions)
        return slot.rows

    def last(self, rows: int, /, **key: Any) -> Frame:
        """The newest rows of a partition, all of them where it has fewer.

        Up to ``overlap_rows`` of them are never copied; more may be gathered from several chunks
        into this process's own memory. Raises DatasetNotFoundError for a key that has no partition,
        and as every look at a series DatasetEvictedError once it was dropped.
        """
        return self.last_of(rows, key)

    def last_of(self, rows: int, key: dict[str, Any]) -> Frame:
        """The same with the columns of the key as they came: who hands them on saves 0.1 us."""
        if type(rows) is not int or rows < 0:  # the call takes as long as all that follows
            rows = check_whole_number("rows", rows, 0)
        partition = self._partition(key)
        slot, stamp = self._slot(partition)
        stop = slot.head_rows
        if rows <= stop:
            try:
                return Frame(self._source(partition, slot.head, stamp), None, stop - rows, stop)
            except FileNotFoundError:
                pass  # moved between two looks
        return self._told(
            partition,
            lambda slot, stamp: self._frame(
                partition, slot, stamp, max(0, slot.rows - rows), slot.rows
            ),
        )

    def between(self, start: Any, stop: Any, /, **key: Any) -> Frame:
        """Rows of a partition whose ``order_by`` is at least ``start`` and less than ``stop``.

        Whole numbers are taken as the column stores them; moments may be given as such, or as text,
        in UTC where that names no offset. A copy where they lie in several chunks. Raises
        BadParameterError for None.
        """
        partition = self._partition(key)
        bounds = [self._order_value(value) for value in (start, stop)]

        def frame(slot: Slot, stamp: Stamp) -> Frame:
            first, end = (self._position(slot, bound) for bound in bounds)
            return self._frame(partition, slot, stamp, first, max(first, end))

        return self._told(partition, frame)

    def frame(self, /, **key: Any) -> Frame:
        """All rows of a partition; a copy where they lie in several chunks."""
        partition = self._partition(key)
        return self._told(
            partition, lambda slot, stamp: self._frame(partition, slot, stamp, 0, slot.rows)
        )

    def arrow(self, /, **key: Any) -> pa.Table:
        """All rows of a partition, or without a key of all, in as many chunks as they lie in.

        No row is copied. Partitions stand in order of their first appearance.
        """
        import pyarrow as pa

        if key or not self.key:
            partition = self._partition(key)
            return self._told(partition, lambda slot, stamp: self._table(partition, slot, stamp))
        whole = self._whole()
        tables = [table for at, slot in whole.all_slots() for table in whole.tables_of(at, slot)]
        return pa.concat_tables([self._empty_table(), *tables])

    # ---- inside

    @property
    def _shape(self) -> Shape:
        return self._place.shape

    @abstractmethod
    def _slot(self, partition: int) -> tuple[Slot, Stamp]:
        """What a partition holds, and the stamp of the generation.

        Raises DatasetNotFoundError where nothing of it was published.
        """

    @abstractmethod
    def _whole(self) -> SeriesSnapshot:
        """All partitions as of one generation."""

    @abstractmethod
    def _check_there(self) -> None:
        """Raises DatasetEvictedError where the series was dropped."""

    @abstractmethod
    def _arena(self, arena: int) -> Bytes:
        """FileNotFoundError where it is gone, and what was in it lies elsewhere."""

    def _told(self, partition: int, make: Callable[[Slot, Stamp], Made]) -> Made:
        """What ``make`` makes of a partition; again where the writer moved it meanwhile."""
        for _ in range(ATTEMPTS_MAX):
            try:
                return make(*self._slot(partition))
            except FileNotFoundError:
                continue
        raise self._place.lost(self._directory.keys[partition])

    def _partition(self, key: dict[str, Any]) -> int:
        values = tuple(key.values())
        if tuple(key) != self._key:
            values = self._ordered(key)
        directory = self._directory
        found = directory.ids.get(values)
        if found is None:
            found = directory.find(values)
        if found is None:
            self._check_there()
            raise self._unknown(values)
        return found

    def _unknown(self, key: Key) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            f"series {self.name!r} has no partition {_said(dict(zip(self.key, key, strict=True)))}",
            hint="`partitions()` lists those it has",
            name=self.name,
        )

    def _ordered(self, key: dict[str, Any]) -> Key:
        if set(key) != set(self._shape.key):
            raise BadParameterError(
                f"key {sorted(key)} is not that of series {self.name!r}",
                hint=f"give {list(self._shape.key)}",
                parameter="key",
            )
        return tuple(key[name] for name in self._shape.key)

    def _source(self, partition: int, chunk: Chunk, stamp: Stamp) -> ChunkSource:
        key = self._directory.keys[partition]
        title = self._titles.get(partition)
        if title is None:
            said = _said(dict(zip(self.key, key, strict=True)))
            title = self._titles[partition] = f"{self.name!r} {said}".rstrip()
        arena = self._arena(chunk.arena) if chunk.arena else None
        return ChunkSource(self._shape, arena, chunk, key, stamp, title, self._place)

    def _chunks(self, slot: Slot) -> list[Chunk]:
        """All extents of a partition, oldest first."""
        found = []
        if slot.spine_count:
            arena = self._arena(slot.spine_arena)
            check_spine(arena, slot.spine_offset, slot.spine_count, self._place.partitions)
            spine = view(arena)
            for number in range(slot.spine_count):
                raw = read_chunk(spine, slot.spine_offset + number * CHUNK_BYTES)
                found.append(Chunk._make(raw))
        return [*found, slot.head]

    def _pieces(self, slot: Slot, start: int, stop: int) -> list[Piece]:
        """Where rows ``start`` to ``stop`` of a partition lie; a single piece where it can be."""
        check_slot(slot, self._place.partitions)
        head_start = slot.rows - slot.head_rows
        if start >= head_start:
            return [Piece(slot.head, start - head_start, stop - head_start)]
        found, first = [], 0
        for chunk in self._chunks(slot):
            low, high = max(start, first), min(stop, first + chunk.own_rows)
            if low < high:
                shift = chunk.overlap - first
                found.append(Piece(chunk, low + shift, high + shift))
            first += chunk.own_rows
        return found or [Piece(slot.head, 0, 0)]

    def _frame(self, partition: int, slot: Slot, stamp: Stamp, start: int, stop: int) -> Frame:
        pieces = self._pieces(slot, start, stop)
        if len(pieces) == 1:
            chunk, first, end = pieces[0]
            return Frame(self._source(partition, chunk, stamp), None, first, end)
        import pyarrow as pa

        sources = [self._source(partition, piece.chunk, stamp) for piece in pieces]
        tables = [
            source.arrow_rows(piece.start, piece.stop)
            for source, piece in zip(sources, pieces, strict=True)
        ]
        key, title = self._directory.keys[partition], sources[0].title
        reference = self._place.reference(key, title, pieces, stamp)
        return Frame(GatheredSource(title, pa.concat_tables(tables), as_of(stamp), reference))

    def tables_of(self, partition: int, slot: Slot, stamp: Stamp | None = None) -> list[pa.Table]:
        """For this package: rows of a partition over their own bytes, one table a chunk."""
        told = stamp or Stamp(0, 0, 0, 0)
        return [
            self._source(partition, piece.chunk, told).arrow_rows(piece.start, piece.stop)
            for piece in self._pieces(slot, 0, slot.rows)
        ]

    def _table(self, partition: int, slot: Slot, stamp: Stamp) -> pa.Table:
        import pyarrow as pa

        return pa.concat_tables(self.tables_of(partition, slot, stamp))

    def _empty_table(self) -> pa.Table:
        from neural_gpu_bus.memory.series.key_columns import empty_table

        return empty_table(self._shape)

    # ---- order

    def _order_value(self, value: Any) -> int:
        order = self._shape.order
        if order is None:
            raise BadParameterError(
                f"series {self.name!r} has no order",
                hint="declare order_by when it is made, or take `last`",
                parameter="order_by",
            )
        return order_number(value, order.kind.shown, order.name)

    def _position(self, slot: Slot, bound: int) -> int:
        """Rows of a partition that come before a value."""
        head = slot.head
        base = slot.rows - slot.head_rows
        if slot.spine_count == 0:
            return self._before(head, bound, 0)
        if head.rows and self._order_values(head)[0] < bound:
            return base + self._before(head, bound, 0)
        position = 0
        for chunk in self._chunks(slot):
            within = self._before(chunk, bound, chunk.overlap)
            position += within
            if within < chunk.own_rows:
                break
        return position

    def _before(self, chunk: Chunk, bound: int, skipped: int) -> int:
        if not chunk.arena:
            return 0
        return int(self._order_values(chunk)[skipped:].searchsorted(bound))

    def _order_values(self, chunk: Chunk) -> npt.NDArray[Any]:
        order = self._shape.order
        assert order is not None  # noqa: S101  asked for before
        source = ChunkSource(
            self._shape, self._arena(chunk.arena), chunk, (), Stamp(0, 0, 0, 0), "", self._place
        )
        return source.column(order.name).values.view(order.kind.raw)


def order_number(value: Any, shown: str, column: str) -> int:
    """A bound as the column stores it."""
    import numpy as np

    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    try:
        if shown[1:2] in ("M", "m"):
            if getattr(value, "tzinfo", None) is not None:
                from datetime import UTC

                value = value.astimezone(UTC).replace(tzinfo=None)
            kind = np.datetime64 if shown[1] == "M" else np.timedelta64
            moment = kind(_in_utc(value) if isinstance(value, str) else value)
            if not np.isnat(moment):  # None is one, too
                return int(np.array(moment).astype(shown[1:]).astype("i8"))
    except (TypeError, ValueError):
        pass
    raise BadParameterError(
        f"{value!r} is no value of column {column!r}",
        hint="give a whole number, or a moment where the column holds moments; for an open end one "
        "before or after all of them",
        parameter="start",
    )


def _in_utc(text: str) -> Any:
    """A moment whose text ends with its offset, as numpy takes it: without one, in UTC."""
    from datetime import UTC, datetime

    if text.endswith("Z"):
        return text[:-1]
    if _OFFSET.search(text) is None:
        return text
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _said(key: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in key.items())
