"""Single steps: reading, the newest bars, writing, memory, jobs, Redis. One file a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from neural_gpu_bus.benchmarks.case import CaseMaker
from neural_gpu_bus.benchmarks.cases import jobs, memory, reading, redis_columns, writing
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError

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


def chosen(names: Sequence[str]) -> Mapping[str, CaseMaker]:
    """The cases of these names, all for none; BadParameterError names the nearest."""
    for name in names:
        if name not in CASES:
            raise BadParameterError(
                f"there is no case {name!r}; there are {', '.join(CASES)}",
                hint=did_you_mean(name, CASES, "use one of these"),
                parameter="only",
            )
    return {name: maker for name, maker in CASES.items() if not names or name in names}
