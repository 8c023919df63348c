"""What each region holds against its budget, and making room by evicting what is worth least."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.descriptors import BlockDescriptor, Region
from neural_gpu_bus.memory.accounting.holders import describe_holders
from neural_gpu_bus.memory.accounting.maps import LivingMaps
from neural_gpu_bus.memory.catalog.block_table import REGION_CODES
from neural_gpu_bus.memory.catalog.eviction import choose
from neural_gpu_bus.memory.files.folder import living_sessions, memory_full, uuid_head

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.memory.accounting.own_session import OwnSession
    from neural_gpu_bus.memory.catalog.index import Index

#: Evicted beyond what is needed, as a share of the budget: the next reservation finds room.
MARGIN = 1 / 64
#: Longest that a reservation waits for others' that are half way, and between two looks.
WAIT_S_MAX = 0.5
PAUSE_S_MAX = 2e-3


class Occupancy:
    """Budgets of one memory folder, as one process sees and keeps them."""

    def __init__(
        self,
        folder: Path,
        budgets: Mapping[Region, int],
        index: Index,
        *,
        policy: str,
        series_bytes: Callable[[], int],
        sweep: Callable[[], object],
        clock_ns: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._series_bytes = series_bytes
        self._sweep = sweep
        self.budgets = dict(budgets)
        self.policy = policy
        self._index = index
        self._clock_ns = clock_ns

    def used_bytes(self, session: OwnSession, region: Region) -> int:
        """Named and unnamed blocks, and growing columns in ``shared``."""
        # In this order: what is published meanwhile counts twice, in the other not at all.
        unnamed = session.processes.unnamed_bytes(region)
        return unnamed + self._index.named_bytes(region) + self._series_of(region)

    @contextmanager
    def claimed(
        self,
        session: OwnSession,
        region: Region,
        nbytes: int,
        evicted: Callable[[list[BlockDescriptor]], object],
        release: Callable[[], object],
    ) -> Iterator[None]:
        """Count ``nbytes`` without a name, while there is room for them; undone by an error.

        They count before the check: of two that claim at the same moment each sees the other, so
        the budget is never overrun. ``release`` lets go of what this process keeps for speed, and
        ``evicted`` takes the blocks away that had to go. Raises SharedMemoryFullError.
        """
        session.counters.add_unnamed(region, nbytes)
        try:
            if self._short_bytes(session, region) > 0:
                release()
                self._make_room_among_others(session, region, nbytes, evicted)
            yield
        except BaseException:
            session.counters.add_unnamed(region, -nbytes)
            raise

    def _make_room_among_others(
        self,
        session: OwnSession,
        region: Region,
        nbytes: int,
        evicted: Callable[[list[BlockDescriptor]], object],
    ) -> None:
        """Make room for bytes that are claimed. Others who do the same at this moment, and blocks
        that are half published, take more than they will: so step back, and look again.
        """
        end = time.monotonic() + WAIT_S_MAX
        swept = False
        while True:
            others = session.processes.unnamed_bytes(region) > nbytes
            others = others or len(living_sessions(self._folder)) > 1
            gone = self.make_room(session, region, evicted)
            if (short := self._short_bytes(session, region)) <= 0:
                return
            if not gone and not swept:  # what dead processes had still counts
                swept = True
                self._sweep()
                continue
            if not gone and (not others or time.monotonic() > end):
                raise self._full(session, region, nbytes, short)
            if not gone:
                session.counters.add_unnamed(region, -nbytes)
                try:
                    time.sleep(random.uniform(0, PAUSE_S_MAX))  # noqa: S311  one of them is first
                finally:  # whoever claimed takes it back where an interrupt comes
                    session.counters.add_unnamed(region, nbytes)

    def make_room(
        self,
        session: OwnSession,
        region: Region,
        evicted: Callable[[list[BlockDescriptor]], object],
        at_least_bytes: int = 0,
    ) -> list[BlockDescriptor]:
        """Evict until the region is within its budget again, and ``at_least_bytes`` in any case.

        Takes nothing where all that may go is not enough. Gives what went.
        """

        def chosen() -> list[int]:
            short = max(self._short_bytes(session, region), at_least_bytes)
            records = self._index.ledger.records
            if short <= 0:
                return []
            candidates = self._candidates(region)
            state = self._index.ledger.policy_state(region)
            margin = int(self.budgets[region] * MARGIN)
            for needed in (short + margin, short):
                found = choose(self.policy, records, candidates, needed, state)
                if found is not None:
                    return [int(place) for place in found]
            return []

        gone = self._index.evict(chosen, now_ns=self._clock_ns(), policy=self.policy)
        counters = session.counters.region(region)
        counters.evictions += len(gone)
        counters.evicted_bytes += sum(block.nbytes for block in gone)
        evicted(gone)
        return gone

    def _short_bytes(self, session: OwnSession, region: Region) -> int:
        used = self.used_bytes(session, region)
        return used + self._gone_bytes(session, region, used) - self.budgets[region]

    def _gone_bytes(self, session: OwnSession, region: Region, used: int) -> int:
        """Of blocks that are dropped and still mapped by somebody: their memory is not free.

        Their region is not known any more, so they count in each. Looking costs each process's list
        a read, so it is left out where all that is mapped would fit as well.
        """
        session.counters.write_down()
        if used + session.processes.mapped_bytes() <= self.budgets[region]:
            return 0
        maps = LivingMaps(self._folder)
        gone = {entry.uuid: entry.nbytes for entry in maps.entries if maps.is_gone(entry)}
        return sum(gone.values())

    def _candidates(self, region: Region) -> npt.NDArray[np.bool_]:
        records = self._index.ledger.records
        found: npt.NDArray[np.bool_] = (
            (records["uuid"] != 0)
            & (records["region"] == REGION_CODES[region])
            & (records["pinned"] == 0)
        )
        entries = LivingMaps(self._folder).entries
        mapped = np.array(sorted({uuid_head(entry.uuid) for entry in entries}), np.uint64)
        if len(mapped):
            places = np.searchsorted(mapped, records["uuid"])
            found &= mapped[np.minimum(places, len(mapped) - 1)] != records["uuid"]
        return found

    def _series_of(self, region: Region) -> int:
        return self._series_bytes() if region == "shared" else 0

    def _full(self, session: OwnSession, region: Region, needed: int, short: int) -> Exception:
        used = self.used_bytes(session, region) - needed
        holders = describe_holders(
            self._folder,
            self._index,
            session,
            region,
            claimed_bytes=needed,
            series_bytes=self._series_of(region),
            now_ns=self._clock_ns(),
        )
        budget = self.budgets[region]
        held = "; ".join(holders)
        if needed > budget:
            why = f"the whole budget of region {region!r} is {budget:,}"
        else:
            why = (
                f"{max(used, 0):,} of the budget of {budget:,} are in use in region {region!r}, "
                f"and {short:,} bytes more would have to go. Held by: "
                + (held or "views of what was dropped, or blocks that are just leaving")
            )
        percent = f"NGB_MEMORY_{region.upper()}_PERCENT"
        return memory_full(
            self._folder,
            needed,
            why,
            hint=f"raise NGB_MEMORY_BYTES_MAX or {percent}, or drop datasets and let go of views: "
            "`ngb memory` shows who holds what",
        )
