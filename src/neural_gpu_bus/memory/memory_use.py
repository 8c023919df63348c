"""One process's use of one memory folder: its session, its counters, what it keeps for speed."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadSettingError, NeuralGpuBusError
from neural_gpu_bus.host_traps import warn_at_open
from neural_gpu_bus.memory.accounting.maps import Kind
from neural_gpu_bus.memory.accounting.occupancy import Occupancy
from neural_gpu_bus.memory.accounting.own_session import (
    OwnSession,
    close_session,
    list_mapping,
    open_session,
    session_after_fork,
)
from neural_gpu_bus.memory.accounting.regions import region_budgets
from neural_gpu_bus.memory.catalog.eviction import POLICIES
from neural_gpu_bus.memory.catalog.index import Index, decode
from neural_gpu_bus.memory.files import folder as folders
from neural_gpu_bus.memory.files.page_reuse import PageReuse
from neural_gpu_bus.memory.frames.kept_frames import Kept, KeptFrames
from neural_gpu_bus.memory.series import series_bytes

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import BlockDescriptor, Region
    from neural_gpu_bus.memory.frames.frame import Frame

#: Share of the budget that the processes together keep for speed: mappings of datasets that they
#: found by name, and as much again of pages that they wrote. Others cannot evict those, and a
#: process that sleeps cannot let them go: so each has its part by how many there are.
KEPT_SHARE = 1 / 32

_living: weakref.WeakSet[MemoryUse] = weakref.WeakSet()


class MemoryUse:
    """What writing and reading share. After fork the child goes on with a session of its own."""

    def __init__(
        self,
        folder: Path,
        bytes_max: int,
        *,
        shares: Mapping[Region, float] | None,
        group: str | None,
        policy: str,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        _check_policy(policy)
        self.folder = folders.prepare(folder, group)
        self._identity = folders.identity(self.folder)
        host = os.statvfs(self.folder)
        self.bytes_max = min(bytes_max, host.f_blocks * host.f_frsize)
        self.clock_ns = clock_ns
        self.kept = KeptFrames(self._kept_bytes_max)
        self.reuse = PageReuse(self._kept_bytes_max, self._count_spare, self._list_kept)
        #: uuid -> frame, while anybody holds it.
        self.attached: weakref.WeakValueDictionary[str, Frame] = weakref.WeakValueDictionary()
        self.index = Index(self.folder)
        self.budgets = region_budgets(self.bytes_max, shares)
        self.occupancy = Occupancy(
            self.folder,
            self.budgets,
            self.index,
            policy=policy,
            series_bytes=self.series_bytes,
            sweep=self.sweep,
            clock_ns=clock_ns,
        )
        self._changes_seen = 0
        self._session: OwnSession | None = open_session(self.folder, self.index)
        self.index.leaving = self._count_leaving
        self.sweep()
        warn_at_open(self.folder, self.bytes_max)
        _living.add(self)

    @property
    def session(self) -> OwnSession:
        """This process's own. Raises SharedMemoryFullError or HostError in a child made by fork
        for which it could not be opened.
        """
        if self._session is None:
            with folders.no_room_told(self.folder, 0):
                self._session = session_after_fork(self._identity, self.index)
        return self._session

    def series_bytes(self) -> int:
        """Bytes of all growing columns. Raises HostError where the folder is gone, or is another
        one: that has been asked before anything is made in it.
        """
        if folders.identity(self.folder) != self._identity:
            raise folders.gone(self.folder)
        return series_bytes(self.folder / folders.SERIES)

    def sweep(self) -> None:
        """Take away what dead processes left; mend what one killed while publishing left."""
        with self.index.exclusive():
            living, dead = folders.sweep_sessions(self.folder)
            self.session.processes.fold_dead(living)
            # Looking at every dataset takes 3 us each: after a death, and for the first to come.
            if dead or (len(living) == 1 and self.session.users == 1):
                folders.sweep_datasets(self.folder, self.index.settle())

    # ---- blocks that go

    def remove(self, gone: Sequence[BlockDescriptor]) -> None:
        """Take away the files of blocks that nobody can find any more; views live on.

        Until then they count as this process's blocks without a name.
        """
        for block in gone:
            path = self.folder / block.path
            if not self.reuse.recycle(block, path, self.session.corner.path):
                folders.remove(path)
            self.give_back(block.region, block.nbytes)
        self.index.ballast.load_again()

    def give_back(self, region: Region, nbytes: int) -> None:
        """Bytes of a block without a name that is no more."""
        self.session.counters.add_unnamed(region, -nbytes)

    def _count_leaving(self, region: Region, nbytes: int) -> None:
        self.session.counters.add_unnamed(region, nbytes)

    def end_unnamed(self, block: BlockDescriptor) -> None:
        """The last reference here to a block without a name is gone."""
        self.remove([block])

    def release_kept(self) -> None:
        """Memory is short: let go of what is mapped for speed alone."""
        self.tell_all()
        self.kept.release()
        self.reuse.clear()

    def _kept_bytes_max(self) -> int:
        return int(self.bytes_max * KEPT_SHARE) // max(1, self.session.processes.count())

    def _list_kept(self, uuid: str, nbytes: int) -> Callable[[], object] | None:
        listed = list_mapping(self.folder, uuid, nbytes, Kind.KEPT)
        return None if listed is None else listed.end

    def _count_spare(self, nbytes: int) -> None:
        self.session.counters.add_unnamed("shared", nbytes)

    # ---- finds that are counted

    def count_hits(self, block: BlockDescriptor, hits: int) -> None:
        """A dataset was found so often."""
        counters = self.session.counters.region(block.region)
        counters.hits += hits
        counters.saved_ns += hits * block.reload_ns
        self.index.ledger.count(block, hits, self.clock_ns())

    def tell(self, kept: Kept) -> None:
        """Finds that were counted here, told to all."""
        hits, kept.hits = kept.hits, 0
        self.count_hits(kept.descriptor, hits)
        self.session.counters.write_down()

    def tell_all(self) -> None:
        """The same of all that is kept."""
        for kept in list(self.kept.values()):
            if kept.hits:
                hits, kept.hits = kept.hits, 0
                self.count_hits(kept.descriptor, hits)
        self.session.counters.write_down()

    def forget_stale(self) -> None:
        """Let go of kept frames that somebody replaced or dropped, so their memory is freed."""
        changes = self.index.clock.changes
        if changes == self._changes_seen:
            return
        self._changes_seen = changes
        self.tell_all()
        for name, kept in self.kept.held():
            if self.index.clock.counters[kept.place] != kept.number:
                raw = self.index.newest(name)
                if raw is None or decode(raw).uuid != kept.descriptor.uuid:
                    self.kept.forget(name)

    # ---- the end, and fork

    def close(self) -> None:
        """Leave the folder. Harmless when repeated."""
        if self not in _living:
            return
        _living.discard(self)
        if self._session is not None:
            self.tell_all()
        self.kept.clear()
        self.reuse.clear()
        if self._session is not None:
            close_session(self._session, self.index)
        self.index.close()

    def reopen_after_fork(self) -> None:
        """In a child made by fork: leave the parent's session and index alone, open our own."""
        self.reuse.forget()
        self.kept.forked_in_child()
        self._session = None
        # Told at the next use: nobody hears it here, and other memories come after this one.
        with suppress(NeuralGpuBusError, OSError):
            _ = self.session


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise BadSettingError(
            f"there is no eviction policy {policy!r}",
            hint=did_you_mean(policy, POLICIES, f"there are {', '.join(POLICIES)}"),
            setting="memory_policy",
        )


def _after_fork_in_child() -> None:
    for use in list(_living):
        use.reopen_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
