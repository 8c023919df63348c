"""Bars of times: one group a workload, one bar a way, on a common logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from neural_gpu_bus.benchmarks.report.svg import Drawing
from neural_gpu_bus.benchmarks.results import WAYS, WorkloadResult
from neural_gpu_bus.benchmarks.wording import duration

#: Class of each way's bars in the page's style.
KINDS = dict(zip(WAYS, ("traditional", "library", "cold", "resident"), strict=True))

NAME_WIDTH, VALUE_WIDTH = 96, 62
ROW, BAR, TITLE, GAP, AXIS = 19, 13, 22, 14, 24


def draw(results: Sequence[WorkloadResult], width: float) -> Drawing:
    """Medians of all ways. The axis starts at the power of ten below the smallest."""
    groups = len(results)
    height = AXIS + groups * (TITLE + len(WAYS) * ROW + GAP)
    drawing = Drawing(width, height, "Median time of each workload by way, logarithmic axis")
    left, right = NAME_WIDTH, width - VALUE_WIDTH
    low, high = decades([t.median_s for r in results for t in r.timings.values()])

    def place(seconds: float) -> float:
        return left + (math.log10(seconds) - low) / (high - low) * (right - left)

    for power in range(low, high + 1):
        x = place(10.0**power)
        drawing.line((x, AXIS - 6), (x, height - GAP), "grid")
        drawing.text(x, AXIS - 11, axis_label(power), "tick", "middle")
    y: float = AXIS
    for result in results:
        drawing.text(0, y + 15, result.title, "group")
        y += TITLE
        for way, timing in result.timings.items():
            drawing.text(left - 8, y + 11, way, "name", "end")
            end = place(timing.median_s)
            drawing.box((left, y, end - left, BAR), KINDS[way])
            drawing.text(end + 6, y + 11, duration(timing.median_s), "value")
            y += ROW
        y += GAP
    return drawing


def decades(seconds: Sequence[float]) -> tuple[int, int]:
    """Powers of ten that enclose all values; at least one decade."""
    low = math.floor(math.log10(min(seconds, default=0.001)) + 1e-9)
    high = math.ceil(math.log10(max(seconds, default=0.001)) - 1e-9)
    return low, max(high, low + 1)


def axis_label(power: int) -> str:
    """A power of ten seconds, e.g. ``10 ms``."""
    if power >= 0:
        return f"{10**power} s"
    return f"{10 ** (power + 3)} ms" if power >= -3 else f"{10 ** (power + 6)} µs"
