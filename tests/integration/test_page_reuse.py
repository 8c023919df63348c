"""Pages are used again only if nobody can see them: no view ever changes."""

import gc
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import memory_workers as workers
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.files import page_reuse

BYTES_MAX = 256 << 20
ROWS = 100_000
SCHEMA = pa.schema([("x", pa.int64()), ("y", pa.float64())])
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS has no leases")


@pytest.fixture(scope="module")
def any_start() -> Iterator[workers.Start]:
    with workers.starting() as start:
        yield start


@pytest.fixture
def other(memory: UnifiedMemory, any_start: workers.Start) -> Iterator[workers.Remote]:
    worker = any_start(memory.folder, BYTES_MAX)
    yield worker
    worker.kill()


def reused_bytes(memory: UnifiedMemory) -> int:
    return memory._use.session.counters.reused_bytes


def unnamed_bytes(memory: UnifiedMemory) -> int:
    return sum(process.unnamed_bytes for process in memory.statistics().processes)


def put(memory: UnifiedMemory, name: str, value: int, rows: int = ROWS) -> None:
    """Nothing is held afterwards, but for speed."""
    memory.put(name, workers.uniform(value, rows))


def drop_and_fill(memory: UnifiedMemory, *names: str) -> None:
    """Whatever can be used again is, several times."""
    for name in names:
        memory.drop(name)
    for turn in range(3):
        put(memory, "next", 1_000 + turn)
        memory.drop("next")


def test_pages_that_nobody_sees_are_used_again(memory: UnifiedMemory) -> None:
    put(memory, "a", 1)
    inode = (memory.folder / memory.get("a").descriptor.path).stat().st_ino
    memory.drop("a")
    frame = memory.put("b", workers.uniform(2, ROWS))

    assert (memory.folder / frame.descriptor.path).stat().st_ino == inode
    assert reused_bytes(memory) == frame.nbytes
    assert workers.value_of(frame)[0] == 2
    assert unnamed_bytes(memory) == 0


@pytest.mark.parametrize(
    "how", ["frame", "slice", "arrow", "pinned", "pyarrow", "polars", "open, not mapped", "mapped"]
)
@pytest.mark.parametrize("where", ["here", "there"])
def test_whoever_can_see_them_keeps_them(
    memory: UnifiedMemory, other: workers.Remote, how: str, where: str
) -> None:
    put(memory, "a", 7)
    here = workers.Worker(memory.folder, BYTES_MAX, {})
    before = reused_bytes(memory)
    tell = other.tell if where == "there" else lambda do, *given: getattr(here, do)(*given)
    tell("hold", "view", "a", how)
    drop_and_fill(memory, "a")
    assert tell("check") == 1
    tell("let_go")
    assert reused_bytes(memory) >= before  # of "next", whose pages nobody saw
    here.memory.close()
    assert unnamed_bytes(memory) < 2 * 16 * ROWS + (64 << 10)


def test_pages_that_were_filled_in_place_are_used_again(memory: UnifiedMemory) -> None:
    worker = workers.Worker(memory.folder, BYTES_MAX, {})
    for value in range(3):
        worker.fill("a", value, ROWS)
        worker.do("drop", "a")

    assert reused_bytes(memory) > 0
    worker.memory.close()


def test_a_view_that_was_attached_by_its_descriptor_stays(
    memory: UnifiedMemory, other: workers.Remote
) -> None:
    put(memory, "a", 7)
    other.tell("attach", "view", memory.get("a").descriptor)
    drop_and_fill(memory, "a")

    assert other.tell("check") == 1


def test_an_array_of_the_reservation_that_somebody_kept_stays(memory: UnifiedMemory) -> None:
    reservation = memory.reserve(SCHEMA, ROWS)
    kept = [reservation.values("x"), reservation.values("y")[5:10]]
    for array in kept:
        array[:] = 7
    reservation.values("y")[:] = 7
    reservation.seal("a")
    gc.collect()
    drop_and_fill(memory, "a")

    assert all((array == 7).all() for array in kept)


def test_who_looked_the_file_up_before_it_moved_and_opens_it_after(memory: UnifiedMemory) -> None:
    """The kernel found the file by its name, then it was dropped, then he has it open."""
    put(memory, "a", 7)
    descriptor = memory.get("a").descriptor
    memory.drop("a")
    (spare,) = memory.folder.glob("sessions/*/*.spare")
    late = workers.by_path(spare, "mapped")
    # Had he been one of ours, he would have found that it is that block no more.
    at = descriptor.uuid_at
    assert spare.read_bytes()[at : at + 32] == bytes(32)
    put(memory, "b", 8)

    assert (late == 7).all()
    assert unnamed_bytes(memory) == 0


