"""What a region holds: nothing that moves between two looks is missed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.accounting import occupancy

SCHEMA_ROWS = 1000


def test_what_is_published_between_two_looks_counts(memory: UnifiedMemory) -> None:
    """It must never count in neither: then another block would be let in."""
    use = memory._use
    reservation = memory._copied({"x": np.arange(SCHEMA_ROWS)}, "shared", "a")
    nbytes = reservation.file.nbytes
    table, index = use.session.processes, use.index
    looks: list[Callable[..., int]] = [table.unnamed_bytes, index.named_bytes]
    done: list[Any] = []

    def looked(place: int) -> Callable[[Any], int]:
        def look(region: Any) -> int:
            found = looks[place](region)
            if not done:
                done.append(memory.publish(reservation))
            return found

        return look

    table.unnamed_bytes = looked(0)  # type: ignore[method-assign]
    index.named_bytes = looked(1)  # type: ignore[method-assign]
    try:
        used = use.occupancy.used_bytes(use.session, "shared")
    finally:
        del table.unnamed_bytes, index.named_bytes

    assert len(done) == 1
    assert used >= nbytes
    assert use.occupancy.used_bytes(use.session, "shared") == nbytes


@pytest.mark.parametrize("end", ["drop", "put", "evict"])
def test_a_block_counts_until_its_file_is_gone(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    use, seen = memory._use, []
    nbytes = memory.put("a", {"x": np.arange(SCHEMA_ROWS)}).nbytes
    memory.put("a", {"x": np.arange(SCHEMA_ROWS)})
    real = use.remove

    def remove(gone: list[BlockDescriptor]) -> None:
        files = sum(path.stat().st_size for path in memory.folder.glob("datasets/*"))
        seen.append((use.occupancy.used_bytes(use.session, "shared") - files, len(gone)))
        real(gone)

    monkeypatch.setattr(use, "remove", remove)
    if end == "drop":
        memory.drop("a")
    elif end == "put":
        memory.put("a", {"x": np.arange(SCHEMA_ROWS)})
    else:
        use.occupancy.make_room(use.session, "shared", use.remove, nbytes)

    # While a publication goes on its own block counts twice.
    assert [extra for extra, _ in seen] == [nbytes if end == "put" else 0]
    assert seen[0][1] >= 1
    monkeypatch.undo()
    left = sum(path.stat().st_size for path in memory.folder.glob("datasets/*"))
    assert use.occupancy.used_bytes(use.session, "shared") == left


def test_a_change_that_fails_counts_nothing_as_leaving(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = memory._use
    for _ in range(2):
        memory.put("a", {"x": np.arange(SCHEMA_ROWS)})
    before = use.occupancy.used_bytes(use.session, "shared")
    reservation = memory._copied({"x": np.arange(SCHEMA_ROWS)}, "shared", "a")

    def refuse(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr("neural_gpu_bus.memory.writing.block_writer._move", refuse)
    with pytest.raises(OSError, match="no"):
        memory.publish(reservation)

    assert use.occupancy.used_bytes(use.session, "shared") == before
    assert memory.get("a").version == 2


def test_a_claim_is_given_back_by_an_error(memory: UnifiedMemory) -> None:
    use = memory._use

    def fail() -> None:
        with use.occupancy.claimed(use.session, "gpu", 5000, use.remove, use.release_kept):
            assert use.session.processes.unnamed_bytes("gpu") == 5000
            raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        fail()
    assert use.session.processes.unnamed_bytes("gpu") == 0


def test_alone_a_full_region_is_told_at_once(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting is for others, who may be half way."""
    waited: list[float] = []
    monkeypatch.setattr(occupancy.time, "sleep", waited.append)
    whole = "whole budget of region 'shared' is 67,108,864"
    with pytest.raises(SharedMemoryFullError, match=whole):
        memory.reserve(pa.schema([("x", pa.int64())]), 1 << 24)

    assert waited == []
    assert memory.statistics().bytes_used == 0
