"""How far the tables that follow PostgreSQL have come: one small file that all processes map.

the one writer (``LiveState``) --single stores--> words <--one load each-- readers (``LiveView``)
"""

from neural_gpu_bus.live.shared.freshness import LiveAsOf
from neural_gpu_bus.live.shared.manifest import LIVE_STATES, LiveTableState, TableState
from neural_gpu_bus.live.shared.state import LiveState
from neural_gpu_bus.live.shared.view import LiveView

__all__ = ["LIVE_STATES", "LiveAsOf", "LiveState", "LiveTableState", "LiveView", "TableState"]
