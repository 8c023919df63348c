"""The initial copy of one table, in a thread of its own while the stream is read on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.live.mirror.failpoints import failpoint

if TYPE_CHECKING:
    from neural_gpu_bus.live.applying.applied_table import AppliedTable
    from neural_gpu_bus.live.applying.no_rows import NoRows
    from neural_gpu_bus.stores.postgres.replication.append_only import ChangeCounts
    from neural_gpu_bus.stores.postgres.replication.snapshot_moment import SnapshotMoment
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape

#: How often a copy that waits looks whether it was given up.
REGISTERED_S = 0.1


@dataclass(frozen=True, slots=True)
class Copied:
    """A table as of one snapshot, in a series that nobody reads yet."""

    applied: AppliedTable | NoRows
    moment: SnapshotMoment
    #: Of rows that were updated and deleted before it, of a table of which only inserts come.
    counts: ChangeCounts | None = None


class CopyStoppedError(Exception):
    """The process ends, or nobody wants the table any more."""


class TableCopy:
    """One attempt. ``work`` reads and writes; ``result`` is there when ``is_over``."""

    def __init__(self, name: str, work: Callable[[TableCopy], Copied]) -> None:
        self._work = work
        self._stopped = threading.Event()
        self._registered = threading.Event()
        #: The table that is to be copied, once it is published.
        self.announced: TableShape | None = None
        self._result: Copied | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"ngb-copy-{name}", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether ``result`` answers at once."""
        return not self._thread.is_alive()

    def result(self) -> Copied:
        """Raises what the copy raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None  # noqa: S101  one of both is there
        return self._result

    def stop(self) -> None:
        """Give it up; returns when its thread has ended."""
        self._stopped.set()
        self._thread.join()

    def announce(self, shape: TableShape) -> None:
        """Called by ``work`` once the table is published and before its snapshot is taken: return
        when its changes are kept. Those that came before are of transactions that the snapshot
        sees. Raises CopyStoppedError.
        """
        self.announced = shape
        while not self._registered.wait(REGISTERED_S):
            self.check()
        self.check()

    def register(self) -> None:
        """From now on its changes are kept."""
        self._registered.set()

    @property
    def is_registered(self) -> bool:
        """Whether its changes are kept."""
        return self._registered.is_set()

    @property
    def is_stopped(self) -> bool:
        """Whether somebody gave it up."""
        return self._stopped.is_set()

    def check(self) -> None:
        """Called by ``work`` every now and then. Raises CopyStoppedError."""
        if self._stopped.is_set():
            raise CopyStoppedError

    def _run(self) -> None:
        try:
            failpoint("before copy")
            self._result = self._work(self)
            failpoint("after copy")
        except (NeuralGpuBusError, OSError, CopyStoppedError) as error:
            self._error = error
        except BaseException as error:  # noqa: BLE001  a defect: the main thread shall end of it
            self._error = error
