"""Reading ahead changes nothing but the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadFileError
from neural_gpu_bus.stores.postgres.loading.read_ahead import read_ahead

BATCHES = [pa.record_batch({"a": [number]}) for number in range(20)]


def test_gives_the_same_batches_in_order() -> None:
    assert list(read_ahead(iter(BATCHES))) == BATCHES


def test_an_error_comes_out_after_the_batches_before_it() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield BATCHES[0]
        raise BadFileError("cut", file="x")

    batches = read_ahead(broken())

    assert next(batches) == BATCHES[0]
    with pytest.raises(BadFileError, match="cut"):
        next(batches)


def test_closing_ends_the_reading_thread() -> None:
    read = []

    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            read.append(threading.current_thread())
            yield BATCHES[0]

    batches = read_ahead(endless())
    next(batches)
    batches.close()

    assert not read[0].is_alive()
