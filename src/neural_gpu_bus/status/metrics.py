"""Statistics of the unified memory, and of a process's connections, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from psutil import STATUS_STOPPED

from neural_gpu_bus.descriptors import (
    DatasetFacts,
    MemoryStatistics,
    PoolStatistics,
    ProcessStatistics,
    RegionStatistics,
)
from neural_gpu_bus.errors import NeuralGpuBusError

Look = Callable[[], tuple[MemoryStatistics, Sequence[DatasetFacts]]]
#: Connections of this process; None where it has none to PostgreSQL.
LookAtPool = Callable[[], PoolStatistics | None]
Family = GaugeMetricFamily | CounterMetricFamily

PREFIX = "ngb_memory_"
POOL_PREFIX = "ngb_postgres_"
NS = 1e-9

#: Name, what it is, field, and what turns the field's unit into the name's. Names of counters get
#: ``_total`` from the library.
_Row = tuple[str, str, str, float]
TOTAL_GAUGES: tuple[_Row, ...] = (
    ("total_budget_bytes", "Budget of all regions together.", "bytes_max", 1),
    ("total_used_bytes", "Bytes in use in all regions together.", "bytes_used", 1),
    ("host_free_bytes", "Free bytes of the file system below.", "bytes_free_host", 1),
    ("series_bytes", "Bytes of growing columns.", "series_bytes", 1),
    ("blocks", "Blocks, all versions and those without a name.", "blocks", 1),
)
REGION_GAUGES: tuple[_Row, ...] = (
    ("budget_bytes", "Budget of a region.", "bytes_max", 1),
    ("used_bytes", "Bytes in use in a region.", "bytes_used", 1),
    ("datasets", "Names with a block in a region.", "datasets", 1),
)
REGION_COUNTERS: tuple[_Row, ...] = (
    ("hits", "Finds of a dataset in memory.", "hits", 1),
    ("misses", "Looks for a dataset that was not there.", "misses", 1),
    ("evictions", "Blocks that had to make room.", "evictions", 1),
    ("evicted_bytes", "Bytes of blocks that had to make room.", "evicted_bytes", 1),
    ("saved_seconds", "What making found datasets again would have taken.", "saved_ns", NS),
)
PROCESS_GAUGES: tuple[_Row, ...] = (
    ("process_mapped_blocks", "Blocks that a process has mapped.", "mapped_blocks", 1),
    ("process_mapped_bytes", "Bytes that a process has mapped.", "mapped_bytes", 1),
    ("process_gone_bytes", "Of those, dropped, replaced or evicted.", "gone_bytes", 1),
    (
        "process_gone_since_timestamp_seconds",
        "When a process mapped the oldest of what is gone; 0 for none or not known.",
        "gone_since_ns",
        NS,
    ),
    ("process_unnamed_bytes", "A process's own blocks without a name.", "unnamed_bytes", 1),
)
PROCESS_COUNTERS: tuple[_Row, ...] = (
    ("process_hits", "Finds of a dataset by a process.", "hits", 1),
    ("process_misses", "Looks of a process for a dataset that was not there.", "misses", 1),
)
POOL_GAUGES: tuple[_Row, ...] = (
    ("connections_limit", "Connections that this process may have.", "connections_max", 1),
    ("connections_lent", "Connections in use.", "lent", 1),
    ("connections_idle", "Connections kept for the next.", "idle", 1),
    ("connections_waiting", "Threads that wait for one.", "waiting", 1),
    ("connections_wait_longest_seconds", "Longest wait for one.", "wait_longest_s", 1),
)
POOL_COUNTERS: tuple[_Row, ...] = (
    ("connections_opened", "Connections opened.", "opened", 1),
    ("connections_waits", "Waits for a connection.", "waits", 1),
    ("connections_wait_seconds", "Time spent waiting for one.", "wait_total_s", 1),
    ("connections_closed_broken", "Closed because they broke or a statement failed.",
     "closed_broken", 1),
    ("connections_closed_idle", "Closed because nobody used them.", "closed_idle", 1),
    ("connections_closed_old", "Closed because they were old.", "closed_old", 1),
    ("reads_retried", "Reads begun again on a new connection.", "retried", 1),
    ("statements_cancelled", "Statements that were cancelled.", "cancelled", 1),
)  # fmt: skip


def metrics_registry(look: Look, look_at_pool: LookAtPool | None = None) -> CollectorRegistry:
    """A registry that looks whenever it is read: at the memory, and where given at this process's
    connections, as ``plane.database.statistics`` tells them.
    """
    registry = CollectorRegistry()
    registry.register(_MemoryCollector(look))
    if look_at_pool is not None:
        registry.register(_PoolCollector(look_at_pool))
    return registry


def metrics_text(look: Look, look_at_pool: LookAtPool | None = None) -> str:
    """All metrics once, in Prometheus' text format."""
    return generate_latest(metrics_registry(look, look_at_pool)).decode()


