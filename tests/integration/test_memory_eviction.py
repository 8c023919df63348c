"""Making room: what goes, what never goes, and that the budget holds whoever else is at it."""

import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

import memory_workers as workers
from neural_gpu_bus.errors import (
    DatasetEvictedError,
    DatasetNotFoundError,
    SharedMemoryFullError,
)
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.catalog.eviction import POLICIES

MIB = 1 << 20
#: 4 MiB of ``shared``: four datasets of 1 MB, and no fifth.
BYTES_MAX = 16 * MIB
SHARES = {"shared": 0.25, "gpu": 0.25, "neural": 0.25}
ROWS = 60_000


class Clock:
    """Tells one second more at each look."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1_000_000_000
        return self.now_ns


Open = Callable[..., UnifiedMemory]


@pytest.fixture
def opened(memory_folder: Path) -> Iterator[Open]:
    """Open the folder with these options; closed at the end."""
    memories = []

    def open_memory(**options: Any) -> UnifiedMemory:
        memory = UnifiedMemory(memory_folder, BYTES_MAX, shares=SHARES, **options)
        memories.append(memory)
        return memory

    yield open_memory
    for memory in memories:
        memory.close()


@pytest.fixture(scope="module")
def any_start() -> Iterator[workers.Start]:
    with workers.starting() as start:
        yield start


@pytest.fixture
def start(any_start: workers.Start, memory_folder: Path) -> Iterator[Callable[[], workers.Remote]]:
    """Start a worker over the folder."""
    running = []

    def begin() -> workers.Remote:
        running.append(any_start(memory_folder, BYTES_MAX, shares=SHARES))
        return running[-1]

    yield begin
    for worker in running:
        worker.kill()


def put(memory: UnifiedMemory, *names: str, region: Any = "shared") -> None:
    for value, name in enumerate(names):
        memory.put(name, workers.uniform(value, ROWS), region=region)


def test_each_region_has_its_own_budget(opened: Open) -> None:
    memory = opened()
    put(memory, "s1", "s2", "s3", "s4")
    put(memory, "g1", "g2", "g3", "g4", region="gpu")
    put(memory, "g5", "g6", region="gpu")

    assert [name for name in memory.names() if name[0] == "s"] == ["s1", "s2", "s3", "s4"]
    assert len([name for name in memory.names() if name[0] == "g"]) == 4
    by_name = {region.name: region for region in memory.statistics().regions}
    assert by_name["gpu"].evictions == 2
    assert by_name["shared"].evictions == 0
    assert all(region.bytes_used <= region.bytes_max for region in by_name.values())


@pytest.mark.parametrize(
    ("policy", "goes"), [("lru", "b"), ("lfu", "c"), ("sieve", "d"), ("gdsf", "a")]
)
def test_each_policy_takes_what_it_says(opened: Open, policy: str, goes: str) -> None:
    """Found: a 2 times, b 3, c once, d never; the last uses are in the order b, c, d, a."""
    memory = opened(policy=policy, clock_ns=Clock())
    for name, reload_ns in {"a": 1, "b": 10**9, "c": 10**9, "d": 10**9}.items():
        columns = workers.uniform(1, ROWS)
        reservation = memory._copied(columns, "shared")
        reservation.seal(name, reload_ns=reload_ns)
    for name in "bbbc":
        memory.get(name)
        memory.statistics()  # tells the others what was found, and when
    if policy != "sieve":
        memory._use.index.ledger.count(memory.get("d").descriptor, 1, Clock()() + 50 * 10**9)
        memory._use.index.ledger.count(memory.get("d").descriptor, 1, Clock()() + 60 * 10**9)
    for _ in range(2):
        memory.get("a")
        memory.statistics()
    put(memory, "new")

    assert policy in POLICIES
    assert [name for name in "abcd" if name not in memory.names()] == [goes]


@pytest.mark.slow
def test_what_is_kept_or_looked_at_never_goes(
    opened: Open, start: Callable[[], workers.Remote]
) -> None:
    memory, other = opened(), start()
    put(memory, "kept", "here", "there", "free")
    memory.keep("kept")
    here = memory.get("here")
    other.tell("hold", 0, "there")
    for turn in range(5):
        put(memory, f"new {turn}")

    assert {"kept", "here", "there"} < set(memory.names())
    assert "free" not in memory.names()
    assert workers.value_of(here)[0] == 1
    assert other.tell("check") == 1
    memory.keep("kept", forever=False)
    other.tell("let_go")
    for turn in range(10):
        put(memory, f"more {turn}")
    assert "kept" not in memory.names()


def test_a_dataset_that_is_kept_stays_so_in_its_next_versions(opened: Open) -> None:
    memory = opened()
    put(memory, "kept")
    memory.keep("kept")
    put(memory, "kept")
    for turn in range(8):
        put(memory, f"new {turn}")

    assert memory.get("kept").version == 2


def test_what_is_mapped_only_for_speed_is_let_go(memory_folder: Path) -> None:
    memory = UnifiedMemory(memory_folder, 64 * MIB, shares={"shared": 0.05})
    small = 3_000  # 1/32 of the whole holds many of them
    for number in range(40):
        memory.put(f"n{number}", workers.uniform(number, small))
        memory.get(f"n{number}")
    assert sum(process.mapped_blocks for process in memory.statistics().processes) > 10
    memory.put("large", {"x": np.zeros(410_000)})

    assert memory.names() == ["large"]
    memory.close()


@pytest.mark.slow
def test_when_nothing_can_go_the_error_says_who_holds_it(
    opened: Open, start: Callable[[], workers.Remote]
) -> None:
    memory, other = opened(), start()
    put(memory, "kept", "here", "there")
    memory.keep("kept")
    here = memory.get("here")
    other.tell("hold", 0, "there")
    shared = memory.share(workers.uniform(5, ROWS))
    with pytest.raises(SharedMemoryFullError, match="budget of 4,194,304 are in use") as caught:
        put(memory, "one more")

    text = caught.value.what
    pid = other.tell("pid")
    nbytes = f"{here.nbytes:,} bytes"
    assert re.search(rf"'there', in use by pid {pid}, \d+ s old \({nbytes}\)", text)
    assert re.search(rf"'here', in use by pid {os.getpid()}, \d+ s old \({nbytes}\)", text)
    assert re.search(rf"'kept', pinned, \d+ s old \({nbytes}\)", text)
    assert re.search(rf"without a name of pid {os.getpid()}, open for \d+ s \([\d,]+ b", text)
    assert set(memory.names()) == {"kept", "here", "there"}
    assert shared["x"][0] == 5
    # The claim was given back: what is held is what it was.
    assert memory.statistics().regions[2].bytes_used == 4 * here.nbytes


def test_an_evicted_name_says_when_and_why_and_goes_on_counting(opened: Open) -> None:
    memory = opened(policy="lru")
    put(memory, "a", "a", "a")
    put(memory, "b", "c", "d", "e")
    with pytest.raises(
        DatasetEvictedError,
        match=r"'a' version 3 \([\d,]+ bytes\) was evicted \d+\.\d s ago to make room "
        r"\(policy lru\)\nhint: load it again",
    ) as caught:
        memory.get("a")

    assert (caught.value.name, caught.value.version) == ("a", 3)
    put(memory, "a")
    assert memory.get("a").version == 4
    memory.drop("a")
    with pytest.raises(DatasetNotFoundError, match="no dataset 'a'"):
        memory.get("a")
    put(memory, "a")
    assert memory.get("a").version == 1


def test_a_view_of_an_older_version_lives_on_and_counts_as_gone(
    opened: Open, start: Callable[[], workers.Remote]
) -> None:
    memory, other = opened(policy="lru"), start()
    put(memory, "a")
    other.tell("hold", 0, "a")
    put(memory, "a", "b", "c")
    put(memory, "d")  # takes the newest of "a", and with it the older that is looked at

    assert "a" not in memory.names()
    assert other.tell("check") == 1
    found = {process.pid: process for process in memory.statistics().processes}
    theirs = found[other.tell("pid")]
    assert theirs.gone_bytes == memory.get("b").nbytes
    # It takes memory: so there is room for two others beside "a" and not for three.
    put(memory, "e", "f", "g")
    assert len(memory.names()) == 3
    assert other.tell("check") == 1
    other.tell("let_go")
    put(memory, "h")
    assert len(memory.names()) == 4


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Path]:
    """A memory file system of 8 MiB."""
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


def test_a_file_system_that_others_fill_evicts_and_tries_again(small_folder: Path) -> None:
    memory = UnifiedMemory(small_folder, 8 * MIB, shares={"shared": 1, "gpu": 0, "neural": 0})
    put(memory, "a", "b", "c", "d")
    filler = small_folder / "filler"
    free = os.statvfs(small_folder)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 256 * 1024))
    put(memory, "e")

    assert "e" in memory.names()
    assert 2 <= len(memory.names()) < 5
    held = [memory.get(name) for name in memory.names()]
    with pytest.raises(SharedMemoryFullError, match="No space left on device"):
        put(memory, "f")
    assert [workers.value_of(frame)[1] for frame in held] == [ROWS] * len(held)
    filler.unlink()
    put(memory, "f")
    assert "f" in memory.names()
    memory.close()


def file_sizes(folder: Path) -> dict[int, int]:
    """Inode -> bytes of every block's file, spare ones included."""
    found = {}
    for part in ("datasets", "sessions"):
        for root, _, names in os.walk(folder / part):
            for name in names:
                if name.endswith((".arrow", ".spare")):
                    try:
                        facts = Path(root, name).stat()
                    except FileNotFoundError:
                        continue
                    found[facts.st_ino] = facts.st_size
    return found


