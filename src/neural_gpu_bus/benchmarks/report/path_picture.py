"""The picture of the data's way: which parts the bytes pass, and what only descriptors pass."""

from __future__ import annotations

import math

from neural_gpu_bus.benchmarks.report.svg import Box, Drawing, Point

#: Box: heading, then what it holds.
POSTGRES = ("PostgreSQL", "your tables")
MEMORY = ("Shared memory", "Arrow columns, one copy,", "read-only, every process")
WORKER = ("Worker", "engines: cpu, gpu, neural;", "the planner chooses")
STORED = ("PostgreSQL", "rows and job id,", "one transaction")
REDIS = ("Redis", "Arrow stream", "under one key")
CALLER = ("Your process", "plane.query, plane.submit")
BUS = ("Compute bus", "Redis Streams")


def draw_wide() -> Drawing:
    """Left to right, for pages of some width."""
    drawing = Drawing(920, 262, "The data's way from PostgreSQL to stored results")
    _box(drawing, (0, 40, 130, 74), POSTGRES, "node")
    _box(drawing, (232, 40, 186, 74), MEMORY, "node strong")
    _box(drawing, (510, 40, 180, 74), WORKER, "node")
    _box(drawing, (790, 4, 130, 68), STORED, "node")
    _box(drawing, (790, 88, 130, 68), REDIS, "node")
    _box(drawing, (232, 190, 186, 58), CALLER, "node")
    _box(drawing, (510, 190, 180, 58), BUS, "node")
    _arrow(drawing, (130, 77), (232, 77), "flow", above="COPY BINARY", below="decoded in place")
    _arrow(drawing, (418, 77), (510, 77), "flow", above="attach", below="no copy")
    _arrow(drawing, (690, 62), (790, 38), "flow")
    _arrow(drawing, (690, 92), (790, 122), "flow")
    drawing.text(740, 82, "in bulk", "tick", "middle")
    _arrow(drawing, (325, 114), (325, 190), "flow back")
    drawing.text(335, 156, "views of the result", "tick")
    _arrow(drawing, (418, 219), (510, 219), "message", above="descriptor", below="under 1 KB")
    _arrow(drawing, (600, 190), (600, 114), "message")
    drawing.text(610, 156, "job", "tick")
    return drawing


def draw_narrow() -> Drawing:
    """Top to bottom, for a phone."""
    drawing = Drawing(340, 512, "The data's way from PostgreSQL to stored results")
    _box(drawing, (0, 4, 160, 54), POSTGRES, "node")
    _box(drawing, (0, 118, 200, 74), MEMORY, "node strong")
    _box(drawing, (0, 256, 200, 74), WORKER, "node")
    _box(drawing, (0, 420, 150, 74), STORED, "node")
    _box(drawing, (190, 420, 150, 74), REDIS, "node")
    _box(drawing, (236, 118, 104, 74), ("Your process", "query,", "submit"), "node")
    _box(drawing, (236, 256, 104, 74), ("Compute", "bus: Redis", "Streams"), "node")
    _arrow(drawing, (80, 58), (80, 118), "flow")
    drawing.text(92, 84, "COPY BINARY,", "tick")
    drawing.text(92, 99, "decoded in place", "tick")
    _arrow(drawing, (80, 192), (80, 256), "flow")
    drawing.text(92, 229, "attach, no copy", "tick")
    _arrow(drawing, (75, 330), (75, 420), "flow")
    _arrow(drawing, (150, 330), (250, 420), "flow")
    drawing.text(14, 380, "in bulk", "tick")
    _arrow(drawing, (200, 155), (236, 155), "flow back")
    _arrow(drawing, (288, 192), (288, 256), "message")
    drawing.text(280, 229, "descriptor", "tick", "end")
    _arrow(drawing, (236, 293), (200, 293), "message")
    return drawing


def _box(drawing: Drawing, place: Box, words: tuple[str, ...], kind: str) -> None:
    x, y, width, height = place
    drawing.box((x + 0.5, y + 0.5, width - 1, height - 1), kind, radius=8)
    top = y + height / 2 - (len(words) - 1) * 8 + 4
    for number, line in enumerate(words):
        style = "node-head" if number == 0 else "tick"
        drawing.text(x + width / 2, top + number * 16, line, style, "middle")


def _arrow(
    drawing: Drawing, start: Point, end: Point, kind: str, *, above: str = "", below: str = ""
) -> None:
    """A line with a head; on a level one, words above and below."""
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1)
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    base_x, base_y = x2 - 7 * ux, y2 - 7 * uy
    drawing.line((x1 + 3 * ux, y1 + 3 * uy), (base_x, base_y), kind)
    corners = [
        (x2 - ux, y2 - uy),
        (base_x - 4 * uy, base_y + 4 * ux),
        (base_x + 4 * uy, base_y - 4 * ux),
    ]
    head = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
    drawing.path(f"M{head}Z", f"head {kind.split(maxsplit=1)[0]}")
    for words, offset in ((above, -8), (below, 17)):
        if words:
            drawing.text((x1 + x2) / 2, y1 + offset, words, "tick", "middle")
