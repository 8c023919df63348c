"""What the writer knows of one series: each partition as published, and as it will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.series.attaching import SeriesPlace
from neural_gpu_bus.memory.series.batches import column_matrix
from neural_gpu_bus.memory.series.damage import (
    check_chunk,
    check_slots,
    check_spine,
    damaged,
)
from neural_gpu_bus.memory.series.directory import Key, WritableDirectory
from neural_gpu_bus.memory.series.extents import CopyCounts, Extents
from neural_gpu_bus.memory.series.few_rows_kernels import settle_touched
from neural_gpu_bus.memory.series.kernels import write_slots
from neural_gpu_bus.memory.series.records import CHUNK_BYTES, SLOT, SLOT_WORDS, Chunk, Slot

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.arenas import WritableArenas

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]


class SeriesState:
    """``slots``: what each partition holds with all that is not published yet."""

    def __init__(
        self,
        place: SeriesPlace,
        arenas: WritableArenas,
        generation: int,
        grown: Callable[[int], None],
        counts: CopyCounts,
    ) -> None:
        import numpy as np

        self.place = place
        self.shape = place.shape
        self.meta = place.meta
        self.columns = column_matrix(place.shape)
        self.extents = Extents(place.shape, self.columns, arenas)
        self.counts = counts
        self.directory = WritableDirectory(place.folder)
        self._grown = grown
        #: How often what was not published was forgotten.
        self.discards = 0
        self.scrub(generation)
        entries = self.directory.entries
        newest = entries[:, :, 0].argmax(axis=1)
        chosen = np.ascontiguousarray(entries[np.arange(len(entries)), newest])
        self.slots = chosen.view(SLOT).reshape(len(entries))
        check_slots(self.slots, place.partitions)
        self._seen = self.slots, _words(self.slots)
        self.published = self.slots.copy()
        self.touched = np.zeros(len(entries), np.bool_)
        self.last_values = np.zeros(len(entries), np.int64)
        self._published_values = self.last_values.copy()
        self._count_live(arenas)

    def _count_live(self, arenas: WritableArenas) -> None:
        for partition in self.with_rows():
            slot = self.slot(partition)
            if slot.spine_count:
                spine = self._arena(slot.spine_arena)
                check_spine(spine, slot.spine_offset, slot.spine_count, self.place.partitions)
            for chunk in self.chunks(slot):
                found = self._arena(chunk.arena)
                check_chunk(chunk, self.shape, found, self.place.partitions)
                arenas.hold(chunk.arena, self.extents.nbytes(chunk.arena, chunk.offset))
            if slot.spine_count:
                arenas.hold(slot.spine_arena, slot.spine_count * CHUNK_BYTES)
            self.last_values[partition] = self.last_value(slot.head)
        self._published_values[:] = self.last_values

    def _arena(self, number: int) -> Bytes:
        found = self.extents.arenas.arrays.get(number)
        if found is None:
            raise damaged(self.place.partitions, f"there is no arena {number}")
        return found

    # ---- what there is

    def with_rows(self) -> list[int]:
        """Partitions that have any."""
        return [int(at) for at in (self.slots["rows"] > 0).nonzero()[0]]

    def slot(self, partition: int) -> Slot:
        """What one partition holds."""
        return Slot._make(self.slots[partition].item())

    def chunks(self, slot: Slot) -> list[Chunk]:
        """All extents of a partition that has rows, oldest first."""
        spine = self.extents.read_spine(slot.spine_arena, slot.spine_offset, slot.spine_count)
        return [*spine, slot.head] if slot.arena else spine

    def last_value(self, chunk: Chunk) -> int:
        """Of the order column in an extent; 0 without an order."""
        return self.order_value(chunk, chunk.rows - 1) if chunk.rows else 0

    def order_value(self, chunk: Chunk, row: int) -> int:
        """Of the order column in one row of an extent; 0 without an order."""
        order = self.shape.order
        if order is None:
            return 0
        at = chunk.offset + self.shape.places(chunk.capacity)[0][order.place][1]
        at += row * order.kind.item_bytes
        arena = self.extents.arenas.arrays[chunk.arena]
        return int(arena[at : at + order.kind.item_bytes].view(order.kind.raw)[0])

    def numbers_of(self, keys: list[Key]) -> Numbers:
        """Partitions of keys; new ones are added. Raises SharedMemoryFullError."""
        import numpy as np

        ids = self.directory.ids
        found = [ids.get(key, -1) for key in keys]
        if -1 in found:
            self._grown(self.directory.add([key for key in keys if key not in ids]))
            self._make_room(len(self.directory.entries))
            found = [ids[key] for key in keys]
        return np.array(found, np.int64)

    def _make_room(self, count: int) -> None:
        import numpy as np

        if count <= len(self.slots):
            return
        for name in ("slots", "published", "touched", "last_values", "_published_values"):
            array = getattr(self, name)
            longer = np.zeros(count, array.dtype)
            longer[: len(array)] = array
            setattr(self, name, longer)

    @property
    def slot_words(self) -> Numbers:
        """``slots`` as loops see them: shape (partitions, 8)."""
        if self._seen[0] is not self.slots:
            self._seen = self.slots, _words(self.slots)
        return self._seen[1]

    # ---- changes

    def set(self, partition: int, slot: Slot) -> None:
        """One partition holds something else from the next publication on."""
        self.slots[partition] = tuple(slot)
        self.touched[partition] = True

    @contextmanager
    def all_or_nothing(self, partitions: Numbers) -> Iterator[None]:
        """What fails half way changes nothing of what these partitions hold."""
        mark, slots = self.extents.mark(), self.slots[partitions]
        touched, values = self.touched[partitions], self.last_values[partitions]
        try:
            yield
        except BaseException:
            self.extents.undo(mark)
            self.slots[partitions] = slots
            self.touched[partitions] = touched
            self.last_values[partitions] = values
            raise

    def scrub(self, generation: int) -> None:
        """Forget slots that were written for a generation that was never published."""
        generations = self.directory.entries[:, :, 0]
        generations[generations > generation] = 0

    def write(self, generation: int) -> None:
        """Write touched partitions into the directory; nobody sees them yet."""
        import numpy as np

        partitions = np.flatnonzero(self.touched)
        if len(partitions):
            self.slot_words[partitions, 0] = generation
            self.directory.tell_changed(generation)
            write_slots(self.directory.entries, self.slot_words, partitions, generation)

    @property
    def own_words(self) -> tuple[npt.NDArray[Any], ...]:
        """What ``publish_one`` takes."""
        return (
            *(self.directory.entries, self.directory.head, self.slot_words),
            *(_words(self.published), self.last_values, self._published_values, self.touched),
        )

    def settle(self, *, published: bool) -> None:
        """Go on from what was published; or go back to it."""
        now = self.slot_words, self.last_values
        before = _words(self.published), self._published_values
        source, target = (now, before) if published else (before, now)
        settle_touched(source[0], target[0], source[1], target[1], self.touched)
        self.discards += not published
        self.extents.settle(published=published)


def _words(slots: npt.NDArray[np.void]) -> Numbers:
    import numpy as np

    return slots.view(np.int64).reshape(len(slots), SLOT_WORDS)
