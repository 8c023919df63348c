"""Where the time goes: each way's run as shares of its stages."""

from __future__ import annotations

from collections.abc import Sequence

from neural_gpu_bus.benchmarks.report.svg import Drawing, text_width
from neural_gpu_bus.benchmarks.results import STAGES, WorkloadResult
from neural_gpu_bus.benchmarks.wording import duration

KINDS = dict(zip(STAGES, ("read", "handover", "compute", "store"), strict=True))

NAME_WIDTH, VALUE_WIDTH = 96, 58
ROW, BAR, TITLE, GAP = 22, 17, 22, 12
LABEL_SIZE = 11


def draw(results: Sequence[WorkloadResult], width: float) -> Drawing:
    """All bars have one length; the whole's median stands at the right."""
    height = sum(TITLE + len(result.timings) * ROW + GAP for result in results)
    drawing = Drawing(width, height, "Share of each stage in the time of each way")
    length = width - NAME_WIDTH - VALUE_WIDTH
    y: float = 0
    for result in results:
        drawing.text(0, y + 15, result.title, "group")
        y += TITLE
        for way, timing in result.timings.items():
            drawing.text(NAME_WIDTH - 8, y + 13, way, "name", "end")
            _stack(drawing, timing.stages_s, y, length)
            drawing.text(width, y + 13, duration(timing.median_s), "value", "end")
            y += ROW
        y += GAP
    return drawing


def _stack(drawing: Drawing, stages_s: dict[str, float], y: float, length: float) -> None:
    whole_s = sum(stages_s.values())
    x: float = NAME_WIDTH
    for stage in STAGES:
        share = stages_s.get(stage, 0.0) / whole_s if whole_s else 0.0
        part = share * length
        if part < 0.5:
            continue
        drawing.box((x, y, part - 1, BAR), KINDS[stage], radius=1)
        label = f"{share:.0%}"
        if part > text_width(label, LABEL_SIZE) + 6:
            drawing.text(x + part / 2, y + 12.5, label, f"inside on-{KINDS[stage]}", "middle")
        x += part
