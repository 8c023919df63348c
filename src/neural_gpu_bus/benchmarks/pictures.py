"""Lines for the page's pictures, from what the traditional way stored: all ways are equal."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.results import TRADITIONAL, Series

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.equality import Rows
    from neural_gpu_bus.benchmarks.tasks import Task
    from neural_gpu_bus.benchmarks.ways import ResultTables

#: Points of one line: about one a pixel on a desktop.
POINTS_MAX = 600


def take(stored: ResultTables, tasks: Sequence[Task]) -> list[Series]:
    """Pictures of the workloads that ran."""
    found = {
        task.workload: stored.rows(TRADITIONAL, task)
        for task in tasks
        if task.workload in {"indicators.technical", "vpin.trades", "vpin.bars"}
    }
    pictures = []
    if (rows := found.get("indicators.technical")) is not None:
        bands = {
            "upper band": "bollinger_upper",
            "moving average": "sma",
            "lower band": "bollinger_lower",
        }
        pictures.append(_series("indicators", rows, bands))
        pictures.append(_series("rsi", rows, {"RSI": "rsi"}))
    vpin = [name for name in ("vpin.trades", "vpin.bars") if name in found]
    return pictures + [_series(name, found[name], {"VPIN": "vpin"}) for name in vpin]


def _series(title: str, rows: Rows, lines: dict[str, str]) -> Series:
    return Series(
        title=title,
        ts_ns=[_nanoseconds(ts) for ts in rows["ts"][-POINTS_MAX:]],
        lines={
            label: [_drawable(value) for value in rows[column][-POINTS_MAX:]]
            for label, column in lines.items()
        },
    )


def _nanoseconds(ts: Any) -> int:
    if isinstance(ts, dt.datetime):
        return round(ts.timestamp() * 1_000_000) * 1000
    return int(ts)


def _drawable(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
