"""The one writer of a group: changes to many partitions of many series, published in one step."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.errors import BadParameterError, ClosedError
from neural_gpu_bus.memory.series import clock as clocks
from neural_gpu_bus.memory.series.arenas import WritableArenas
from neural_gpu_bus.memory.series.batches import Arrays, fitted, partition_codes
from neural_gpu_bus.memory.series.compaction import compact
from neural_gpu_bus.memory.series.editing import Edit, edit
from neural_gpu_bus.memory.series.exchanging import add_rows
from neural_gpu_bus.memory.series.extents import CopyCounts
from neural_gpu_bus.memory.series.few_rows_kernels import publish_one, publish_stamp
from neural_gpu_bus.memory.series.filling import empty
from neural_gpu_bus.memory.series.kernels import store_in_order
from neural_gpu_bus.memory.series.locking import WriterLock
from neural_gpu_bus.memory.series.records import Stamp
from neural_gpu_bus.memory.series.room_ahead import RoomAhead
from neural_gpu_bus.memory.series.row_editor import RowEditor
from neural_gpu_bus.memory.series.states import SeriesState
from neural_gpu_bus.memory.series.writer_statistics import WriterStatistics

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.group import SeriesGroup
    from neural_gpu_bus.memory.series.series import Series

    Numbers = npt.NDArray[np.int64]

Given = ParamSpec("Given")
Result = TypeVar("Result")


def _in_turn(
    method: Callable[Concatenate[SeriesWriter, Given], Result],
) -> Callable[Concatenate[SeriesWriter, Given], Result]:
    """One thread after another; whether the writer is open is looked at when it is its turn."""

    @wraps(method)
    def taken(self: SeriesWriter, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        self._check_own()  # first: a child made by fork may find the turn taken for ever
        with self._turn:
            self._check_open()
            return method(self, *args, **kwargs)

    return taken


class SeriesWriter:
    """Changes wait here until ``publish`` makes them visible, all at once, to every process.

    One a group, in one process, whose threads take turns: each call is whole before the next one
    begins, and ``publish`` publishes what all of them have changed. What is not published when it
    is closed, or when its process ends, however it ends, was never there.
    """

    def __init__(self, group: SeriesGroup, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Raises SeriesBusyError where another process writes the group."""
        self._group = group
        self._clock_ns = clock_ns
        self._pid = os.getpid()
        # Of the same thread again: a handler of a signal may close what it interrupted.
        self._turn = threading.RLock()
        self._lock: WriterLock | None = WriterLock(group.folder, group.name)
        try:
            self._words = clocks.writable_words(group.folder / "clock")
            self._settled = self.generation
            self._states: dict[str, SeriesState] = {}
            #: Of those that may have changes that are not published.
            self._changed: dict[str, SeriesState] = {}
            self._counts = CopyCounts()
            limits = (group.meta.arena_bytes_min, group.meta.arena_bytes_max)
            self._arenas = WritableArenas(
                group.folder, limits, self._next_arena, self._claim, self._give_back
            )
            for name in group.names():
                self._state(name)
            self._arenas.remove_dead()
            self._words[clocks.BYTES] = group.count_bytes()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write; what is not published is forgotten."""
        if os.getpid() != self._pid:
            return  # the parent's, which a child made by fork has left already
        with self._turn:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    # ---- changes

    @_in_turn
    def append(self, series: Series | str, columns: Any) -> int:
        """Add rows, in order of ``order_by`` or behind those that are there; how many.

        ``columns``: see ``as_arrow.as_table``; all columns of the series. Rows that come late go
        behind those of the same order value. Raises SharedMemoryFullError, BadValueError,
        BadParameterError, UnsupportedTypeError: then nothing of it is added.
        """
        state = self._checked(series)
        arrays = fitted(state.shape, columns, state.shape.schema.names)
        return self._append(state, arrays, self._partitions(state, arrays))

    @_in_turn
    def append_to(self, series: Series | str, partitions: Numbers, columns: Any) -> int:
        """The same for rows whose partitions are known, without columns of the key.

        ``partitions``: whole numbers of shape (rows,), as ``partition_ids`` gives them.
        """
        state = self._checked(series)
        arrays = fitted(state.shape, columns, list(state.shape.flat_names))
        partitions = _numbers(partitions)
        rows = len(next(iter(arrays.values())))
        if len(partitions) != rows:
            raise BadParameterError(
                f"{len(partitions)} partitions are given for {rows} rows",
                hint="give one a row",
                parameter="partitions",
            )
        if len(partitions) and not 0 <= partitions.min() <= partitions.max() < len(
            state.directory.keys
        ):
            raise BadParameterError(
                f"partitions run from {partitions.min()} to {partitions.max()} of "
                f"{len(state.directory.keys)}",
                hint="take them from partition_ids",
                parameter="partitions",
            )
        return self._append(state, arrays, partitions)

    @_in_turn
    def partition_ids(self, series: Series | str, keys: Any) -> Numbers:
        """Number of the partition of each key, for ``append_to``; new keys get one.

        ``keys``: the key's columns. The numbers hold as long as the series.
        """
        state = self._checked(series)
        return self._partitions(state, fitted(state.shape, keys, state.shape.key))

    @_in_turn
    def upsert(self, series: Series | str, columns: Any, on: Sequence[str] | None = None) -> int:
        """Rows replace those of equal key and equal ``on`` (by default the order column); others
        are added. How many were replaced. Of rows given twice the last counts. NULL equals NULL.
        """
        return self._edit(series, columns, on, "upsert")

    @_in_turn
    def update(self, series: Series | str, columns: Any, on: Sequence[str] | None = None) -> int:
        """Set the given columns in rows of equal key and ``on``; how many rows that were.

        The order column cannot be set: delete and append instead.
        """
        return self._edit(series, columns, on, "update")

    @_in_turn
    def delete(self, series: Series | str, columns: Any, on: Sequence[str] | None = None) -> int:
        """Remove rows of equal key and ``on`` (by default the columns that are given besides the
        key; none: whole partitions); how many.
        """
        return self._edit(series, columns, on, "delete")

    @_in_turn
    def truncate(self, series: Series | str) -> None:
        """Remove all rows; the partitions stay, empty."""
        state = self._checked(series)
        empty(state)

    @_in_turn
    def remove(self, series: Series | str) -> bool:
        """Take a series out of its group, files and all, if it is published as empty: ``truncate``
        and ``publish`` before. Whether it was; who looks at it then gets DatasetEvictedError.
        """
        state = self._checked(series)
        if state.touched.any() or state.published["rows"].any():
            return False
        nbytes = self._group.remove_series(state.meta.name)
        state.directory.tell_removed()
        self._states.pop(state.meta.name, None)
        self._changed.pop(state.meta.name, None)
        self._words[clocks.BYTES] -= nbytes
        return True

    @_in_turn
    def editor(self, series: Series | str) -> RowEditor:
        """For sources that say which rows go and which come: changes of one series in one step."""
        state = self._checked(series)
        return RowEditor(state, partial(self._taking_turn, state))

    @property
    def room_ahead(self) -> RoomAhead:
        """Makes pages before rows come."""
        return RoomAhead(self._arenas, self._turn, self._check_open)

    # ---- publication

    @property
    def generation(self) -> int:
        """Last published."""
        return int(self._words[clocks.PUBLISHED])

    @property
    def stamp(self) -> Stamp:
        """What was said of the last generation published."""
        found = self._group.clock.stamp(self.generation)
        assert found is not None  # noqa: S101  the newest of them
        return found

    @_in_turn
    def publish(self, lsn: int | str | None = None, committed_ns: int | None = None) -> int:
        """Make every change since the last publication visible in one step; its generation.

        ``lsn`` (a number, or as PostgreSQL spells it) and ``committed_ns`` are shown to readers as
        they are given, also where they fall: a source restored from a backup begins lower. Without
        changes only the stamp moves on.
        """
        position = _position(lsn)
        committed_ns = check_whole_number("committed_ns", committed_ns or 0, 0)
        words, generation = self._words, self.generation + 1
        if compact(list(self._states.values()), self._arenas):
            self._changed.update(self._states)
        at = clocks.STAMPS_AT + generation % clocks.STAMPS * clocks.STAMP_WORDS
        stamp = at, generation, position, committed_ns, self._clock_ns()
        if len(self._changed) == 1:
            (state,) = self._changed.values()
            publish_one(words, *stamp, *state.own_words)
        else:
            store_in_order(words, clocks.WRITING, generation)
            for state in self._changed.values():
                state.write(generation)
            publish_stamp(words, *stamp)
        self._settle(published=True)
        return generation

    @_in_turn
    def discard(self) -> None:
        """Forget every change since the last publication."""
        if self._words[clocks.WRITING] > self._words[clocks.PUBLISHED]:
            for state in self._states.values():  # a publication that was interrupted
                state.scrub(self.generation)
        self._settle(published=False)

    @property
    def statistics(self) -> WriterStatistics:
        """Bytes of the group's arenas, and what was copied."""
        arenas = self._arenas
        return WriterStatistics(
            arenas=len(arenas.arrays),
            arena_bytes=arenas.total_bytes,
            live_bytes=arenas.total_live_bytes,
            dead_bytes=arenas.total_used_bytes - arenas.total_live_bytes,
            appended_rows=self._counts.appended_rows,
            grown_rows=self._counts.grown_rows,
            rewritten_rows=self._counts.rewritten_rows,
            compacted_bytes=self._counts.compacted_bytes,
        )

    # ---- inside

    @contextmanager
    def _taking_turn(self, state: SeriesState) -> Iterator[None]:
        self._check_own()
        with self._turn:
            self._check_open()
            self._changed[state.meta.name] = state
            yield

    def _settle(self, *, published: bool) -> None:
        for state in (self._changed if published else self._states).values():
            state.settle(published=published)
        self._changed.clear()
        self._settled = self.generation
        gone = self._arenas.remove_dead()
        if gone:
            self._words[clocks.ARENAS_GONE] += gone

    def _append(self, state: SeriesState, arrays: Arrays, numbers: Numbers) -> int:
        if len(numbers):
            add_rows(state, {name: arrays[name] for name in state.shape.by_name}, numbers)
        return len(numbers)

    def _edit(
        self, series: Series | str, columns: Any, on: Sequence[str] | None, kind: Edit
    ) -> int:
        state = self._checked(series)
        return edit(state, columns, on, kind, self._partitions)

    def _partitions(self, state: SeriesState, arrays: Arrays) -> Numbers:
        """Partition of each row; new keys are added."""
        rows = len(next(iter(arrays.values())))
        keys, codes = partition_codes([arrays[name] for name in state.shape.key], rows)
        return state.numbers_of(keys)[codes]

    def _checked(self, series: Series | str) -> SeriesState:
        """It may be changed from now on."""
        state = self._state(series if isinstance(series, str) else series.name)
        self._changed[state.meta.name] = state
        return state

    def _state(self, name: str) -> SeriesState:
        found = self._states.get(name)
        if found is None:
            place = self._group.place(name)
            found = self._states[name] = SeriesState(
                place, self._arenas, self.generation, self._grown, self._counts
            )
        return found

    def _check_own(self) -> None:
        if os.getpid() != self._pid:
            raise ClosedError(
                f"this writer belongs to process {self._pid}, from which this one was forked",
                hint="write there, or open the writer after the fork",
            )

    def _check_open(self) -> None:
        if self._lock is None:
            raise ClosedError(
                "this writer is closed", hint="open another: plane.write_series(group)"
            )
        if self._settled != self.generation:  # interrupted right after it was published
            self._settle(published=True)

    def _next_arena(self) -> int:
        number = int(self._words[clocks.NEXT_ARENA])
        self._words[clocks.NEXT_ARENA] = number + 1
        return number

    def _claim(self, nbytes: int) -> None:
        with self._group.budget.claimed(nbytes):
            self._words[clocks.BYTES] += nbytes

    def _give_back(self, nbytes: int) -> None:
        self._words[clocks.BYTES] -= nbytes
        self._group.budget.give_back(nbytes)

    def _grown(self, nbytes: int) -> None:
        self._words[clocks.BYTES] += nbytes


def _numbers(partitions: Any) -> Numbers:
    import numpy as np

    found = np.asarray(partitions)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and len(found)):
        raise BadParameterError(
            f"partitions are {found.dtype} of shape {found.shape}: expected one whole number a row",
            hint="take them from partition_ids",
            parameter="partitions",
        )
    return found.astype(np.int64, copy=False)


def _position(lsn: int | str | None) -> int:
    position: Any = 0 if lsn is None else lsn
    if isinstance(position, str):
        high, _, low = position.partition("/")
        try:
            position = int(high, 16) << 32 | int(low, 16)
        except ValueError:
            position = -1
    # Not isinstance(position, SupportsIndex): a protocol, 25 us.
    whole = hasattr(position, "__index__") and not isinstance(position, bool)
    if not whole or not 0 <= position < 1 << 63:
        raise BadParameterError(
            f"{lsn!r} is no WAL position", hint="give it as '0/1A2B3C8'", parameter="lsn"
        )
    return int(position)
