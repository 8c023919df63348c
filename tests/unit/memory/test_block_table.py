"""The record of a block: its layout, and what publishing and finding write into it."""

from __future__ import annotations

import numpy as np
import pytest

from neural_gpu_bus.memory.catalog.block_table import (
    BLOCK_RECORD,
    BLOCK_RECORD_BYTES,
    REGION_CODES,
    insert,
    touch,
    touch_one,
)
from neural_gpu_bus.memory.files.folder import uuid_head


def test_the_layout_is_the_documented_one() -> None:
    """Processes of two versions may map the same file: what is where never changes silently."""
    offsets = {name: BLOCK_RECORD.fields[name][1] for name in BLOCK_RECORD.names or ()}

    assert BLOCK_RECORD_BYTES == 64
    assert offsets == {
        "uuid": 0,
        "nbytes": 8,
        "reload_ns": 16,
        "created_ns": 24,
        "used_ns": 32,
        "hits": 40,
        "sequence": 48,
        "region": 56,
        "pinned": 57,
        "visited": 58,
        "spare": 59,
        "inflation": 60,
    }


def test_insert_leaves_nothing_of_the_record_before() -> None:
    records = np.frombuffer(bytearray(b"\xff" * 128), BLOCK_RECORD).copy()

    insert(records, 1, uuid=7, nbytes=8, reload_ns=9, sequence=10, now_ns=11, region="gpu", hits=3)

    assert records[1].tolist() == (7, 8, 9, 11, 11, 3, 10, REGION_CODES["gpu"], 0, 0, 0, np.inf)
    assert records[0].tobytes() == b"\xff" * 64


def test_touch_counts_and_marks() -> None:
    records = np.zeros(3, BLOCK_RECORD)

    touch(records, 1, 100)
    touch(records, 1, 90, 4)

    assert records["hits"].tolist() == [0, 5, 0]
    assert records["used_ns"].tolist() == [0, 100, 0]  # a late batch never makes it older
    assert records["visited"].tolist() == [0, 1, 0]


def test_touch_takes_a_batch() -> None:
    records = np.zeros(3, BLOCK_RECORD)

    touch(records, np.array([2, 0]), np.array([7, 8]), np.array([5, 6], np.uint64))

    assert records["hits"].tolist() == [6, 0, 5]
    assert records["used_ns"].tolist() == [8, 0, 7]


@pytest.mark.parametrize("uuid", ["f" * 32, "0" * 15 + "1" + "f" * 16])
def test_a_uuids_head_is_its_first_half(uuid: str) -> None:
    assert f"{uuid_head(uuid):016x}" == uuid[:16]


def test_one_record_is_touched_in_bytes_as_in_numpy() -> None:
    by_numpy = np.zeros(3, BLOCK_RECORD)
    by_numpy["uuid"], by_numpy["used_ns"], by_numpy["pinned"], by_numpy["region"] = 7, 100, 1, 2
    in_bytes = by_numpy.copy()
    for now_ns, hits in ((90, 1), (200, 5)):
        touch(by_numpy, 1, now_ns, hits)
        touch_one(memoryview(in_bytes).cast("B"), 1, now_ns, hits)

    assert in_bytes.tobytes() == by_numpy.tobytes()
    assert in_bytes["hits"].tolist() == [0, 6, 0]
