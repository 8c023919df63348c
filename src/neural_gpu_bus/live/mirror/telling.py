"""What is told of followed tables, in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neural_gpu_bus.host_clock import host_clock_ns

if TYPE_CHECKING:
    from neural_gpu_bus.live.mirror.followed_table import FollowedTable
    from neural_gpu_bus.live.shared.manifest import LiveTableState


def covered(table: FollowedTable, state: LiveTableState) -> tuple[int, bool]:
    """Its OID, and whether all its changes come: not where it is filtered, or only grows."""
    definition = table.definition
    whole = not definition.where and not definition.append_only and definition.how == "stream"
    return table.shape.oid if table.shape else 0, whole and state == "live" and bool(table.shape)


def soon_ns(wait_s: float) -> int:
    """That moment of the host's clock."""
    return host_clock_ns() + int(wait_s * 1e9)
