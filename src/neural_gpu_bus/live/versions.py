"""The version of a live table that readers see: a series, or rows as of where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.live.shared.manifest import SHOWN_STATES
from neural_gpu_bus.memory.series.records import Stamp
from neural_gpu_bus.memory.series.series import Series, SeriesSnapshot

if TYPE_CHECKING:
    from neural_gpu_bus.live.shared import TableState
    from neural_gpu_bus.memory.frames.frame import Frame


class Mark(NamedTuple):
    """What a table was at a moment, for ``wait_for_change``: later ones are greater."""

    #: Epoch of its version: a table that was copied anew has another.
    version: int
    #: Steps of publication of all live tables.
    generation: int


class ShownVersion(NamedTuple):
    """The version that readers see, as of one epoch of the words that were looked at."""

    epoch: int
    words: memoryview
    state: TableState
    series: Series
    #: The series, or of a table that is not live the rows as of where it stopped.
    looked_at: Series | SeriesSnapshot
    last_of: Callable[[int, dict[str, Any]], Frame]


def shown_version(series: Series, epoch: int, words: memoryview, state: TableState) -> ShownVersion:
    """What is to be looked at of a table in that state."""
    looked_at: Series | SeriesSnapshot = series
    if state.state not in SHOWN_STATES:
        # Nobody writes to it any more, and the group goes on: its rows are as of where it was.
        snapshot = series.snapshot()
        stamp = snapshot._stamp  # noqa: SLF001
        looked_at = snapshot.of_stamp(
            Stamp(stamp.generation, state.lsn, state.committed_ns, stamp.published_ns)
        )
    return ShownVersion(epoch, words, state, series, looked_at, looked_at.last_of)


def snapshot_of(look: Series | SeriesSnapshot) -> SeriesSnapshot:
    """All of it as of one generation."""
    return look.snapshot() if isinstance(look, Series) else look


def same_version(before: TableState, now: TableState) -> bool:
    """Only what is told of it besides is another: what was opened stays."""
    return before.version == now.version and before.series == now.series
