"""The receive buffer: bounded, used again, given back above its limit."""

from __future__ import annotations

import re
import sys
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.errors import BadSettingError, QueryError
from neural_gpu_bus.stores.postgres.reading.exchange import receive_buffer
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import (
    MIB,
    ReceiveBuffer,
    ReceiveBuffers,
)


def test_a_reply_above_the_limit_is_refused_with_a_way_out() -> None:
    buffer = ReceiveBuffer(2 * MIB)
    buffer.stop = 2 * MIB - 10
    assert len(buffer.free()) == 10
    buffer.stop += 10

    with pytest.raises(QueryError, match=r"larger than 2 MiB\nhint: read fewer columns or rows"):
        buffer.free()


def test_cutting_out_moves_up_what_follows() -> None:
    buffer = ReceiveBuffer(MIB)
    buffer.view[:6] = b"abcdef"
    buffer.stop = 6

    buffer.cut_out(1, 2)

    assert bytes(buffer.view[: buffer.stop]) == b"adef"


def test_the_same_buffer_is_lent_again_and_empty() -> None:
    buffers = ReceiveBuffers(MIB)
    with buffers.lend() as first:
        first.stop = 100
    with buffers.lend() as second, buffers.lend() as other:
        assert second is first
        assert other is not first
        assert second.stop == 0


def test_memory_above_what_is_kept_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_buffer, "KEPT_BYTES_MAX", 2 * MIB)
    buffer = ReceiveBuffer(4 * MIB)
    buffer.bytes[:] = 7
    buffer.stop = 4 * MIB

    buffer.clear(2 * MIB)

    assert set(buffer.bytes[: 2 * MIB]) == {7}
    assert set(buffer.bytes[2 * MIB :]) == {0}


def test_more_addresses_than_there_are_is_a_bad_setting() -> None:
    with pytest.raises(BadSettingError, match="no room for a receive buffer"):
        ReceiveBuffer(1 << 62)


def test_several_buffers_share_one_limit() -> None:
    buffers = ReceiveBuffers(4 * MIB)
    received = 0
    with buffers.lend_several(3) as lent:
        places = cycle(lent)
        while received < 4 * MIB:
            buffer = next(places)
            free = len(buffer.free())
            buffer.stop += free
            received += free
        with pytest.raises(QueryError, match="larger than 4 MiB"):
            next(places).free()

    assert received == 4 * MIB
    with buffers.lend() as alone:
        alone.stop = 4 * MIB - 10
        assert len(alone.free()) == 10


def test_what_is_kept_of_several_stays_within_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_buffer, "KEPT_BYTES_MAX", 2 * MIB)
    buffers = ReceiveBuffers(4 * MIB)
    with buffers.lend_several(3) as lent:
        for buffer in lent:
            buffer.bytes[: MIB + 4096] = 7
            buffer.stop = MIB + 4096

    assert sum(int(np.count_nonzero(buffer.bytes)) for buffer in lent) == 2 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_addresses_alone_are_not_counted_as_memory() -> None:
    """A process with several buffers could not fork: each counted with all its addresses."""
    buffer = ReceiveBuffer(1 << 32)
    place = buffer.bytes.ctypes.data
    maps = Path("/proc/self/smaps").read_text().split("VmFlags:")
    flags = {}
    for before, after in pairwise(maps):
        for span in re.findall(r"(?m)^([0-9a-f]+)-([0-9a-f]+) ", before):
            flags[int(span[0], 16), int(span[1], 16)] = after.split("\n", 1)[0].split()

    [found] = [value for (start, stop), value in flags.items() if start <= place < stop]
    assert "nr" in found
