"""A full file system is an error that says so, and nothing is left behind: never a signal."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory import UnifiedMemory

MIB = 1 << 20
SMALL = pa.schema([("x", pa.int64())])


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Path]:
    """A memory file system of 8 MiB, as small as a container's can be."""
    folder = tmp_path / "shm"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small(small_folder: Path) -> Iterator[UnifiedMemory]:
    memory = UnifiedMemory(small_folder, 1 << 40, shares={"shared": 1, "gpu": 0, "neural": 0})
    yield memory
    memory.close()


def _fill(folder: Path) -> Path:
    """Take the last page, as any other program may."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return filler


def test_the_budget_is_at_most_the_file_system(small: UnifiedMemory) -> None:
    assert small.statistics().bytes_max == 8 * MIB


def test_a_full_file_system_refuses_a_reservation_by_name(
    small: UnifiedMemory, small_folder: Path
) -> None:
    frame = small.put("kept", {"x": np.arange(1000)})
    filler = _fill(small_folder)
    with pytest.raises(SharedMemoryFullError, match=r"No space left.*\n.*--shm-size") as caught:
        small.reserve(SMALL, 1000)

    assert caught.value.needed_bytes > 8000
    assert caught.value.free_bytes == 0
    assert caught.value.folder == str(small_folder)
    assert list(small_folder.glob("sessions/*/*.arrow")) == []
    assert frame["x"].sum() == 499_500
    assert small.get("kept")["x"][-1] == 999
    filler.unlink()
    assert small.put("more", {"x": np.arange(1000)}).rows == 1000


def test_opening_on_a_full_file_system_is_that_error_or_works(small_folder: Path) -> None:
    filler = _fill(small_folder)
    with pytest.raises(SharedMemoryFullError, match="does not fit"):
        UnifiedMemory(small_folder, 1 << 40).put("x", {"x": [1]})
    filler.unlink()

    assert UnifiedMemory(small_folder, 1 << 40).put("x", {"x": [1]}).rows == 1


def test_a_reserved_block_can_be_filled_though_the_rest_is_taken(
    small: UnifiedMemory, small_folder: Path
) -> None:
    reservation = small.reserve(SMALL, 100_000)
    _fill(small_folder)
    reservation.values("x")[:] = 7

    assert reservation.seal()["x"].sum() == 700_000


def test_blocks_until_nothing_fits_then_room_by_dropping(small: UnifiedMemory) -> None:
    made, held = 0, []

    def put_many() -> None:
        nonlocal made
        for made in range(1000):
            held.append(small.put(f"block {made}", {"x": np.full(10_000, made)}))

    with pytest.raises(SharedMemoryFullError, match="does not fit"):
        put_many()

    assert 40 < made < 90
    for number in range(made):
        assert small.get(f"block {number}")["x"][-1] == number
    held.clear()
    small.drop("block 0")
    assert small.put("again", {"x": np.full(10_000, 1)}).rows == 10_000


def test_an_index_without_room_publishes_nothing(small: UnifiedMemory, small_folder: Path) -> None:
    for number in range(100):
        small.put(f"name {number}", {"x": [number]})
        small.drop(f"name {number}")
    reservations = [small.reserve(SMALL, 1) for _ in range(30)]
    filler = _fill(small_folder)
    refused = 0
    for number, reservation in enumerate(reservations):
        try:
            reservation.seal(f"{'long name ' * 40}{number}")
        except SharedMemoryFullError:
            refused += 1
    filler.unlink()

    assert len(small.names()) == len(reservations) - refused
    assert small.statistics().blocks == len(small.names())
    for name in small.names():
        assert small.get(name).rows == 1


FILE_LIMIT = """
import resource, sys
from pathlib import Path
import numpy as np
from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory import UnifiedMemory

memory = UnifiedMemory(Path(sys.argv[1]), 1 << 30)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try:
    memory.put("x", {"x": np.zeros(1 << 20)})
except SharedMemoryFullError as error:
    print(error.what)
print(memory.statistics().blocks)
"""


def test_a_limit_on_file_sizes_is_the_same_error(memory_folder: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    answer = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT, str(memory_folder)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "does not fit" in answer.stdout
    assert "File too large" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "0"


def test_a_drop_and_an_eviction_work_on_a_full_file_system(
    small: UnifiedMemory, small_folder: Path
) -> None:
    names = [f"{'long name ' * 40}{number}" for number in range(60)]
    for name in names:
        small.put(name, {"x": [1]})
    ballast = small_folder / "tables" / "ballast"
    small._use.release_kept()
    _fill(small_folder)
    for name in names[:50]:
        small.drop(name)
    assert ballast.stat().st_blocks * 512 == 128 << 10  # there again
    _fill(small_folder / "datasets")
    use = small._use
    gone = use.occupancy.make_room(use.session, "shared", use.remove, 1)

    assert len(gone) >= 1
    assert len(small.names()) == 10 - len(gone)
    assert ballast.stat().st_blocks * 512 == 128 << 10


READERS = """
import sys
from contextlib import ExitStack
from pathlib import Path
from neural_gpu_bus.memory import UnifiedMemory

folder = Path(sys.argv[1])
memory = UnifiedMemory(folder, 4 << 20)
memory.put("a", {"x": [1]})
with (folder / "filler").open("wb", buffering=0) as file, ExitStack() as readers:
    try:
        while file.write(b"x" * 4096):
            pass
    except OSError:
        for _ in range(200):
            readers.enter_context(memory._use.index._store.reading())
        print("200 readers")
"""


def test_many_readers_at_once_on_a_full_file_system(small_folder: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", READERS, str(small_folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "200 readers"
