"""A sealed block is immutable, whoever kept an array of it from before, here or in a child."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from neural_gpu_bus.memory import UnifiedMemory

ONE = pa.schema([("x", pa.float64())])
ROWS = 100_000  # large enough for its pages to be used again


def test_an_array_that_was_kept_changes_nothing_after_seal(memory: UnifiedMemory) -> None:
    reservation = memory.reserve(ONE, ROWS, name="a")
    kept = reservation.values("x")[:]
    kept[:] = 1
    frame = reservation.seal()
    kept[:] = 666

    assert set(frame["x"]) == {1}
    assert set(memory.get("a")["x"]) == {1}
    assert set(kept) == {666}  # its own pages now, and no signal
    memory.drop("a")
    memory.put("b", {"x": np.full(ROWS, 2.0)})
    assert set(kept) == {666}


def test_a_child_that_inherited_an_open_reservation_writes_to_pages_of_its_own(
    memory: UnifiedMemory,
) -> None:
    reservation = memory.reserve(ONE, ROWS, name="a")
    reservation.values("x")[:] = 1
    array = reservation.values("x")
    seen, tell = os.pipe()
    go, say_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(go, 1)
            before = set(array.tolist())
            array[:] = 666
            os.write(tell, b"1" if before == {1.0} else b"0")
        finally:
            os._exit(0)
    del array
    frame = reservation.seal()
    del frame
    memory.drop("a")
    published = memory.put("b", {"x": np.full(ROWS, 2.0)})
    os.write(say_go, b"1")

    assert os.read(seen, 1) == b"1"
    os.waitpid(pid, 0)
    assert set(published["x"]) == {2}
