"""Time bars from trades: open, high, low, close, volume of each interval that has a trade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.errors import BadParameterError

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.workloads.workload import Array


def build_time_bars(
    ts_ns: npt.NDArray[np.int64],
    price: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    interval_ns: int,
) -> dict[str, Array]:
    """Bars of trades in feed order, all arrays of shape (n_trades,).

    ``ts_ns``: nanoseconds since 1970 UTC (int64 or datetime64[ns]), never falling. ``ts`` of a bar
    is the start of its interval, a multiple of ``interval_ns``; an interval without a trade has no
    bar. A trade of size 0 sets prices and adds nothing to the volume. NaN and infinities are
    refused with their row.

    Returns ``ts`` (int64 nanoseconds), ``open``, ``high``, ``low``, ``close``, ``volume``.
    """
    from neural_gpu_bus.workloads import time_bars_compiled as compiled

    if interval_ns < 1:
        raise BadParameterError(
            f"interval_ns is {interval_ns}, and has to be at least 1",
            hint="one minute is 60_000_000_000",
            parameter="interval_ns",
        )
    ticks = np.ascontiguousarray(ts_ns)
    ticks = ticks.view(np.int64) if ticks.dtype.kind == "M" else ticks.astype(np.int64, copy=False)
    prices, sizes = _finite("price", price, len(ticks)), _finite("size", size, len(ticks))
    bars, late = compiled.count_bars(ticks, interval_ns)
    if late >= 0:
        raise BadParameterError(
            f"ts_ns falls in row {late + 1:,}: trades have to be in order of time",
            hint="read one instrument in feed order",
            parameter="ts_ns",
            row=late + 1,
        )
    out = np.empty((5, bars))
    starts = np.empty(bars, dtype=np.int64)
    compiled.fill_bars(ticks, prices, sizes, interval_ns, starts, out)
    return {"ts": starts, **dict(zip(("open", "high", "low", "close", "volume"), out, strict=True))}


def _finite(name: str, values: Any, rows: int) -> npt.NDArray[np.float64]:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if len(array) != rows:
        raise BadParameterError(
            f"{name} has {len(array):,} rows and ts_ns {rows:,}",
            hint="hand in columns of one frame",
            parameter=name,
        )
    good = np.isfinite(array)
    if not good.all():
        row = int(np.argmin(good))
        raise BadParameterError(
            f"{name} is {array[row]} in row {row + 1:,}",
            hint="leave such trades out",
            parameter=name,
            row=row + 1,
        )
    return array
