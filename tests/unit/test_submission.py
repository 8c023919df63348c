"""What a submitted job is, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.descriptors import JobDescriptor, StoreTarget
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.submission import describe_job

FACTORS = {"a": [1.0, 2.0, 4.0], "b": [2.0, 1.0, 0.5]}


def describe(memory: UnifiedMemory, **given: Any) -> JobDescriptor:
    call: dict[str, Any] = {
        "workload": "factor.correlation",
        "params": {"factors": FACTORS},
        "engine": None,
        "job_id": None,
    }
    target = StoreTarget(given.pop("table", None), given.pop("redis_key", None))
    return describe_job(memory, target=target, **(call | given))[0]


@pytest.mark.parametrize(
    ("given", "sentence", "parameter"),
    [
        ({"workload": None}, "workload is None: expected a text", "workload"),
        ({"params": None}, "params is None: expected a mapping", "params"),
        ({"params": []}, r"params is \[\]: expected a mapping", "params"),
        ({"params": {5: 1}}, "a key of params is 5: expected a text", "a key of params"),
        ({"params": {"factors": None}}, "input 'factors' is None", "factors"),
        ({"params": {"factors": 5}}, "columns", "columns"),
        ({"engine": 5}, "engine is 5: expected a text", "engine"),
        ({"engine": "cpuu"}, "there is no engine 'cpuu'", "engine"),
        ({"job_id": 5}, "job_id is 5: expected a text", "job_id"),
        ({"job_id": ""}, "job_id is '': expected a text", "job_id"),
        ({"job_id": "\ud800"}, "surrogates not allowed at character 1", "job_id"),
        ({"table": ""}, "table is '': expected a text", "table"),
        ({"table": 5}, "table is 5: expected a text", "table"),
        ({"table": "a.b.c"}, "table name 'a.b.c' has more than one dot", "table"),
        ({"table": "a" * 100}, "is longer than the 63 bytes that PostgreSQL keeps", "table"),
        ({"redis_key": 5}, "redis_key is 5: expected a text", "redis_key"),
        ({"redis_key": ""}, "redis_key is '': expected a text", "redis_key"),
        ({"redis_key": "ngb:{bus}:jobs"}, "writing it would break the bus", "redis_key"),
    ],
    ids=str,
)
def test_what_cannot_be_a_job_is_refused_at_the_call(
    memory: UnifiedMemory, given: dict[str, Any], sentence: str, parameter: str
) -> None:
    with pytest.raises(BadParameterError, match=sentence) as caught:
        describe(memory, **given)

    assert caught.value.hint
    assert caught.value.parameter == parameter


def test_a_dataset_that_is_not_there_is_named(memory: UnifiedMemory) -> None:
    with pytest.raises(DatasetNotFoundError, match="no dataset 'prices' in memory"):
        describe(memory, params={"factors": "prices"})


def test_the_same_values_are_the_same_job_in_whatever_block(memory: UnifiedMemory) -> None:
    memory.put("factors", FACTORS)
    given: list[Any] = [FACTORS, FACTORS, memory.share(FACTORS), "factors"]
    marks = {describe(memory, job_id="a", params={"factors": form}).fingerprint for form in given}
    marks.add(describe(memory, job_id="b").fingerprint)

    assert len(marks) == 1
    assert len(marks.pop()) == 32


@pytest.mark.parametrize(
    "other",
    [
        {"params": {"factors": {**FACTORS, "b": [2.0, 1.0, np.nextafter(0.5, 1)]}}},
        {"params": {"factors": FACTORS, "columns": ["a"]}},
        {"engine": "cpu"},
        {"table": "t"},
        {"redis_key": "k"},
    ],
    ids=["values", "params", "engine", "table", "redis_key"],
)
def test_any_difference_makes_another_job(memory: UnifiedMemory, other: dict[str, Any]) -> None:
    one, two = describe(memory, job_id="a"), describe(memory, job_id="a", **other)

    assert one.fingerprint != two.fingerprint


def test_ids_of_its_own_are_not_compared(memory: UnifiedMemory) -> None:
    """No other job can have them, so that no input has to be summed."""
    assert describe(memory).fingerprint == ""
