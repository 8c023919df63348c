"""Errors arrive in another process as what they were."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.error_records import from_record, to_record
from neural_gpu_bus.errors import BadValueError, DiskFullError, JobFailedError, NeuralGpuBusError

FORMATS = [
    (msgspec.msgpack.encode, msgspec.msgpack.decode),
    (msgspec.json.encode, msgspec.json.decode),
]


def _sent(record: ErrorRecord, by: Any) -> ErrorRecord:
    encode, decode = by
    return decode(encode(record), type=ErrorRecord)


@pytest.mark.parametrize("by", FORMATS, ids=["msgpack", "json"])
@pytest.mark.parametrize(
    ("fact", "arrives"),
    [
        (None, None),
        (True, True),
        ("/x", "/x"),
        (3, 3),
        (np.int32(3), 3),
        (np.float64(0.5), 0.5),
        (["a", "b"], ["a", "b"]),
        ((1, 2), ["1", "2"]),
        (1 << 64, "18446744073709551616"),
        (ValueError("why"), "why"),
    ],
    ids=repr,
)
def test_errors_arrive_with_their_facts(by: Any, fact: Any, arrives: Any) -> None:
    sent = DiskFullError("no room", hint="make some", folder=fact)

    error = from_record(_sent(to_record(sent), by))

    assert type(error) is DiskFullError
    assert (error.what, error.hint) == ("no room", "make some")
    assert type(error.folder) is type(arrives)
    assert error.folder == arrives


def test_facts_known_only_here_are_added() -> None:
    record = to_record(BadValueError("no", column="close", row=3, job_id="other"))

    assert from_record(record, job_id="a").facts == {"column": "close", "row": 3, "job_id": "a"}


@pytest.mark.parametrize("kind", ["NotInventedYetError", "ValueError", "annotations", ""])
def test_an_unknown_name_is_still_one_of_ours(kind: str) -> None:
    record = ErrorRecord(kind, "what", "hint")

    assert type(from_record(record)) is NeuralGpuBusError
    assert type(from_record(record, unknown=JobFailedError)) is JobFailedError
