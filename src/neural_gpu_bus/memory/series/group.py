"""A group: series that one writer publishes together, in one folder of their own."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError, ProtocolError
from neural_gpu_bus.memory.files.folder import (
    folder_locked,
    make_directory,
    make_file,
    no_room_told,
)
from neural_gpu_bus.memory.series.arenas import ARENAS, arena_bytes
from neural_gpu_bus.memory.series.attaching import META, SeriesPlace, arena_maps, read_meta
from neural_gpu_bus.memory.series.budget import Budget, MapFile, NoBudget, map_file
from neural_gpu_bus.memory.series.clock import (
    BYTES,
    PUBLISHED,
    Clock,
    make_clock,
    mark_dropped,
    was_dropped,
)
from neural_gpu_bus.memory.series.directory import make_directory_files
from neural_gpu_bus.memory.series.locking import NOBODY, WRITER, WriterLock
from neural_gpu_bus.memory.series.records import FORMAT, GroupMeta, SeriesMeta
from neural_gpu_bus.memory.series.series import Series, SeriesSnapshot, snapshots
from neural_gpu_bus.memory.series.shape import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory.series.writer import SeriesWriter

MIB = 1 << 20
#: New files are made of zeroed pages, 1 ms for 2 MiB: a larger one would keep an append waiting.
#: One of 16 MiB takes 5.3 ms to make and 3.4 to remove, one of 4 MiB 0.9 and 0.8 (2026-11-23).
ARENA_BYTES_MIN, ARENA_BYTES_MAX = MIB, 4 * MIB
#: Rows of an extent at most: what an update of one row costs.
CHUNK_ROWS_MAX = 1 << 20
#: Rows that ``last`` gives without a copy, at least.
OVERLAP_ROWS = 1 << 16
_FOLDER = re.compile(r"[0-9a-f]{32}")
_MAKING = ".making-"

Described = TypeVar("Described", GroupMeta, SeriesMeta)

#: All of this process.
_groups: weakref.WeakSet[SeriesGroup] = weakref.WeakSet()


class SeriesGroup:
    """Series published in one step by one writer, read by any number of processes."""

    def __init__(
        self, folder: Path, budget: Budget | None = None, maker: MapFile = map_file
    ) -> None:
        """Use ``open`` or ``create``. ``folder``: the group's own."""
        self.folder = folder
        self.budget: Budget = budget or NoBudget()
        self.meta: GroupMeta = read_meta(folder / META, GroupMeta)
        if self.meta.format != FORMAT:
            raise ProtocolError(
                f"group {self.meta.name!r} has format {self.meta.format}, this is {FORMAT}",
                hint="write it anew with this version",
                position=0,
            )
        self.clock = Clock(folder / "clock")
        self._maps = arena_maps(folder, maker)
        self._series: dict[str, Series] = {}
        self._places: dict[str, Path] = {}
        self._turn = threading.RLock()
        _groups.add(self)

    @classmethod
    def create(
        cls,
        folder: Path,
        name: str,
        *,
        budget: Budget | None = None,
        maker: MapFile = map_file,
        arena_bytes: tuple[int, int] = (ARENA_BYTES_MIN, ARENA_BYTES_MAX),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> SeriesGroup:
        """The group of that name in ``folder`` (``series`` of a memory folder); made if need be.

        Raises SharedMemoryFullError.
        """
        with folder_locked(folder), no_room_told(folder, 0):
            found = _find(folder, name)
            if found is None:
                _sweep(folder)
                meta = GroupMeta(name, FORMAT, *arena_bytes)
                found = _made(folder, msgspec.msgpack.encode(meta), _fill_group, clock_ns())
        return cls(found, budget, maker)

    @classmethod
    def open(
        cls,
        folder: Path,
        name: str,
        *,
        budget: Budget | None = None,
        maker: MapFile = map_file,
    ) -> SeriesGroup:
        """The group of that name. Raises DatasetNotFoundError."""
        found = _find(folder, name)
        if found is None:
            raise DatasetNotFoundError(
                f"there is no group of series {name!r}",
                hint="make it with its first series: plane.series(name, schema, key=...)",
                name=name,
            )
        return cls(found, budget, maker)

    @property
    def name(self) -> str:
        """Of the group."""
        return self.meta.name

    @property
    def generation(self) -> int:
        """Published now."""
        return self.clock.words[PUBLISHED]

    def names(self) -> list[str]:
        """Of its series, in order."""
        with self._turn:  # several tables are copied at once, each by a thread that makes one
            there = group_folders(self.folder)
            for name in [name for name, path in self._places.items() if path not in there]:
                self._places.pop(name, None)
                self._series.pop(name, None)
            known = set(self._places.values())
            for path in there:
                meta = None if path in known else _meta(path, SeriesMeta)
                if meta is not None:
                    self._places[meta.name] = path
            return sorted(self._places)

    def series(
        self,
        name: str,
        schema: pa.Schema | None = None,
        key: Sequence[str] = (),
        order_by: str | None = None,
        *,
        chunk_rows_max: int = CHUNK_ROWS_MAX,
        overlap_rows: int = OVERLAP_ROWS,
    ) -> Series:
        """The series of that name; with a schema it is made if need be.

        Texts become large_string and large_binary. Raises BadParameterError where it is there
        with another schema, key or order; DatasetNotFoundError; SharedMemoryFullError.
        """
        with self._turn:
            known = self._series.get(name)
            if known is None or known.is_removed:  # one that was only seen may be another one now
                self.names()
            if schema is not None:
                meta = _described(name, schema, key, order_by, (chunk_rows_max, overlap_rows))
                if name not in self._places:
                    self._make(meta)
                self._check_same(name, meta)
            if name not in self._series:
                try:
                    self._series[name] = Series(self.place(name), self.clock)
                except FileNotFoundError:  # it was removed just now
                    self.names()
                    raise self._not_there(name) from None
            return self._series[name]

    def place(self, name: str) -> SeriesPlace:
        """Where a series lies. Raises DatasetNotFoundError."""
        with self._turn:
            if name not in self._places and name not in self.names():
                raise self._not_there(name)
            return SeriesPlace(self._places[name], self._maps)

    def _not_there(self, name: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            f"group {self.name!r} has no series {name!r}",
            hint=f"it has {sorted(self._places)}; with a schema it is made",
            name=name,
        )

    def writer(self, clock_ns: Callable[[], int] = time.time_ns) -> SeriesWriter:
        """The one writer. Raises SeriesBusyError where another process has it."""
        from neural_gpu_bus.memory.series.writer import SeriesWriter

        return SeriesWriter(self, clock_ns)

    def snapshot(self) -> dict[str, SeriesSnapshot]:
        """All series as of one generation, by name."""
        names = self.names()
        if not names:
            return {}
        found = snapshots([self.series(name) for name in names])
        return dict(zip(names, found, strict=True))

    def after_fork(self) -> None:
        """In the child: a thread of the parent may have had its turn, for ever."""
        self._turn = threading.RLock()

    def drop(self) -> None:
        """Remove the group; frames stay, and who looks at its series later is told.

        Raises SeriesBusyError while somebody writes it, DatasetEvictedError where it is gone.
        """
        lock = WriterLock(self.folder, self.name)
        try:
            mark_dropped(self.folder / "clock")
            gone = self.folder.with_name(f"{_MAKING}{self.folder.name}")
            with suppress(FileNotFoundError):  # whoever makes a group sweeps what is marked
                self.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            self._maps.forget_all()
        finally:
            lock.close()

    def remove_series(self, name: str) -> int:
        """For its writer: the files of a series that holds nothing; how many bytes they had."""
        path = self.place(name).folder
        nbytes = sum(entry.stat().st_size for entry in os.scandir(path))
        with folder_locked(self.folder):
            gone = path.with_name(f"{_MAKING}{path.name}")
            path.rename(gone)  # in one step it is found by nobody
            _sweep(self.folder)
        self.names()
        return nbytes

    def count_bytes(self) -> int:
        """Bytes of all its files, by looking at each."""
        total = arena_bytes(self.folder)
        for path in group_folders(self.folder):
            total += sum(entry.stat().st_size for entry in os.scandir(path))
        return total

    def _make(self, meta: SeriesMeta) -> None:
        with folder_locked(self.folder), no_room_told(self.folder, 0):
            if meta.name not in self.names():
                path = _made(self.folder, msgspec.msgpack.encode(meta), _fill_series, 0)
                self._places[meta.name] = path

    def _check_same(self, name: str, wanted: SeriesMeta) -> None:
        found: SeriesMeta = read_meta(self._places[name] / META, SeriesMeta)
        same = (found.schema, found.key, found.order_by)
        if same != (wanted.schema, wanted.key, wanted.order_by):
            raise BadParameterError(
                f"series {name!r} is there with key {list(found.key)}, order {found.order_by!r} or "
                f"another schema than key {list(wanted.key)}, order {wanted.order_by!r}",
                hint="give the same, or take another name",
                parameter="schema",
            )


def _described(
    name: str,
    schema: pa.Schema,
    key: Sequence[str],
    order_by: str | None,
    limits: tuple[int, int],
) -> SeriesMeta:
    rows_max, overlap = limits
    if not 0 <= overlap <= rows_max // 2 or not 2 <= rows_max < 1 << 30:
        raise BadParameterError(
            f"chunks of at most {rows_max} rows cannot overlap by {overlap}",
            hint="let chunk_rows_max be at least twice overlap_rows, and under 2**30",
            parameter="chunk_rows_max",
        )
    shape = Shape(schema, key, order_by)
    raw = shape.schema.serialize().to_pybytes()
    return SeriesMeta(name, raw, tuple(key), order_by, rows_max, overlap)


def _made(folder: Path, meta: bytes, fill: Callable[[Path, int], None], at_ns: int) -> Path:
    """A folder with its files, under its name only when it is whole."""
    name = uuid.uuid4().hex
    making = folder / f"{_MAKING}{name}"
    make_directory(making)
    try:
        file = make_file(making / META)
        try:
            os.write(file, meta)
        finally:
            os.close(file)
        fill(making, at_ns)
        making.rename(folder / name)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return folder / name


def _fill_group(folder: Path, at_ns: int) -> None:
    make_directory(folder / ARENAS)
    make_clock(folder / "clock", at_ns)
    file = make_file(folder / WRITER)
    try:
        os.write(file, NOBODY)  # so that a writer needs no new page for its pid
    finally:
        os.close(file)


def _fill_series(folder: Path, _: int) -> None:
    make_directory_files(folder)


def group_folders(folder: Path) -> list[Path]:
    """Folders of groups, or of series in that of a group."""
    return [Path(entry.path) for entry in os.scandir(folder) if _FOLDER.fullmatch(entry.name)]


def _find(folder: Path, name: str) -> Path | None:
    for path in group_folders(folder):
        meta = _meta(path, GroupMeta)
        if meta is not None and meta.name == name and not was_dropped(path / "clock"):
            return path
    return None


def _meta(folder: Path, kind: type[Described]) -> Described | None:
    """None where it is spoilt, or was dropped just now: the others can still be found."""
    with suppress(ProtocolError, FileNotFoundError):
        meta: Described = read_meta(folder / META, kind)
        return meta
    return None


def _sweep(folder: Path) -> None:
    """What somebody left who died while making or dropping a group."""
    for entry in os.scandir(folder):
        if entry.name.startswith(_MAKING) or was_dropped(Path(entry.path) / "clock"):
            shutil.rmtree(entry.path, ignore_errors=True)


_TICKS_NS = 50_000_000
#: Of each folder of groups: when it was changed last, 0 where that is too short ago to tell, and
#: the clocks of the groups that were in it.
_known: dict[Path, tuple[int, dict[Path, Clock]]] = {}


def series_bytes(folder: Path) -> int:
    """Bytes of the files of all groups in ``folder``. Under 5 us while no group comes or goes."""
    changed_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116  half the time of Path's
    known = _known.get(folder)
    if known is None or known[0] != changed_ns:
        clocks = _clocks(folder, {} if known is None else known[1])
        # The kernel's times go in ticks of up to 10 ms; a change in this one shows no new time.
        is_settled = time.time_ns() - changed_ns > _TICKS_NS
        # Not Path's: that raises for a folder which this process, its user changed, may not enter.
        for gone in [path for path in list(_known) if not os.path.exists(path)]:  # noqa: PTH110
            _known.pop(gone, None)
        known = _known[folder] = (changed_ns if is_settled else 0, clocks)
    return sum([clock.words[BYTES] for clock in known[1].values()])


def _clocks(folder: Path, before: dict[Path, Clock]) -> dict[Path, Clock]:
    """Of the groups that are there now; those mapped before are used again, of others let go."""
    clocks = {}
    for path in group_folders(folder):
        with suppress(ProtocolError, FileNotFoundError):  # spoilt, or dropped just now
            clocks[path] = before.get(path) or Clock(path / "clock")
    return clocks


def _after_fork_in_child() -> None:
    for group in list(_groups):
        group.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
