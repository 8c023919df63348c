"""What a demo found, as one record: ``results.json`` is it, the table and the page only show it."""

from __future__ import annotations

import msgspec

from neural_gpu_bus.benchmarks.machine import Machine
from neural_gpu_bus.benchmarks.measure import Timing

#: The ways, in the order in which they are shown.
TRADITIONAL, LIBRARY, COLD, RESIDENT = "traditional", "library", "direct cold", "direct resident"
WAYS = (TRADITIONAL, LIBRARY, COLD, RESIDENT)

#: Stages in the order of the data's way, and what each holds.
STAGES = {
    "read": "from PostgreSQL into columns",
    "hand over": "the job through the bus, and back",
    "compute": "the workload itself",
    "store": "into PostgreSQL (committed) and Redis; direct: the result block too",
}


class WorkloadResult(msgspec.Struct, frozen=True):
    """One workload, measured every way."""

    workload: str
    title: str
    #: One sentence: what is read, what is computed, what is stored.
    question: str
    input_rows: int
    result_rows: int
    #: Way to its times.
    timings: dict[str, Timing]
    #: Engine, library and device that ran the direct way, and why.
    engine: str
    reason: str

    def times_faster(self, way: str, than: str) -> float:
        """Ratio of medians: 2.0 means ``way`` takes half the time of ``than``."""
        return self.timings[than].median_s / self.timings[way].median_s


class Series(msgspec.Struct, frozen=True):
    """Lines over one horizontal axis, thinned for drawing; None where there is no value."""

    title: str
    #: Nanoseconds since 1970 UTC.
    ts_ns: list[int]
    lines: dict[str, list[float | None]]


class DemoResults(msgspec.Struct, frozen=True):
    """Everything that one demo run says."""

    #: ISO 8601, UTC.
    measured_at: str
    machine: Machine
    versions: dict[str, str]
    #: Server to its version.
    servers: dict[str, str]
    seed: int
    repeats: int
    #: Sentences: where the data comes from, under which licence, what is made up.
    data_notes: list[str]
    workloads: list[WorkloadResult]
    #: Workload to the sentence that says why it did not run.
    skipped: dict[str, str]
    pictures: list[Series]
    #: Servers that are not on a local socket, so that a network is in the figures.
    over_network: list[str]

    def to_json(self) -> bytes:
        """Readable JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def from_json(data: bytes) -> DemoResults:
    """Read ``results.json`` back; msgspec.ValidationError names the field that does not fit."""
    return msgspec.json.decode(data, type=DemoResults)
