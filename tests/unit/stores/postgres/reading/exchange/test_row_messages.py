"""Walking DataRow messages: whole ones, so many, and what stands between."""

from __future__ import annotations

import numpy as np
import pytest

from neural_gpu_bus.stores.postgres.reading.exchange.row_messages import (
    ENOUGH,
    MORE,
    OTHER_MESSAGE,
    walk_rows,
)
from neural_gpu_bus.stores.postgres.wire.messages import command_complete, data_row

ROWS = [data_row(b"\0\0"), data_row(b"\0\1" + b"x" * 50), data_row(b"")]
STREAM = b"".join(ROWS)
ENDS = [0, len(ROWS[0]), len(ROWS[0]) + len(ROWS[1]), len(STREAM)]
MANY = 1 << 40


def walk(stream: bytes, rows_max: int = MANY, bytes_max: int = MANY) -> tuple[int, int, int]:
    found: tuple[int, int, int] = walk_rows(
        np.frombuffer(stream, np.uint8).copy(), 0, len(stream), rows_max, bytes_max
    )
    return found


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_only_whole_messages_are_walked(cut: int) -> None:
    rows = max(number for number, end in enumerate(ENDS) if end <= cut)

    assert walk(STREAM[:cut]) == (ENDS[rows], rows, MORE)


def test_it_stops_at_so_many_rows_and_behind_so_many_bytes() -> None:
    assert walk(STREAM, rows_max=2) == (ENDS[2], 2, ENOUGH)
    assert walk(STREAM, rows_max=0) == (0, 0, ENOUGH)
    assert walk(STREAM, bytes_max=1) == (ENDS[1], 1, ENOUGH)
    assert walk(STREAM, bytes_max=ENDS[1] + 1) == (ENDS[2], 2, ENOUGH)


def test_another_message_and_a_length_that_is_none_stop_it() -> None:
    assert walk(STREAM + command_complete(b"SELECT 3")) == (ENDS[3], 3, OTHER_MESSAGE)
    assert walk(ROWS[0] + b"D\0\0\0\3") == (ENDS[1], 1, OTHER_MESSAGE)
    assert walk(b"D\xff\xff\xff\xff") == (0, 0, OTHER_MESSAGE)
