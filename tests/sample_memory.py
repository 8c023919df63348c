"""Statistics as a busy memory has them, for the tests of what is shown."""

from __future__ import annotations

from typing import Any

import msgspec

from neural_gpu_bus.descriptors import (
    ColumnDescriptor,
    DatasetFacts,
    MemoryStatistics,
    ProcessStatistics,
    Region,
    RegionStatistics,
)

MIB, GIB = 1 << 20, 1 << 30
SECOND = 1_000_000_000
NOW_NS = 1_795_000_000 * SECOND


def region(name: Region, used: float, budget: float, **counts: int) -> RegionStatistics:
    """Sizes in GiB."""
    return RegionStatistics(
        name, bytes_max=int(budget * GIB), bytes_used=int(used * GIB), datasets=12, **counts
    )


def process(pid: int, command: str, state: str, **more: int) -> ProcessStatistics:
    values: dict[str, Any] = {
        "started_ns": NOW_NS - 7200 * SECOND,
        "hits": 120_345,
        "misses": 12,
        "mapped_blocks": 8,
        "mapped_bytes": 640 * MIB,
        "gone_bytes": 0,
        "gone_since_ns": 0,
        "unnamed_bytes": 3 * MIB,
    }
    return ProcessStatistics(pid=pid, command=command, state=state, **(values | more))


def dataset(place: int, **more: Any) -> DatasetFacts:
    values: dict[str, Any] = {
        "name": f"bars/ES.XCME/1-MINUTE-LAST/{2000 + place}",
        "version": place,
        "region": "shared",
        "rows": 1_234_567 * place,
        "nbytes": 37 * MIB * place,
        "columns": (ColumnDescriptor("close", "double"),) * 7,
        "created_ns": NOW_NS - 3600 * place * SECOND,
        "used_ns": NOW_NS - 3 * place * SECOND,
        "hits": 1000 * place,
        "reload_ns": 40_000_000 * place,
        "pinned": place == 2,
        "pids": (4001, 4321)[: place % 3],
    }
    return DatasetFacts(**(values | more))


def sample_datasets(count: int = 14) -> list[DatasetFacts]:
    return [dataset(place) for place in range(1, count + 1)]


def sample_memory() -> MemoryStatistics:
    """Three regions, a busy worker, a stopped reader that holds gone blocks, a foreign one."""
    return MemoryStatistics(
        folder="/dev/shm/ngb-1000-260afc2703",
        bytes_max=16 * GIB,
        bytes_used=int(9.3 * GIB),
        bytes_free_host=21 * GIB,
        datasets=42,
        blocks=57,
        series_bytes=410 * MIB,
        policy="gdsf",
        regions=(
            region(
                "neural",
                3.1,
                4,
                hits=900,
                misses=100,
                evictions=3,
                evicted_bytes=2 * GIB,
                saved_ns=95 * SECOND,
            ),
            region("gpu", 0.004, 8),
            region(
                "shared",
                3.95,
                4,
                hits=123_456,
                misses=4,
                evictions=1234,
                evicted_bytes=80 * GIB,
                saved_ns=9000 * SECOND,
            ),
        ),
        engine_uses={"cpu": 1234, "gpu": 0, "neural": 56},
        processes=(
            process(4001, "python -m neural_gpu_bus worker --kept", "sleeping"),
            process(
                4321,
                "python notebooks/explore_the_whole_of_2024_again.py --fast",
                "stopped",
                gone_bytes=740 * MIB,
                mapped_bytes=1200 * MIB,
                gone_since_ns=NOW_NS - 5400 * SECOND,
            ),
            process(
                98765,
                "polars-reader",
                "running",
                hits=0,
                misses=0,
                unnamed_bytes=0,
                gone_bytes=MIB,
                gone_since_ns=0,
            ),
        ),
    )


def empty_memory() -> MemoryStatistics:
    """Nothing was ever put there."""
    return msgspec.structs.replace(
        sample_memory(),
        bytes_used=0,
        datasets=0,
        blocks=0,
        series_bytes=0,
        processes=(),
        engine_uses={},
        regions=(region("neural", 0, 4), region("gpu", 0, 8)),
    )
