"""What a process keeps of datasets that it found by name."""

import gc
import random
import sys
import threading
from collections.abc import Iterator

import pytest

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.memory.frames.kept_frames import ENTRIES_MAX, FRAMES_HELD_MAX, KeptFrames

COUNTERS = memoryview(bytearray(64)).cast("Q")


class FakeFrame:
    """As much of a frame as is looked at. ``descriptor`` is a property there too."""

    def __init__(self, nbytes: int) -> None:
        self._descriptor = BlockDescriptor("", 1, "", "0" * 32, 1, nbytes, (), 1, "here")

    @property
    def descriptor(self) -> BlockDescriptor:
        return self._descriptor


def keep(kept: KeptFrames, name: str, nbytes: int = 10, number: int = 2) -> FakeFrame:
    frame = FakeFrame(nbytes)
    kept.keep(name, frame, COUNTERS, 0, number)  # type: ignore[arg-type]
    return frame


def held(kept: KeptFrames) -> list[str]:
    return [name for name, _ in kept.held()]


def test_what_is_kept_is_found_with_its_counter() -> None:
    kept = KeptFrames(lambda: 100)
    frame = keep(kept, "a", number=6)

    assert kept["a"].frame() is frame
    assert (kept["a"].number, kept["a"].place, kept["a"].hits) == (6, 0, 0)
    assert held(kept) == ["a"]


def test_bytes_that_are_held_are_bounded_and_the_first_go_first() -> None:
    kept = KeptFrames(lambda: 100)
    frames = [keep(kept, name, 40) for name in "abc"]

    assert held(kept) == ["b", "c"]
    assert kept["a"].frame() is frames[0]  # the caller holds it
    frames.clear()
    gc.collect()
    assert kept["a"].frame() is None
    assert kept["b"].frame() is not None


def test_what_is_larger_than_all_is_not_held() -> None:
    kept = KeptFrames(lambda: 100)
    keep(kept, "a", 60)
    frame = keep(kept, "b", 101)

    assert held(kept) == ["a"]
    assert kept["b"].frame() is frame


def test_frames_and_entries_are_bounded() -> None:
    kept = KeptFrames(lambda: 1 << 40)
    for number in range(ENTRIES_MAX + 10):
        keep(kept, str(number))

    assert len(kept) == ENTRIES_MAX
    assert held(kept) == [str(number) for number in range(ENTRIES_MAX + 10)][-FRAMES_HELD_MAX:]
    assert "9" not in kept


def test_keeping_again_forgetting_and_releasing_give_the_bytes_back() -> None:
    kept = KeptFrames(lambda: 100)
    for _ in range(20):
        keep(kept, "a", 90)
    assert held(kept) == ["a"]
    kept.forget("a")
    kept.forget("a")
    keep(kept, "b", 90)
    assert held(kept) == ["b"]
    kept.release()
    assert held(kept) == []
    assert "b" in kept
    keep(kept, "c", 90)
    kept.clear()
    assert (len(kept), held(kept)) == (0, [])


def test_a_child_made_by_fork_tells_no_finds_of_its_parent_and_waits_for_no_lock() -> None:
    kept = KeptFrames(lambda: 100)
    frame = keep(kept, "a")
    kept["a"].hits = 7
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with kept._lock:
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    kept.forked_in_child()
    kept.forget("b")
    leave.set()
    thread.join()

    assert kept["a"].hits == 0
    assert kept["a"].frame() is frame


@pytest.fixture
def hasty() -> Iterator[None]:
    """The interpreter switches threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_lose_no_byte_of_the_count() -> None:
    """A count that drifts lets nothing be held any more, or everything."""
    kept = KeptFrames(lambda: 1000)
    errors: list[Exception] = []

    def use(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(2000):
                name = str(chance.randrange(30))
                if chance.random() < 0.7:
                    keep(kept, name, chance.randrange(1, 400))
                else:
                    kept.forget(name)
        except Exception as error:  # noqa: BLE001  told by the test
            errors.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert kept._held_bytes == sum(entry.descriptor.nbytes for _, entry in kept.held()) <= 1000
