"""PostgreSQL tables and Redis values as columns in shared memory, with compute attached.

    PostgreSQL --COPY BINARY--> decoder --> block in shared memory --> Frame (numpy, Arrow: no copy)
                                              |          ^
                       descriptor over Redis  |          | result block
                                              v          |
                                            worker --> engine (cpu, gpu, neural)
                                              |
    PostgreSQL <--COPY BINARY, job id---------+--------> Redis (Arrow stream)

``open()`` is the way in; everything else hangs on the plane that it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus import errors
from neural_gpu_bus.version import __version__

if TYPE_CHECKING:
    from neural_gpu_bus.aggregates import Aggregate
    from neural_gpu_bus.aggregates.rates import AggregatePlan
    from neural_gpu_bus.bus import Job
    from neural_gpu_bus.descriptors import (
        AsOf,
        DatasetFacts,
        JobRecord,
        MemoryStatistics,
        PoolStatistics,
        SeriesFacts,
        StoreReceipt,
    )
    from neural_gpu_bus.live.live_table import LiveTable
    from neural_gpu_bus.live.shared import LiveAsOf, TableState
    from neural_gpu_bus.memory import BlockReservation, Frame
    from neural_gpu_bus.memory.series import Series, SeriesSnapshot
    from neural_gpu_bus.memory.series.writer import SeriesWriter
    from neural_gpu_bus.plane import DataPlane
    from neural_gpu_bus.query_cache import QueryCacheStatistics, QueryExplanation
    from neural_gpu_bus.settings import Settings
    from neural_gpu_bus.stores.postgres import (
        Acknowledgement,
        FrameStream,
        LoadReport,
        ReadReport,
        RefusedRows,
        Snapshot,
        WriteBehind,
        WriteBehindStatistics,
    )
    from neural_gpu_bus.watching import LiveInput, Watch, WatchRun, WatchStatistics

__all__ = [
    "Acknowledgement",
    "Aggregate",
    "AggregatePlan",
    "AsOf",
    "BlockReservation",
    "DataPlane",
    "DatasetFacts",
    "Frame",
    "FrameStream",
    "Job",
    "JobRecord",
    "LiveAsOf",
    "LiveInput",
    "LiveTable",
    "LoadReport",
    "MemoryStatistics",
    "PoolStatistics",
    "QueryCacheStatistics",
    "QueryExplanation",
    "ReadReport",
    "RefusedRows",
    "Series",
    "SeriesFacts",
    "SeriesSnapshot",
    "SeriesWriter",
    "Settings",
    "Snapshot",
    "StoreReceipt",
    "TableState",
    "Watch",
    "WatchRun",
    "WatchStatistics",
    "WriteBehind",
    "WriteBehindStatistics",
    "__version__",
    "errors",
    "open",
]

#: Where each public class lives. They load on first use, so that importing the package stays light.
_HOMES = {
    "Acknowledgement": "neural_gpu_bus.stores.postgres",
    "Aggregate": "neural_gpu_bus.aggregates",
    "AggregatePlan": "neural_gpu_bus.aggregates.rates",
    "AsOf": "neural_gpu_bus.descriptors",
    "BlockReservation": "neural_gpu_bus.memory",
    "DataPlane": "neural_gpu_bus.plane",
    "DatasetFacts": "neural_gpu_bus.descriptors",
    "Frame": "neural_gpu_bus.memory",
    "FrameStream": "neural_gpu_bus.stores.postgres",
    "Job": "neural_gpu_bus.bus",
    "JobRecord": "neural_gpu_bus.descriptors",
    "LiveAsOf": "neural_gpu_bus.live.shared",
    "LiveInput": "neural_gpu_bus.watching",
    "LiveTable": "neural_gpu_bus.live.live_table",
    "LoadReport": "neural_gpu_bus.stores.postgres",
    "MemoryStatistics": "neural_gpu_bus.descriptors",
    "PoolStatistics": "neural_gpu_bus.descriptors",
    "QueryCacheStatistics": "neural_gpu_bus.query_cache",
    "QueryExplanation": "neural_gpu_bus.query_cache",
    "ReadReport": "neural_gpu_bus.stores.postgres",
    "RefusedRows": "neural_gpu_bus.stores.postgres",
    "Series": "neural_gpu_bus.memory.series",
    "SeriesFacts": "neural_gpu_bus.descriptors",
    "SeriesSnapshot": "neural_gpu_bus.memory.series",
    "SeriesWriter": "neural_gpu_bus.memory.series.writer",
    "Settings": "neural_gpu_bus.settings",
    "Snapshot": "neural_gpu_bus.stores.postgres",
    "StoreReceipt": "neural_gpu_bus.descriptors",
    "TableState": "neural_gpu_bus.live.shared",
    "Watch": "neural_gpu_bus.watching",
    "WatchRun": "neural_gpu_bus.watching",
    "WatchStatistics": "neural_gpu_bus.watching",
    "WriteBehind": "neural_gpu_bus.stores.postgres",
    "WriteBehindStatistics": "neural_gpu_bus.stores.postgres",
}


def open(*, counted: bool = True, **settings: Any) -> DataPlane:  # noqa: A001 - the public name
    """Attach to this home's keeper, or start one with private servers, and give the plane.

    ``settings`` are those of ``Settings``, over environment and ``ngb.toml``. ``counted=False``
    does not keep the private servers running (a worker's own plane).
    Raises BadSettingError, MissingDependencyError, ServerStartError.
    """
    from neural_gpu_bus.plane import open_plane

    return open_plane(counted=counted, **settings)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
