"""Written files that are kept, and taken again when nobody else has them."""

import fcntl
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.memory.files.page_reuse import (
    KEPT_MAX,
    REUSED_BYTES_MIN,
    PageReuse,
    WrittenFile,
)
from neural_gpu_bus.memory.writing.block_file import make

SIZE = REUSED_BYTES_MIN
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS has no leases")


class Written:
    """Makes and drops files in a folder, and sums what it is told of spares."""

    def __init__(self, folder: Path, bytes_max: int = 100 * SIZE) -> None:
        self.folder = folder
        self.corner = folder / "corner"
        self.corner.mkdir(exist_ok=True)
        self.told_bytes = 0
        self.reuse = PageReuse(lambda: bytes_max, self._count, lambda uuid, nbytes: None)

    def _count(self, nbytes: int) -> None:
        self.told_bytes += nbytes

    def keep(self, nbytes: int = SIZE) -> WrittenFile:
        head = uuid.uuid4().hex
        written = make(self.folder / head, nbytes, head)
        written.mapping.array()[:] = 7
        self.reuse.keep(written)
        return written

    def drop(self, written: WrittenFile) -> bool:
        block = BlockDescriptor("", 1, "", written.uuid, 1, SIZE, (), 1, "here", uuid_at=100)
        return self.reuse.recycle(block, self.folder / written.uuid, self.corner)

    def keeps(self, file: WrittenFile) -> bool:
        return any(kept is file for kept in self.reuse._kept)

    def spares(self) -> int:
        return len(list(self.corner.iterdir()))


def is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


@pytest.fixture
def written(memory_folder: Path) -> Iterator[Written]:
    made = Written(memory_folder)
    yield made
    made.reuse.clear()
    assert made.told_bytes == 0


def test_a_dropped_file_is_taken_once(written: Written) -> None:
    file = written.keep()
    assert written.reuse.take(SIZE) is None
    assert written.drop(file)
    assert (written.told_bytes, written.spares()) == (SIZE, 1)
    assert not written.drop(file)
    taken = written.reuse.take(SIZE)
    assert taken is file
    assert not taken.spare
    assert written.told_bytes == 0
    assert written.reuse.take(SIZE) is None
    array = taken.mapping.array()
    assert not array[100:132].any()
    assert (array[:100] == 7).all()
    taken.close()


def test_the_smallest_that_fits_is_taken_and_nothing_much_larger(written: Written) -> None:
    files = {factor: written.keep(SIZE * factor // 4) for factor in (4, 5, 6, 8)}
    for file in files.values():
        assert written.drop(file)

    assert written.reuse.take(SIZE * 8 // 4 + 1) is None
    for wanted, given in ((SIZE + 1, 5), (SIZE, 4), (SIZE * 5 // 4, 6)):
        taken = written.reuse.take(wanted)
        assert taken is files[given]
        taken.close()
    assert written.reuse.take(SIZE) is None  # the last is twice that
    assert written.told_bytes == SIZE * 2


def test_what_somebody_has_is_unlinked_and_not_kept(written: Written) -> None:
    file = written.keep()
    reader = os.open(written.folder / file.uuid, os.O_RDONLY)
    assert written.drop(file)
    os.close(reader)

    assert (written.told_bytes, written.spares()) == (0, 0)
    assert not is_open(file.file)
    assert (file.mapping.array() == 7).all()  # nothing was wiped under him
    assert written.reuse.take(SIZE) is None


@pytest.mark.parametrize("way", ["open", "link"])
def test_who_comes_between_drop_and_take_is_seen(written: Written, way: str) -> None:
    late, other = written.keep(), written.keep(SIZE + 4096)
    for file in (late, other):
        written.drop(file)
    reader = os.open(late.path, os.O_RDONLY)
    if way == "link":
        (written.folder / "link").hardlink_to(late.path)
        os.close(reader)
    taken = written.reuse.take(SIZE)

    assert taken is other
    assert not is_open(late.file)
    assert written.told_bytes == 0
    if way == "open":
        os.close(reader)
    taken.close()


def test_a_file_that_another_process_took_away_is_let_go(written: Written) -> None:
    file, gone = written.keep(), written.keep()
    file.path.unlink()
    assert not written.drop(file)
    assert not is_open(file.file)
    gone.path.unlink()
    assert written.reuse.take(SIZE) is None
    assert not is_open(gone.file)


def test_small_files_and_too_many_are_not_kept(written: Written) -> None:
    small = written.keep(SIZE - 1)
    assert not is_open(small.file)
    files = [written.keep() for _ in range(KEPT_MAX + 3)]

    assert [written.keeps(file) for file in files] == [False] * 3 + [True] * KEPT_MAX
    assert not written.drop(files[0])


def test_bytes_that_are_kept_are_bounded(memory_folder: Path) -> None:
    written = Written(memory_folder, bytes_max=3 * SIZE)
    files = [written.keep() for _ in range(3)]
    for file in files:
        written.drop(file)
    assert written.told_bytes == 3 * SIZE
    more = written.keep(2 * SIZE)

    assert [written.keeps(file) for file in files] == [False, False, True]
    assert (written.told_bytes, written.spares()) == (SIZE, 1)
    assert written.keeps(more)
    written.reuse.clear()
    assert (written.told_bytes, written.spares()) == (0, 0)
    assert more.path.exists()  # it is a dataset yet


def test_a_child_made_by_fork_lets_go_and_removes_nothing(written: Written) -> None:
    spare, kept = written.keep(), written.keep()
    written.drop(spare)
    copies = [os.dup(spare.file), os.dup(kept.file)]
    written.reuse.forget()

    assert not is_open(spare.file)
    assert not is_open(kept.file)
    assert (written.spares(), kept.path.exists()) == (1, True)
    assert written.reuse.take(SIZE) is None
    for copy in copies:
        os.close(copy)
    written.told_bytes = 0  # the child counts in a record of its own


def test_a_finalizer_waits_for_no_thread(written: Written) -> None:
    """It may run while its thread holds a lock that the other thread is waiting for."""
    file = written.keep()
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with written.reuse._lock:
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    assert not written.drop(file)  # so it is unlinked, and its pages are not used again
    file.path.unlink()
    leave.set()
    thread.join()

    assert written.reuse.take(SIZE) is None
    assert not written.keeps(file)


def test_without_leases_nothing_is_kept(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fcntl, "F_SETLEASE")
    file = written.keep()

    assert not is_open(file.file)
    assert not written.drop(file)