class _PoolCollector(Collector):
    def __init__(self, look: LookAtPool) -> None:
        self._look = look

    def describe(self) -> Iterable[Any]:
        """Nothing beforehand, as of the memory."""
        return ()

    def collect(self) -> Iterator[Family]:
        found = self._look()
        if found is not None:
            one = {"": found}
            yield from _families(GaugeMetricFamily, POOL_GAUGES, one, prefix=POOL_PREFIX)
            yield from _families(CounterMetricFamily, POOL_COUNTERS, one, prefix=POOL_PREFIX)


class _MemoryCollector(Collector):
    def __init__(self, look: Look) -> None:
        self._look = look

    def describe(self) -> Iterable[Any]:
        """Nothing beforehand: registering must not look."""
        return ()

    def collect(self) -> Iterator[Family]:
        up = GaugeMetricFamily(f"{PREFIX}up", "1 where the memory could be looked at.")
        try:
            statistics, datasets = self._look()
        except NeuralGpuBusError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _families(GaugeMetricFamily, TOTAL_GAUGES, {"": statistics})
        yield from _of_regions(statistics.regions)
        yield from _of_engines(statistics.engine_uses)
        yield from _of_datasets(datasets)
        yield from _of_processes(statistics.processes)


def _families(
    kind: type[Family],
    rows: Sequence[_Row],
    sources: Mapping[str, Any],
    label: str = "",
    prefix: str = PREFIX,
) -> Iterator[Family]:
    """One family a row, in it one value a source."""
    for name, text, field, factor in rows:
        family = kind(prefix + name, text, labels=[label] if label else [])
        for value, source in sources.items():
            family.add_metric([value] if label else [], getattr(source, field) * factor)
        yield family


def _of_regions(regions: Sequence[RegionStatistics]) -> Iterator[Family]:
    by_name = {str(region.name): region for region in regions}
    yield from _families(GaugeMetricFamily, REGION_GAUGES, by_name, "region")
    yield from _families(CounterMetricFamily, REGION_COUNTERS, by_name, "region")


def _of_engines(uses: dict[str, int]) -> Iterator[Family]:
    family = CounterMetricFamily(
        f"{PREFIX}engine_uses", "Uses of blocks by jobs.", labels=["engine"]
    )
    for engine, count in uses.items():
        family.add_metric([engine], count)
    yield family


def _of_datasets(datasets: Sequence[DatasetFacts]) -> Iterator[Family]:
    """The extremes alone: a name for each of 100,000 datasets would drown whoever reads."""
    largest = GaugeMetricFamily(f"{PREFIX}dataset_largest_bytes", "Size of the biggest dataset.")
    oldest = GaugeMetricFamily(
        f"{PREFIX}dataset_oldest_timestamp_seconds", "When the oldest dataset was made."
    )
    if datasets:
        largest.add_metric([], max(one.nbytes for one in datasets))
        oldest.add_metric([], min(one.created_ns for one in datasets) * NS)
    yield largest
    yield oldest


def _of_processes(processes: Sequence[ProcessStatistics]) -> Iterator[Family]:
    by_pid = {str(process.pid): process for process in processes}
    yield from _families(GaugeMetricFamily, PROCESS_GAUGES, by_pid, "pid")
    yield from _families(CounterMetricFamily, PROCESS_COUNTERS, by_pid, "pid")
    stopped = GaugeMetricFamily(
        f"{PREFIX}process_stopped", "1 for a process that SIGSTOP or Ctrl-Z holds.", labels=["pid"]
    )
    for pid, process in by_pid.items():
        stopped.add_metric([pid], process.state == STATUS_STOPPED)
    yield stopped
