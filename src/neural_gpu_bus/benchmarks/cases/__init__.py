"""Single steps: reading, the newest bars, writing, memory, jobs, Redis. One file a step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from neural_gpu_bus.benchmarks.case import CaseMaker
from neural_gpu_bus.benchmarks.cases import jobs, memory, reading, redis_columns, writing

CASES: Mapping[str, CaseMaker] = MappingProxyType(
    {
        "read": reading.whole_table,
        "last-bars": reading.last_bars,
        "write": writing.bulk_write,
        "put": memory.put,
        "get": memory.get,
        "job": jobs.round_trip,
        "redis": redis_columns.write_and_read,
    }
)
