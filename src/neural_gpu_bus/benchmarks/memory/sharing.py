"""Question: how much memory do several processes take that read one dataset?"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Part, Share
from neural_gpu_bus.benchmarks.memory.datasets import check, columns, made_up, sums
from neural_gpu_bus.benchmarks.memory.ground import MemoryGround
from neural_gpu_bus.benchmarks.memory.place_ours import ByName
from neural_gpu_bus.benchmarks.memory.visits import VISIT_S_MAX, fresh

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.place import Place

_KEY, _WARM = "shared", "warm"
#: Issue 3: 8 processes over one dataset of 1 GB in 1.05 GB.
_TIMES_MAX = 1.05
#: Those that hand out copies fill memory many times; a tenth of the size says as much of them.
_COPIES_PART = 10
_COPYING = ("Redis", "ArcticDB")
_SMAPS = Path("/proc/self/smaps")


def share_one(ground: MemoryGround, _closing: ExitStack) -> Answer:
    """Proportional set sizes of all, once each has read every byte."""
    size, processes = ground.sizes.shared_bytes, ground.sizes.shared_processes
    question = f"{processes} processes that have read one dataset of {size / 1e9:g} GB"
    skipped = dict(ground.missing)
    lack = "" if _SMAPS.exists() else "this host does not tell proportional set sizes (Linux does)"
    lack = lack or ground.lack_of_room(3 * size)
    if lack:
        return Answer("share", question, [], skipped={"share": lack} | skipped)
    places = [name for name in ground.rivals if name != "Ray"]
    skipped["Ray"] = "its workers are its own; see `find` and `attach`"
    ground.watcher.expect(1 + len(places))
    shares = [_ours(ground)]
    ground.watcher.step()
    for name in places:
        part = _COPIES_PART if name in _COPYING else 1
        shares.append(_rival(ground.rivals[name], size // part, processes))
        ground.watcher.step()
    total = shares[0].mapped + shares[0].private
    goal = Goal(f"together under {_TIMES_MAX} times its size", f"{total:.3f}", total < _TIMES_MAX)
    notes = [
        "mapped: proportional set size of its mappings; own: growth of what a process has for "
        "itself; both summed over the processes, in multiples of the dataset",
        f"of {' and '.join(_COPYING)} with a dataset of a tenth of the size, without the server",
    ]
    return Answer("share", question, [Part("", shares=shares)], [goal], notes, skipped)


def _ours(ground: MemoryGround) -> Share:
    """The writer is a process that has ended: its mapping would take a part of each page."""
    place = ground.ours("share")
    writer = fresh().Process(target=_write, args=(place, ground.sizes.shared_bytes))
    writer.start()
    writer.join(VISIT_S_MAX)
    sizes = ground.sizes.shared_bytes, ground.sizes.shared_processes
    return _measured(place, "ours", sizes, sums(columns(made_up(sizes[0]))))


def _write(place: ByName, nbytes: int) -> None:
    place.put(_WARM, made_up(1))
    place.put(_KEY, made_up(nbytes))
    place.close()


def _rival(place: Place, nbytes: int, processes: int) -> Share:
    matrix = made_up(nbytes)
    place.put(_WARM, made_up(1))
    place.put(_KEY, matrix)
    expected = sums(columns(matrix))
    del matrix
    try:
        return _measured(place, "rival", (nbytes, processes), expected)
    finally:
        place.drop(_WARM)
        place.drop(_KEY)


def _measured(place: Place, kind: Any, sizes: tuple[int, int], expected: Any) -> Share:
    nbytes, processes = sizes
    readers = [_Reader.start(place) for _ in range(processes)]
    try:
        for reader in readers:
            check("share", place.title, expected, reader.answer())
        # While all of them have it mapped; and this process, where it wrote and still maps it.
        found = [*(reader.measured() for reader in readers), (mapped_bytes(place.files()), 0)]
    finally:
        for reader in readers:
            reader.end()
    return Share(
        place.title,
        kind,
        mapped=sum(mapped for mapped, _ in found) / nbytes,
        private=sum(private for _, private in found) / nbytes,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    process: Any
    pipe: Connection

    @classmethod
    def start(cls, place: Place) -> _Reader:
        ours, theirs = fresh().Pipe()
        process = fresh().Process(target=_read, args=(place, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def answer(self) -> Any:
        if not self.pipe.poll(VISIT_S_MAX):
            raise TimeoutError(f"reader {self.process.pid} said nothing for {VISIT_S_MAX} s")
        return self.pipe.recv()

    def measured(self) -> tuple[int, int]:
        self.pipe.send("measure")
        found: tuple[int, int] = self.answer()
        return found

    def end(self) -> None:
        self.pipe.close()
        self.process.join(VISIT_S_MAX)


def _read(place: Place, pipe: Connection) -> None:
    place.open()
    sums(place.columns(place.find(_WARM)))  # what a first look loads is no part of a dataset
    before = private_bytes()
    found = place.find(_KEY)
    held = place.columns(found)
    pipe.send(sums(held))
    try:
        pipe.recv()
        pipe.send((mapped_bytes(place.files()), max(private_bytes() - before, 0)))
        pipe.recv()  # until the other end is closed
    except EOFError:
        os._exit(0)  # nothing here is worth an orderly end


def mapped_bytes(where: str | None) -> int:
    """Proportional set size of this process's mappings of files with that text in their path."""
    total, counts = 0, False
    if where is None:
        return 0
    for line in _SMAPS.read_text().splitlines():
        head = line.split(None, 5)
        if "-" in head[0] and not head[0].endswith(":"):
            counts = len(head) == 6 and where in head[5]
        elif counts and head[0] == "Pss:":
            total += int(head[1]) * 1024
    return total


def private_bytes() -> int:
    """What this process has for itself."""
    found = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(
        int(line.split()[1]) * 1024
        for line in found
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )
