"""What the mirror works with: one server, one group of series, one state that readers see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neural_gpu_bus.live.mirror.claims import Claims

if TYPE_CHECKING:
    from neural_gpu_bus.live.changes.told_changes import ToldChanges
    from neural_gpu_bus.live.definitions import LiveDefinitions
    from neural_gpu_bus.live.mirror.continuing import Continuing
    from neural_gpu_bus.live.mirror.series_room import SeriesRoom
    from neural_gpu_bus.live.mirror.source import Source
    from neural_gpu_bus.live.shared.state import LiveState

#: Changes of one table that wait for its copy; the stream is not read on beyond.
PENDING_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class MirrorMeans:
    """Built by ``service``."""

    source: Source
    room: SeriesRoom
    state: LiveState
    definitions: LiveDefinitions
    changes: ToldChanges
    continuing: Continuing
    pending_bytes_max: int = PENDING_BYTES_MAX
    claims: Claims = field(default_factory=Claims)
