"""A made-up result of a demo, for tests of what shows it."""

from __future__ import annotations

import math

from neural_gpu_bus.benchmarks.machine import Machine
from neural_gpu_bus.benchmarks.measure import Timing
from neural_gpu_bus.benchmarks.results import WAYS, DemoResults, Series, WorkloadResult

#: Workload -> title, medians of the four ways in seconds.
MEDIANS = {
    "risk.portfolio": ("Portfolio risk", (0.71, 0.118, 0.044, 0.0061)),
    "factor.correlation": ("Factor correlation", (0.0142, 0.0061, 0.0038, 0.0024)),
    "indicators.technical": ("Technical indicators", (0.63, 0.041, 0.021, 0.0174)),
    "vpin.trades": ("VPIN from trades", (1.84, 0.342, 0.162, 0.0072)),
    "vpin.bars": ("VPIN from bars", (0.0312, 0.0102, 0.0051, 0.0033)),
    "patterns.shape": ("Shape patterns", (0.88, 0.094, 0.041, 0.036)),
}
START_NS = 1_378_220_400_000_000_000


def timing(median_s: float, *, resident: bool) -> Timing:
    shares = {"read": 0.0 if resident else 0.5, "hand over": 0.1, "compute": 0.15, "store": 0.25}
    return Timing(
        median_s=median_s,
        min_s=median_s * 0.9,
        lower_quartile_s=median_s * 0.95,
        upper_quartile_s=median_s * 1.1,
        repeats=5,
        stages_s={name: share * median_s for name, share in shares.items() if share},
    )


def series(title: str, lines: dict[str, float], rows: int = 300) -> Series:
    return Series(
        title=title,
        ts_ns=[START_NS + row * 1_000_000_000 for row in range(rows)],
        lines={
            name: [None if row < 20 else level + math.sin(row / 9) for row in range(rows)]
            for name, level in lines.items()
        },
    )


def sample_results(note: str = "Trades: 500,000 real trades.") -> DemoResults:
    workloads = [
        WorkloadResult(
            workload=workload,
            title=title,
            question="One sentence.",
            input_rows=166_260,
            result_rows=9_969,
            timings={
                way: timing(median_s, resident=way == WAYS[3])
                for way, median_s in zip(WAYS, medians, strict=True)
            },
            engine="cpu (numba)",
            reason="the only engine here that has it",
        )
        for workload, (title, medians) in MEDIANS.items()
    ]
    bands = {"upper band": 1642.0, "moving average": 1640.0, "lower band": 1638.0}
    return DemoResults(
        measured_at="2026-11-22T12:00:00+00:00",
        machine=Machine("Example 9000 Processor", 2, 24 << 30, "Linux 6.1.0", "CPython 3.11.2"),
        versions={"numpy": "2.4.6", "adbc-driver-postgresql": "1.13.0"},
        servers={"PostgreSQL": "18.4", "Valkey": "9.1.2"},
        seed=7,
        repeats=5,
        data_notes=[note],
        workloads=workloads,
        skipped={},
        pictures=[
            series("indicators", bands),
            series("rsi", {"RSI": 50.0}),
            series("vpin.trades", {"VPIN": 0.3}),
            series("vpin.bars", {"VPIN": 0.5}),
        ],
        over_network=[],
    )
