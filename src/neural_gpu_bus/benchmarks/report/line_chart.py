"""Lines over time, with the band between the outer two where there are three."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence

from neural_gpu_bus.benchmarks.report.svg import WIDE, Drawing
from neural_gpu_bus.benchmarks.results import Series

LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 24


def draw(series: Series, width: float, height: float, guides: Sequence[float] = ()) -> Drawing:
    """One panel; ``guides`` are values that get a dashed line. Missing values leave a gap."""
    drawing = Drawing(width, height, f"{series.title}: {', '.join(series.lines)} over time")
    values = [v for line in series.lines.values() for v in line if v is not None] or [0.0, 1.0]
    ticks = round_ticks(min([*values, *guides]), max([*values, *guides]))
    low, high = ticks[0], ticks[-1]
    right, bottom = width - RIGHT, height - BOTTOM

    def place_y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    def place_x(index: int) -> float:
        return LEFT + index / max(len(series.ts_ns) - 1, 1) * (right - LEFT)

    for tick in ticks:
        drawing.line((LEFT, place_y(tick)), (right, place_y(tick)), "grid")
        drawing.text(LEFT - 8, place_y(tick) + 4, f"{tick:g}", "tick", "end")
    for guide in guides:
        drawing.line((LEFT, place_y(guide)), (right, place_y(guide)), "guide")
    _time_ticks(drawing, series, place_x, height, 5 if width >= WIDE else 3)
    points = {
        name: [(place_x(i), place_y(v)) for i, v in enumerate(line) if v is not None]
        for name, line in series.lines.items()
    }
    lines = list(points.values())
    if len(lines) == 3 and lines[0]:
        drawing.path(_path([*lines[0], *reversed(lines[2])]) + "Z", "band")
        lines = [lines[1]]
    for line in lines:
        if line:
            drawing.path(_path(line), "line")
    return drawing


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _time_ticks(
    drawing: Drawing,
    series: Series,
    place_x: Callable[[int], float],
    height: float,
    count: int,
) -> None:
    last = len(series.ts_ns) - 1
    span_s = (series.ts_ns[-1] - series.ts_ns[0]) / 1e9
    pattern = "%H:%M:%S" if span_s < 3600 else "%d %b %H:%M"
    for number in range(count):
        index = round(number / (count - 1) * last)
        moment = dt.datetime.fromtimestamp(series.ts_ns[index] / 1e9, dt.UTC)
        anchor = "start" if number == 0 else "end" if number == count - 1 else "middle"
        x = place_x(index)
        drawing.text(x, height - 6, moment.strftime(pattern), "tick", anchor)


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that enclose both, ``count`` steps or a few more."""
    if high <= low:
        high = low + 1.0
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 10) for place in range(first, last + 1)]
