"""Where one timeline of a server left another: what a promotion or a restore kept of the log."""

from __future__ import annotations

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication.wal_positions import lsn_of


def left_at(history: str, timeline: int) -> int | None:
    """Position up to which the server's log is that of ``timeline``; None where it never was on it.

    ``history``: what TIMELINE_HISTORY answers, a line for each timeline before: its number, where
    it was left, why.
    """
    for line in history.splitlines():
        parts = line.split()
        if len(parts) >= 2 and parts[0] == str(timeline):
            try:
                return lsn_of(parts[1])
            except ProtocolError:
                return None
    return None
