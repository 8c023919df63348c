"""Files that are not ours, or not whole: a clear error or nothing at all, never a crash."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.errors import DatasetEvictedError, HostError, NeuralGpuBusError
from neural_gpu_bus.memory import UnifiedMemory

BYTES_MAX = 64 << 20
SHARES = {"shared": 0.05, "gpu": 0, "neural": 0}
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def use_all(folder: Path) -> str:
    """Open, read, write until something is evicted, look. What came of it."""
    try:
        memory = UnifiedMemory(folder, BYTES_MAX, shares=SHARES)
    except NeuralGpuBusError as error:
        return f"refused: {error}"
    failed = []

    def attempt(do: Callable[[], object]) -> None:
        try:
            do()
        except NeuralGpuBusError as error:
            failed.append(f"{type(error).__name__}: {error}")

    attempt(lambda: [memory.get(name)["x"].sum() for name in memory.names()])
    for number in range(6):
        attempt(lambda n=number: memory.put(f"new {n}", {"x": np.full(100_000, n)}))
        attempt(lambda n=number: memory.get(f"new {n}")["x"].sum())
    attempt(memory.statistics)
    attempt(lambda: memory.facts("", mapped=True))
    attempt(lambda: memory.keep("new 5"))
    attempt(lambda: memory.drop("new 5"))
    attempt(memory.close)
    return "worked" if not failed else f"in part: {failed}"


def in_child(folder: Path) -> tuple[int, str]:
    """Exit status, negative for a signal, and what the child says."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = use_all(folder)
        except BaseException as error:  # noqa: BLE001  a child must not go on as a test
            answer = f"crashed: {error!r}"
        os.write(theirs, answer.encode()[:8192])
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        answer = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), answer


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """To half of it, and a little."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 3])


def scramble(path: Path) -> None:
    path.write_bytes(random.Random(5).randbytes(path.stat().st_size))


def all_ones(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_other(path: Path) -> None:
    path.write_text("somebody's notes\n" * 1000)


DAMAGES = [empty, cut, scramble, all_ones, make_link, make_folder, make_other]
#: LMDB trusts what is inside its pages: those that are cut or scrambled are not tried.
TABLES = ["tables/blocks", "tables/names", "tables/order", "tables/processes", "tables/turn"]


@pytest.fixture
def left_folder(memory_folder: Path) -> Path:
    """A folder with three datasets that nobody has open."""
    memory = UnifiedMemory(memory_folder, BYTES_MAX, shares=SHARES)
    for name in "abc":
        memory.put(name, {"x": np.arange(100)})
    memory.close()
    return memory_folder


@pytest.mark.parametrize("file", TABLES)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_table_is_refused_or_mended(
    left_folder: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(left_folder / file)
    status, answer = in_child(left_folder)

    assert status == 0, answer
    if not answer.startswith("worked"):
        assert answer.startswith("refused"), answer
        assert file in answer
        assert "is no table" in answer


@pytest.mark.parametrize("damage", [make_link, make_folder, make_other])
def test_an_index_that_is_none_is_refused(
    left_folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(left_folder / "index" / "data.mdb")
    status, answer = in_child(left_folder)

    assert status == 0, answer
    assert answer.startswith("refused: the index of shared memory in"), answer
    assert "hint: stop what uses it (`ngb down`) and remove that folder" in answer


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_block_that_was_replaced_is_told_by_its_name(
    left_folder: Path, damage: Callable[[Path], None]
) -> None:
    memory = UnifiedMemory(left_folder, BYTES_MAX, shares=SHARES)
    path = left_folder / memory.get("a").descriptor.path
    memory.close()
    path.chmod(0o600)
    damage(path)
    memory = UnifiedMemory(left_folder, BYTES_MAX, shares=SHARES)
    with pytest.raises(DatasetEvictedError, match="'a' version 1 is not in this memory any more"):
        memory.get("a")

    assert memory.get("b").rows == 100
    if path.is_dir():
        path.rmdir()
    memory.put("a", {"x": [1, 2]})
    assert memory.get("a").rows == 2
    memory.put("a", {"x": [1, 2, 3]})
    memory.drop("a")
    memory.close()


@pytest.mark.parametrize("damage", DAMAGES[:4], ids=lambda damage: damage.__name__)
def test_another_process_s_list_of_what_it_maps_may_say_anything(
    left_folder: Path, damage: Callable[[Path], None]
) -> None:
    other = UnifiedMemory(left_folder, BYTES_MAX, shares=SHARES)
    held = other.get("a")
    copy = left_folder / "sessions" / other._use.session.corner.name[-32:] / "maps"
    inside = copy.with_name("moved")
    shutil.copy(copy, inside)
    copy.unlink()  # what this process has mapped stays as it is
    inside.rename(copy)
    damage(copy)
    status, answer = in_child(left_folder)

    assert status == 0, answer
    assert not answer.startswith("crashed"), answer
    assert held.rows == 100
    other.close()


def test_what_others_put_into_the_folder_is_left_alone(left_folder: Path) -> None:
    notes = []
    for part in ("", "datasets", "sessions", "tables", "index", "series"):
        note = left_folder / part / "notes.txt"
        note.write_text("mine")
        (left_folder / part / "more").mkdir()
        notes.append(note)
    status, answer = in_child(left_folder)

    assert (status, answer) == (0, "worked")
    assert [note.read_text() for note in notes] == ["mine"] * len(notes)


def test_a_folder_of_an_earlier_boot_is_emptied(left_folder: Path) -> None:
    (left_folder / "boot").write_text("another boot")
    memory = UnifiedMemory(left_folder, BYTES_MAX, shares=SHARES)

    assert memory.names() == []
    memory.close()


def test_a_table_that_was_cut_is_named(left_folder: Path) -> None:
    cut(left_folder / "tables" / "names")
    with pytest.raises(HostError, match=r"tables/names' is no table of this version: .*the least"):
        UnifiedMemory(left_folder, BYTES_MAX)
