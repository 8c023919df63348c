"""What ``ngb bench postgres`` found: answers of the same shape as the memory's."""

from __future__ import annotations

import msgspec

from neural_gpu_bus.benchmarks.machine import Machine
from neural_gpu_bus.benchmarks.memory.answers import Answer


class PostgresResults(msgspec.Struct, frozen=True):
    """All questions of one run."""

    measured_at: str
    machine: Machine
    versions: dict[str, str]
    quick: bool
    answers: list[Answer]

    def to_json(self) -> bytes:
        """Readable JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)