class Watching:
    """Sums the files again and again. What two looks both found was there between them."""

    def __init__(self, folder: Path) -> None:
        self.peak_bytes = self.looks = 0
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        last: dict[int, int] = {}
        while not self._ended.is_set():
            now = file_sizes(self._folder)
            both = sum(min(size, last[inode]) for inode, size in now.items() if inode in last)
            self.peak_bytes = max(self.peak_bytes, both)
            self.looks += 1
            last = now


@pytest.mark.slow
def test_many_who_evict_at_once_keep_the_budget_and_lose_nothing_else(
    opened: Open, start: Callable[[], workers.Remote]
) -> None:
    memory = opened()
    seed = random.Random().randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    put(memory, "kept")
    memory.keep("kept")
    processes = [start() for _ in range(4)]
    with Watching(memory.folder) as watching:
        for turn in range(150):
            for number, process in enumerate(processes):
                rows = chance.randrange(5_000, ROWS // 2)
                process.send("put", f"n{number}/{chance.randrange(8)}", turn, rows)
            for process in processes:
                assert process.answer() > 0  # none finds the memory full: three quarters can go

    assert watching.looks > 20
    assert 3 * MIB < watching.peak_bytes <= memory.budget("shared")
    assert workers.value_of(memory.get("kept"))[0] == 0
    found = memory.statistics().regions[2]
    assert found.evictions > 100
    assert sum(process.unnamed_bytes for process in memory.statistics().processes) <= 4 * (MIB // 2)
    for name in memory.names():
        workers.value_of(memory.get(name))


@pytest.mark.slow
def test_readers_while_others_evict_get_a_whole_version_or_that_error(
    opened: Open, start: Callable[[], workers.Remote]
) -> None:
    memory, other = opened(), start()
    end = time.monotonic() + 1.0
    turn = seen = evicted = 0
    newest = dict.fromkeys(range(12), 0)
    while time.monotonic() < end:
        name = turn % 12
        other.send("put", f"n{name}", turn, 20_000 + turn % 7)
        for number in newest:
            try:
                value, rows, version = workers.value_of(memory.get(f"n{number}"))
            except (DatasetEvictedError, DatasetNotFoundError):
                evicted += 1
                continue
            assert (value % 12, rows) == (number, 20_000 + value % 7)
            assert version >= newest[number]
            newest[number] = version
            seen += 1
        other.answer()
        turn += 1

    assert seen > 50
    assert evicted > 5


def test_processes_that_sleep_keep_no_region_from_the_others(memory_folder: Path) -> None:
    """What each keeps for speed is a part of one share: they cannot let it go while they sleep."""
    budget = 64 << 20
    memory = UnifiedMemory(memory_folder, budget)
    with workers.starting() as start:
        sleeping = [start(memory_folder, budget) for _ in range(6)]
        for number, process in enumerate(sleeping):
            process.tell("put", f"theirs/{number}", number, 60_000)
            process.tell("get", f"theirs/{number}")
        shared = next(one for one in memory.statistics().regions if one.name == "shared")
        wanted_rows = shared.bytes_max * 6 // 10 // 40  # five columns of 8 bytes

        assert memory.put("ours", workers.uniform(1, wanted_rows)).rows == wanted_rows
    memory.close()
