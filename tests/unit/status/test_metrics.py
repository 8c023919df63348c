"""Prometheus can read what we say, and it is what the statistics say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from neural_gpu_bus.descriptors import PoolStatistics
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.status.metrics import metrics_registry, metrics_text
from sample_memory import GIB, MIB, NOW_NS, empty_memory, sample_datasets, sample_memory

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def samples() -> Samples:
    """Name and values of the labels -> value."""
    return parsed(metrics_text(lambda: (sample_memory(), sample_datasets())))


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_regions(samples: Samples) -> None:
    assert samples["ngb_memory_budget_bytes", ("neural",)] == 4 * GIB
    assert samples["ngb_memory_used_bytes", ("shared",)] == int(3.95 * GIB)
    assert samples["ngb_memory_hits_total", ("shared",)] == 123_456
    assert samples["ngb_memory_misses_total", ("neural",)] == 100
    assert samples["ngb_memory_evictions_total", ("gpu",)] == 0
    assert samples["ngb_memory_evicted_bytes_total", ("shared",)] == 80 * GIB
    assert samples["ngb_memory_saved_seconds_total", ("neural",)] == pytest.approx(95)


def test_all_together(samples: Samples) -> None:
    assert samples["ngb_memory_up", ()] == 1
    assert samples["ngb_memory_total_budget_bytes", ()] == 16 * GIB
    assert samples["ngb_memory_series_bytes", ()] == 410 * MIB
    assert samples["ngb_memory_engine_uses_total", ("cpu",)] == 1234
    assert samples["ngb_memory_dataset_largest_bytes", ()] == 14 * 37 * MIB
    oldest_s = NOW_NS / 1e9 - 14 * 3600
    assert samples["ngb_memory_dataset_oldest_timestamp_seconds", ()] == pytest.approx(oldest_s)


def test_processes(samples: Samples) -> None:
    assert samples["ngb_memory_process_gone_bytes", ("4321",)] == 740 * MIB
    assert samples["ngb_memory_process_stopped", ("4321",)] == 1
    assert samples["ngb_memory_process_stopped", ("4001",)] == 0
    since_s = NOW_NS / 1e9 - 5400
    name = "ngb_memory_process_gone_since_timestamp_seconds"
    assert samples[name, ("4321",)] == pytest.approx(since_s)


def test_every_metric_has_a_kind_and_a_sentence() -> None:
    text = metrics_text(lambda: (sample_memory(), sample_datasets()))

    for family in text_string_to_metric_families(text):
        assert family.type in {"gauge", "counter"}, family.name
        assert family.documentation.endswith("."), family.name
        assert family.samples, family.name


def test_an_empty_memory_has_no_datasets_to_speak_of() -> None:
    samples = parsed(metrics_text(lambda: (empty_memory(), ())))

    assert ("ngb_memory_dataset_largest_bytes", ()) not in samples
    assert samples["ngb_memory_hits_total", ("neural",)] == 0


def test_a_memory_that_cannot_be_looked_at_is_down() -> None:
    def look() -> Any:
        raise HostError("no")

    assert parsed(metrics_text(look)) == {("ngb_memory_up", ()): 0}


def test_making_the_registry_does_not_look() -> None:
    looked = []

    def look() -> Any:
        looked.append(1)
        return sample_memory(), sample_datasets()

    registry = metrics_registry(look)

    assert not looked
    assert list(registry.collect())
    assert looked


def test_the_page_names_every_metric() -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "watch-memory.md"
    text = metrics_text(lambda: (sample_memory(), sample_datasets()))
    told = set(re.findall(r"`(?:ngb_memory|…)_(\w+)`", page.read_text()))
    samples = {
        sample.name.removeprefix("ngb_memory_")
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    missing = {name for name in samples if not {name, name.removeprefix("process_")} & told}

    assert missing == set()


def test_connections_of_this_process() -> None:
    pool = PoolStatistics(4, lent=3, idle=1, waits=2, wait_total_s=0.5, cancelled=7)
    text = metrics_text(lambda: (empty_memory(), ()), lambda: pool)
    found = parsed(text)

    assert found["ngb_postgres_connections_limit", ()] == 4
    assert found["ngb_postgres_connections_lent", ()] == 3
    assert found["ngb_postgres_connections_wait_seconds_total", ()] == 0.5
    assert found["ngb_postgres_statements_cancelled_total", ()] == 7
    assert "ngb_postgres" not in metrics_text(lambda: (empty_memory(), ()), lambda: None)
