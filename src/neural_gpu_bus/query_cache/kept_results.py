"""Results in the unified memory: each says itself which query it answers and when it was read.

Both stand in the block's own schema, so they are published, evicted and dropped with it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.descriptors import DatasetFacts
    from neural_gpu_bus.memory import BlockReservation, Frame, UnifiedMemory
    from neural_gpu_bus.ports import Reserve
    from neural_gpu_bus.query_cache.forgotten import Forgotten
    from neural_gpu_bus.query_cache.key import QueryKey
    from neural_gpu_bus.query_cache.live_answers import Defined

#: Key of a result's schema metadata.
QUERY_KEY = b"ngb.query"

#: Before every moment: data that nobody may be given.
NEVER_NS = -1 << 63


class LiveMark(msgspec.Struct, frozen=True):
    """What was counted of changes before a result was read."""

    #: Which file the counts are of.
    file_id: int
    #: Of what it depends on.
    fingerprint: str
    #: Word and count, one for each of its tables.
    counts: tuple[tuple[int, int], ...]


class Record(msgspec.Struct, frozen=True):
    """What a kept result says of itself."""

    #: ``QueryKey.text``.
    key: str
    #: Host clock just before the statement was sent.
    taken_ns: int
    #: None where not all its tables were followed.
    live: LiveMark | None = None


class KnownQuery:
    """A query that this process asked before."""

    __slots__ = ("defined", "hits", "key", "name", "place", "seen", "too_large_ns")

    def __init__(self, key: QueryKey, place: int) -> None:
        self.key = key
        self.name = key.name
        #: Its word in ``Forgotten``.
        self.place = place
        #: The block that was last found under its name, when that was read, and its mark.
        self.seen: tuple[str, int, LiveMark | None] = ("", NEVER_NS, None)
        #: What it depends on, where that was asked for ``live``.
        self.defined: Defined | None = None
        #: Times that its result was found here.
        self.hits = 0
        #: When its result was last too large to be kept.
        self.too_large_ns = NEVER_NS


class KeptResults:
    """Results of queries in one memory. ``bytes_max``: of the largest that is kept."""

    def __init__(self, memory: UnifiedMemory, forgotten: Forgotten, bytes_max: int) -> None:
        self._memory = memory
        self._get = memory.get
        self._moments_ns = forgotten.moments_ns
        self.bytes_max = bytes_max

    def find(self, known: KnownQuery, oldest_ns: int) -> Frame | None:
        """The result, if it was read at that moment or later and nobody forgot it since."""
        frame = self._found(known)
        return None if frame is None else self._if_fresh(known, frame, oldest_ns)

    def find_marked(self, known: KnownQuery) -> tuple[Frame, LiveMark | None, int] | None:
        """The result, whenever it was read, with what was counted before, and when that was."""
        frame = self._found(known)
        if frame is None:
            return None
        _, taken_ns, mark = self._seen(known, frame)
        return (frame, mark, taken_ns) if taken_ns > self._moments_ns[known.place] else None

    def _found(self, known: KnownQuery) -> Frame | None:
        if not known.seen[0] and not self._memory.blocks(known.name):
            return None  # looked for first: an unknown name's error looks for one like it
        try:
            return self._get(known.name)
        except (DatasetNotFoundError, DatasetEvictedError):
            known.seen = ("", NEVER_NS, None)
            return None

    def look(self, known: KnownQuery, oldest_ns: int) -> Frame | None:
        """The same, and nobody counts it as a find."""
        for block in self._memory.blocks(known.name):
            if block.name == known.name:
                with suppress(DatasetEvictedError):
                    return self._if_fresh(known, self._memory.attach(block), oldest_ns)
        return None

    def _if_fresh(self, known: KnownQuery, frame: Frame, oldest_ns: int) -> Frame | None:
        taken_ns = self._seen(known, frame)[1]
        if taken_ns < oldest_ns or taken_ns <= self._moments_ns[known.place]:
            return None
        return frame

    def _seen(self, known: KnownQuery, frame: Frame) -> tuple[str, int, LiveMark | None]:
        seen = known.seen
        if frame.source.descriptor.uuid != seen[0]:  # type: ignore[attr-defined]  # a block's source
            seen = self._learn(known, frame)
        return seen

    def _learn(self, known: KnownQuery, frame: Frame) -> tuple[str, int, LiveMark | None]:
        """When this block was read; never, where it answers another query."""
        raw = (frame.arrow().schema.metadata or {}).get(QUERY_KEY)
        taken_ns, mark = NEVER_NS, None
        if raw is not None:
            with suppress(msgspec.DecodeError, msgspec.ValidationError):
                record = msgspec.json.decode(raw, type=Record)
                if record.key == known.key.text:
                    taken_ns, mark = record.taken_ns, record.live
        seen = known.seen = (frame.descriptor.uuid, taken_ns, mark)
        return seen

    def reserve(
        self,
        known: KnownQuery,
        taken_ns: int,
        too_large: Callable[[], object],
        mark: LiveMark | None = None,
    ) -> Reserve:
        """Memory to read the result into; sealed, it is found by all. ``too_large`` is told of one
        that is not kept.
        """
        record = msgspec.json.encode(Record(known.key.text, taken_ns, mark))

        def reserve(schema: pa.Schema, rows: int, **sizes: Any) -> BlockReservation:
            metadata = {**(schema.metadata or {}), QUERY_KEY: record}
            named = schema.with_metadata(metadata)
            reservation = self._memory.reserve(named, rows, cleared=False, **sizes)
            if reservation.layout.nbytes <= self.bytes_max:
                reservation.name = known.name
            else:
                too_large()
            return reservation

        return reserve

    def facts(self, known: KnownQuery) -> DatasetFacts | None:
        """What the memory knows of the result."""
        found = [one for one in self._memory.facts(known.name) if one.name == known.name]
        return found[0] if found else None

    def drop(self, names: str) -> int:
        """Drop all whose names begin so, and tell how many."""
        dropped = 0
        for block in self._memory.blocks(names):
            with suppress(DatasetNotFoundError):
                self._memory.drop(block.name)
                dropped += 1
        return dropped
