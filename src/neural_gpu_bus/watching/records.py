"""What a watch tells: of one run, and of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import AsOf, EngineChoice, StoreReceipt
    from neural_gpu_bus.memory.frames.frame import Frame


class WatchRun(msgspec.Struct, frozen=True, eq=False):
    """One run of a watched workload: its result, or why there is none."""

    #: 1 for the first one of its watch; those that failed count in.
    number: int
    #: Name of the watch.
    watch: str
    #: Columns of the result in this process's own memory, ``frame.as_of`` the position of all its
    #: inputs; None where it failed.
    frame: Frame | None = None
    #: What went wrong; the watch goes on, and tries again.
    error: Exception | None = None
    #: Row changes of the watched tables that this run took together, those since the run before;
    #: not known (0) for the first, and where the process that follows them is a new one.
    changes: int = 0
    choice: EngineChoice | None = None
    #: Of the rows in PostgreSQL; None where nothing is stored there.
    receipt: StoreReceipt | None = None
    #: Inputs taken and prepared, and computed; then stored, then published.
    compute_s: float = 0.0
    store_s: float = 0.0
    publish_s: float = 0.0
    #: From the newest commit in its inputs until all was done. Two clocks take part, PostgreSQL's
    #: and this host's. None where no commit is known: nothing changed since a table was copied.
    behind_s: float | None = None

    @property
    def as_of(self) -> AsOf | None:
        """Position and commit time of its inputs; None where it failed."""
        return None if self.frame is None else self.frame.as_of

    @property
    def took_s(self) -> float:
        """All of it."""
        return self.compute_s + self.store_s + self.publish_s


class WatchStatistics(msgspec.Struct, frozen=True):
    """A watch at one moment, since it was made."""

    #: With a result; ``failed`` without.
    runs: int = 0
    failed: int = 0
    #: Row changes that runs took, see ``WatchRun.changes``.
    changes: int = 0
    last_took_s: float = 0.0
    last_behind_s: float | None = None
    #: Position of the last result, in PostgreSQL's own spelling; empty for none.
    last_lsn: str = ""
    #: Of the last run, if that failed.
    error: str = ""


def counted(before: WatchStatistics, run: WatchRun) -> WatchStatistics:
    """The same with one run more."""
    told: dict[str, Any]
    if run.error is not None:
        told = {"failed": before.failed + 1, "error": str(getattr(run.error, "what", run.error))}
    else:
        told = {
            "runs": before.runs + 1,
            "changes": before.changes + run.changes,
            "last_took_s": run.took_s,
            "last_behind_s": run.behind_s,
            "last_lsn": "" if run.as_of is None else run.as_of.lsn,
            "error": "",
        }
    return msgspec.structs.replace(before, **told)
