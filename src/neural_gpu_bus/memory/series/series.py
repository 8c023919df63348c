"""A series as of now, and as of one generation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadParameterError, SeriesBusyError
from neural_gpu_bus.memory.files.folder import host_identity
from neural_gpu_bus.memory.series.attaching import SeriesPlace, arena_maps, lies_elsewhere
from neural_gpu_bus.memory.series.clock import (
    ARENAS_GONE,
    DROPPED,
    PUBLISHED,
    STAMP_WORDS,
    STAMPS,
    STAMPS_AT,
    WRITING,
    Clock,
)
from neural_gpu_bus.memory.series.damage import check_slots, check_spine, damaged
from neural_gpu_bus.memory.series.directory import Directory, series_dropped
from neural_gpu_bus.memory.series.gathered import as_of
from neural_gpu_bus.memory.series.order import KEEPS_ORDER, reader_fence
from neural_gpu_bus.memory.series.records import CHUNK, SLOT, Slot, Stamp
from neural_gpu_bus.memory.series.views import ATTEMPTS_MAX, SeriesViews

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from neural_gpu_bus.descriptors import AsOf

    Bytes = npt.NDArray[np.uint8]

#: How long a reader of a whole series tries against a writer that publishes all the time.
SNAPSHOT_S_MAX = 5.0
#: First and longest pause of ``wait_for_change``. A pause of 20 us takes 75 us on Linux, whose
#: timers are 50 us lazy (prctl PR_SET_TIMERSLACK).
PAUSE_MIN_S, PAUSE_MAX_S = 20e-6, 1e-3
#: The pause stays short for that many rounds after a change: changes come in bursts.
SHORT_PAUSES = 1000


class Series(SeriesViews):
    """One series of a group, read as of now: each call sees the generation published then.

    Any number of processes read; none waits for another, and the writer waits for none of them.
    """

    def __init__(self, place: SeriesPlace, clock: Clock) -> None:
        super().__init__(place, Directory(place.folder, place.meta.name))
        self.clock = clock
        self._words = clock.words
        #: None where loads keep their order: two calls less in each look, 0.1 us.
        self._fence = None if KEEPS_ORDER else reader_fence()
        self._gone = self._words[ARENAS_GONE]
        self._stamp = Stamp(-1, 0, 0, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        """As where it lies: another process of this host reads it as of its own now."""
        return attach_series, (self._place.folder, self.name, host_identity())

    @property
    def generation(self) -> int:
        """Published now."""
        return self._words[PUBLISHED]

    @property
    def is_removed(self) -> bool:
        """Whether it was taken out of its group, or went with it."""
        return self.clock.is_dropped or self._directory.is_removed

    @property
    def as_of(self) -> AsOf:
        """Of the generation published now."""
        self._check_there()
        return as_of(stable_stamp(self.clock, reader_fence()))

    def snapshot(self) -> SeriesSnapshot:
        """All partitions as of one generation, which stay so."""
        return snapshots([self])[0]

    def wait_for_change(self, since: int, timeout_s: float) -> int:
        """The generation, as soon as it is another than ``since``; ``since`` itself where nothing
        was published for ``timeout_s``. Polls. Raises DatasetEvictedError once it is dropped.
        """
        words, rounds, pause_s = self._words, 0, PAUSE_MIN_S
        deadline_s = time.monotonic() + timeout_s
        while (found := words[PUBLISHED]) == since and time.monotonic() < deadline_s:
            if words[DROPPED]:
                break
            rounds += 1
            if rounds > SHORT_PAUSES:
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
            time.sleep(pause_s)
        self._check_there()
        return found

    def has_changed(self, since: int) -> bool:
        """Whether a partition of this series may have changed after generation ``since``."""
        last = self._directory.changed
        if last and last <= since:
            return False
        return 0 < last <= self.generation or bool(self.changed_since(since)[1])

    def changed_since(self, since: int) -> tuple[int, list[dict[str, Any]]]:
        """The generation published now, and the keys of all partitions that changed after
        ``since``: those that were emptied too, and now and then one that only moved.

        Raises as every look at a series.
        """
        words, fence = self._words, reader_fence()
        for _ in range(ATTEMPTS_MAX):
            generation = words[PUBLISHED]
            fence()
            found = self._directory.changed_since(since, generation)
            fence()
            if words[WRITING] <= generation + 1:
                if len(self._directory.keys) <= max(found, default=-1):
                    self._directory.refresh()
                keys = self._directory.keys
                return generation, [
                    dict(zip(self.key, keys[partition], strict=True)) for partition in found
                ]
            self._check_there()
        raise too_fast(self.name)

    def _slot(self, partition: int) -> tuple[Slot, Stamp]:
        words, fence = self._words, self._fence
        for _ in range(ATTEMPTS_MAX):
            generation = words[PUBLISHED]
            if fence is not None:
                fence()
            slot = self._directory.newest(partition, generation)
            stamp = self._stamp
            if stamp.generation != generation:
                at = STAMPS_AT + generation % STAMPS * STAMP_WORDS
                stamp = Stamp._make(words[at : at + STAMP_WORDS].tolist())
            if fence is not None:
                fence()
            if words[WRITING] <= generation + 1:
                self._stamp = stamp
                if words[ARENAS_GONE] != self._gone:  # asked here too: this is in every look
                    self._forget_gone()
                if not slot.rows and self._directory.is_removed:
                    raise series_dropped(self.name)
                if not slot.generation:
                    raise self._unknown(self._directory.keys[partition])
                return slot, stamp
            self._check_there()
        raise too_fast(self.name)

    def _whole(self) -> SeriesSnapshot:
        return self.snapshot()

    def _check_there(self) -> None:
        if self.clock.is_dropped:
            self._place.maps.forget_all()
            raise series_dropped(self.name)
        if self._directory.is_removed:
            raise series_dropped(self.name)

    def _arena(self, arena: int) -> Bytes:
        return self._place.maps.array(arena)

    def _forget_gone(self) -> None:
        """Files of the group that were removed since this was done last: their memory is free once
        nobody has them mapped.
        """
        gone = self._words[ARENAS_GONE]
        if gone != self._gone:
            self._gone = gone
            self._place.maps.forget_gone()


class SeriesSnapshot(SeriesViews):
    """A series as of one generation; holds the files that its rows lie in."""

    def __init__(
        self,
        series: Series,
        slots: npt.NDArray[np.void],
        stamp: Stamp,
        arenas: dict[int, Bytes],
    ) -> None:
        super().__init__(series._place, series._directory)  # noqa: SLF001  the same class' half
        self._slots = slots
        self._stamp = stamp
        self._arenas = arenas

    def __reduce__(self) -> tuple[Any, ...]:
        raise BadParameterError(
            f"a snapshot of series {self.name!r} cannot be pickled",
            hint="pickle the series, or frames of the snapshot",
            parameter="snapshot",
        )

    @property
    def generation(self) -> int:
        """That it shows."""
        return self._stamp.generation

    @property
    def as_of(self) -> AsOf:
        """When that was published."""
        return as_of(self._stamp)

    def _slot(self, partition: int) -> tuple[Slot, Stamp]:
        if partition < len(self._slots):
            slot = Slot._make(self._slots[partition].item())
            if slot.generation:
                return slot, self._stamp
        raise self._unknown(self._directory.keys[partition])

    def _whole(self) -> SeriesSnapshot:
        return self

    def _check_there(self) -> None:
        """What it shows stays, whatever becomes of the series."""

    def of_stamp(self, stamp: Stamp) -> SeriesSnapshot:
        """The same rows told to be as of another moment: nobody writes to the series any more, and
        its group has gone on.
        """
        found = SeriesSnapshot.__new__(SeriesSnapshot)
        found.__dict__ |= self.__dict__ | {"_stamp": stamp}
        return found

    def all_slots(self) -> Iterator[tuple[int, Slot]]:
        """For this package: partitions that have rows."""
        for partition in (self._slots["rows"] > 0).nonzero()[0]:
            yield int(partition), Slot._make(self._slots[partition].item())

    def _arena(self, arena: int) -> Bytes:
        return self._arenas[arena]


def attach_series(folder: Path, name: str, host: str) -> Series:
    """A series that was pickled on this host. Raises DatasetEvictedError where it is no more."""
    group = folder.parent
    if host != host_identity():
        raise lies_elsewhere(name, host)
    try:
        return Series(SeriesPlace(folder, arena_maps(group)), Clock(group / "clock"))
    except FileNotFoundError:
        raise series_dropped(name) from None


def snapshots(several: Sequence[Series]) -> list[SeriesSnapshot]:
    """Snapshots of series of one group, all as of the same generation.

    Raises SeriesBusyError where a writer publishes faster than they can be copied, for 5 s.
    """
    clock = several[0].clock
    fence = reader_fence()
    deadline_s = time.monotonic() + SNAPSHOT_S_MAX
    known = clock.words[PUBLISHED]
    fence()
    directories = [series._directory for series in several]  # noqa: SLF001
    copies = [directory.copy() for directory in directories]
    while True:
        for series in several:
            series._check_there()  # noqa: SLF001
        generation = clock.words[PUBLISHED]
        fence()
        stamp = clock.stamp(generation)
        copies = [
            directory.renewed(copy, known)
            for directory, copy in zip(directories, copies, strict=True)
        ]
        fence()
        known = generation
        if clock.words[WRITING] <= generation + 1:
            if stamp is None:
                raise damaged(several[0]._place.partitions.parent, "no stamp")  # noqa: SLF001
            several[0]._forget_gone()  # noqa: SLF001  all have the maps of one group
            try:
                return [
                    _snapshot(series, entries, stamp)
                    for series, entries in zip(several, copies, strict=True)
                ]
            except FileNotFoundError as error:
                # Moved meanwhile: newer slots say where to. But there must be newer ones.
                several[0]._check_there()  # noqa: SLF001
                if clock.words[PUBLISHED] == generation:
                    raise damaged(Path(error.filename), "it is not there") from None
        if time.monotonic() > deadline_s:
            raise too_fast(several[0].name)


def _snapshot(series: Series, entries: npt.NDArray[np.int64], stamp: Stamp) -> SeriesSnapshot:
    import numpy as np

    generations = np.where(entries[:, :, 0] <= stamp.generation, entries[:, :, 0], -1)
    newest = generations.argmax(axis=1)
    chosen = np.ascontiguousarray(entries[np.arange(len(entries)), newest])
    chosen[generations.max(axis=1, initial=0) <= 0] = 0
    slots = chosen.view(SLOT).reshape(len(entries))
    check_slots(slots, series._place.partitions)  # noqa: SLF001
    directory = series._directory  # noqa: SLF001
    if len(directory.keys) < len(slots):
        directory.refresh()
    return SeriesSnapshot(series, slots, stamp, _held(series, slots))


def _held(series: Series, slots: npt.NDArray[np.void]) -> dict[int, Bytes]:
    """Arenas that its rows lie in; FileNotFoundError where one was removed meanwhile."""
    import numpy as np

    maps = series._place.maps  # noqa: SLF001
    numbers = set(np.unique(slots["arena"]).tolist()) | set(
        np.unique(slots["spine_arena"]).tolist()
    )
    for slot in slots[slots["spine_count"] > 0]:
        spine = maps.array(int(slot["spine_arena"]))
        offset, count = int(slot["spine_offset"]), int(slot["spine_count"])
        check_spine(spine, offset, count, series._place.partitions)  # noqa: SLF001
        chunks = np.frombuffer(spine, CHUNK, slot["spine_count"], slot["spine_offset"])
        numbers |= set(np.unique(chunks["arena"]).tolist())
    return {number: maps.array(number) for number in numbers - {0}}


def stable_stamp(clock: Clock, fence: Callable[[], None]) -> Stamp:
    """Of the generation published now."""
    for _ in range(ATTEMPTS_MAX):
        generation = clock.words[PUBLISHED]
        fence()
        stamp = clock.stamp(generation)
        fence()
        if stamp is not None and clock.words[WRITING] <= generation + 1:
            return stamp
    raise too_fast("of this group")


def too_fast(name: str) -> SeriesBusyError:
    """The error of a reader that never finds the writer quiet."""
    return SeriesBusyError(
        f"series {name} is published faster than this reader can copy its directory",
        hint="publish larger steps, or read single partitions",
        group=name,
        pid=0,
    )