def test_a_link_made_late_is_another_way_in(memory: UnifiedMemory) -> None:
    put(memory, "a", 7)
    memory.drop("a")
    (spare,) = memory.folder.glob("sessions/*/*.spare")
    link = spare.with_name("late")
    link.hardlink_to(spare)
    seen = link.read_bytes()
    put(memory, "b", 8)

    assert link.read_bytes() == seen


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_made_by_fork_keeps_the_view_it_inherited(
    memory: UnifiedMemory, other: workers.Remote
) -> None:
    put(memory, "a", 7)
    held = memory.get("a")
    array = held["x"]
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(asked, 1)
        os.write(answer, b"y" if (array == 7).all() else b"n")
        os._exit(0)
    del held, array
    drop_and_fill(memory, "a")
    os.write(ask, b"?")

    assert os.read(answered, 1) == b"y"
    os.waitpid(child, 0)
    for end in (asked, ask, answered, answer):
        os.close(end)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_spares_wait_leaves_them_to_the_parent(
    memory: UnifiedMemory, other: workers.Remote
) -> None:
    other.tell("put", "a", 1, ROWS)
    other.tell("do", "drop", "a")
    spares = list(memory.folder.glob("sessions/*/*.spare"))
    code, version = other.tell("fork", "put", "from the child", 5, ROWS)

    assert (code, version) == (0, "1")
    assert len(spares) == 1
    assert spares[0].exists()
    assert memory.get("from the child")["x"][0] == 5
    other.tell("put", "b", 2, ROWS)
    assert not spares[0].exists()
    assert workers.value_of(memory.get("from the child"))[0] == 5
    assert workers.value_of(memory.get("b"))[0] == 2


@pytest.mark.parametrize("rows", [ROWS, ROWS - 1_000, ROWS * 4 // 5 + 100, ROWS // 2, ROWS + 5_000])
def test_a_reservation_is_zeros_whatever_its_pages_were(memory: UnifiedMemory, rows: int) -> None:
    for turn in range(4):
        put(memory, "a", -1 - turn, ROWS + turn)
        memory.drop("a")
        reservation = memory.reserve(SCHEMA, rows)
        for name in ("x", "y"):
            assert not reservation.values(name).any()
            reservation.values(name)[:] = 9
        frame = reservation.seal("b")
        assert workers.value_of(frame)[0] == 9
        assert (memory.folder / frame.descriptor.path).stat().st_size == frame.nbytes
        del frame, reservation
        memory.drop("b")
    memory._use.release_kept()
    assert unnamed_bytes(memory) == 0
    assert memory.statistics().bytes_used == 0


def test_a_block_without_a_name_gives_its_pages_too(memory: UnifiedMemory) -> None:
    shared = memory.share(workers.uniform(1, ROWS))
    nbytes = shared.nbytes
    del shared
    gc.collect()

    assert memory.share(workers.uniform(2, ROWS))["x"][0] == 2
    gc.collect()
    assert reused_bytes(memory) == nbytes
    assert unnamed_bytes(memory) == nbytes  # a spare again
    memory._use.release_kept()
    assert unnamed_bytes(memory) == 0


def test_a_spare_goes_when_memory_is_short(memory_folder: Path) -> None:
    memory = UnifiedMemory(memory_folder, 64 << 20, shares={"shared": 0.05, "gpu": 0, "neural": 0})
    put(memory, "a", 1)
    memory.drop("a")
    spare_bytes = unnamed_bytes(memory)
    large = memory.put("b", workers.uniform(2, ROWS + ROWS // 2))

    assert spare_bytes > 0
    assert spare_bytes + large.nbytes > memory.budget("shared")
    assert unnamed_bytes(memory) == 0
    assert list(memory_folder.glob("sessions/*/*.spare")) == []
    memory.close()


def test_without_leases_every_block_is_new(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(page_reuse.fcntl, "F_SETLEASE")
    for value in range(3):
        put(memory, "a", value)
        assert memory.get("a")["x"][0] == value
        memory.drop("a")

    assert reused_bytes(memory) == 0
    assert unnamed_bytes(memory) == 0
    assert list(memory.folder.glob("sessions/*/*.spare")) == []


@pytest.mark.slow
def test_no_view_ever_changes_whatever_is_put_and_dropped(
    memory: UnifiedMemory, any_start: workers.Start
) -> None:
    seed = random.Random().randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    processes = [any_start(memory.folder, BYTES_MAX) for _ in range(3)]
    names: dict[str, int] = {}
    for step in range(250):
        worker = chance.choice(processes)
        name = f"n{chance.randrange(6)}"
        rows = chance.choice([20_000, 20_000, 22_000, 24_000, 40_000])
        what = chance.choice(["put", "put", "fill", "drop", "hold", "hold", "let_go", "share"])
        if what in {"put", "fill"}:
            worker.tell(what, name, step, rows)
            names[name] = step
        elif what == "drop" and names.pop(name, None) is not None:
            worker.tell("do", "drop", name)
        elif what == "hold" and name in names:
            how = chance.choice(["frame", "slice", "arrow", "pinned", "pyarrow"])
            worker.tell("hold", chance.randrange(5), name, how)
        elif what == "share":
            worker.tell("fill", None, step, rows, key=chance.randrange(5))
        elif what == "let_go":
            worker.tell("let_go", chance.randrange(5))
        for process in processes:
            process.tell("check")
        for known, value in names.items():
            assert chance.choice(processes).tell("get", known)[0] == value
    reused: Any = memory._use.session.processes
    for process in processes:
        process.tell("let_go")
        process.tell("ask", "names")
    memory.statistics()
    assert int(reused.sums()["reused_bytes"]) > 0
    assert np.array(list(names.values())).size == len(memory.names())
    for process in processes:
        process.kill()
