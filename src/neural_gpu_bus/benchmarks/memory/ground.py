"""Where the questions about unified memory are asked: a folder of their own, sizes, the rivals."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from neural_gpu_bus.benchmarks.memory.place import Place
from neural_gpu_bus.benchmarks.memory.place_arctic import ArcticFrames
from neural_gpu_bus.benchmarks.memory.place_arrow import ArrowFiles
from neural_gpu_bus.benchmarks.memory.place_lmdb import LmdbValues
from neural_gpu_bus.benchmarks.memory.place_ours import ByName
from neural_gpu_bus.benchmarks.memory.place_ray import RayObjects, ray_cluster
from neural_gpu_bus.benchmarks.memory.place_redis import RedisValues
from neural_gpu_bus.benchmarks.memory.place_shared_memory import SharedSegments

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseWatcher
    from neural_gpu_bus.benchmarks.memory.spread import ClockNs
    from neural_gpu_bus.plane import DataPlane

MB = 1_000_000
#: Folders and segments that this makes in shared memory begin so; the id of the process follows.
FILES = "ngb-bench-"
_MADE = re.compile(FILES + r"(?:segment-)?(\d+)-.+")


@dataclass(frozen=True, slots=True)
class Attached:
    """How often a dataset of one size is attached for the first time."""

    title: str
    nbytes: int
    #: Datasets that each process attaches, and processes.
    datasets: int
    processes: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each question takes."""

    find_bytes: int
    find_calls: int
    attach: tuple[Attached, ...]
    put_bytes: int
    put_repeats: int
    shared_bytes: int
    shared_processes: int
    crowd_datasets: int
    publish_repeats: int


FULL = Sizes(
    find_bytes=400_000,
    find_calls=50_000,
    attach=(
        Attached("400 KB", 400_000, 20, 5),
        Attached("40 MB", 40 * MB, 5, 6),
        Attached("1 GB", 1000 * MB, 1, 5),
    ),
    put_bytes=40 * MB,
    put_repeats=15,
    shared_bytes=1000 * MB,
    shared_processes=8,
    crowd_datasets=100_000,
    publish_repeats=500,
)
QUICK = Sizes(
    find_bytes=400_000,
    find_calls=2_000,
    attach=(Attached("400 KB", 400_000, 5, 1), Attached("4 MB", 4 * MB, 2, 1)),
    put_bytes=4 * MB,
    put_repeats=3,
    shared_bytes=20 * MB,
    shared_processes=3,
    crowd_datasets=500,
    publish_repeats=20,
)


@dataclass(frozen=True, slots=True)
class MemoryGround:
    """Handed to each question."""

    plane: DataPlane
    #: In the file system of the plane's memory, and gone afterwards.
    folder: Path
    sizes: Sizes
    clock_ns: ClockNs
    watcher: CaseWatcher
    #: By name, in the order they are shown.
    rivals: Mapping[str, Place]
    #: Rival -> how to get it.
    missing: Mapping[str, str] = field(default_factory=dict)

    def ours(self, part: str) -> ByName:
        """A memory folder of its own for a question, with the plane's budget or what it takes."""
        budget = self.plane.settings.memory_limit_bytes
        return ByName(self.folder / part, max(budget, _store_bytes(self.sizes) * 2))

    def begin_anew(self) -> None:
        """Rivals empty again: LMDB's file never shrinks, and what it maps is counted."""
        for place in self.rivals.values():
            place.close()
            place.open()

    def lack_of_room(self, needed_bytes: int) -> str:
        """Why that much more shared memory cannot be had; empty where it can."""
        host = os.statvfs(self.folder)
        free = min(host.f_bavail * host.f_frsize, psutil.virtual_memory().available)
        if free >= needed_bytes:
            return ""
        return f"{needed_bytes / 1e9:.1f} GB of shared memory are needed and {free / 1e9:.1f} free"


def _store_bytes(sizes: Sizes) -> int:
    """What a place must hold: the largest dataset, and half as much."""
    return max(sizes.shared_bytes * 3 // 2, 256 * MB)


@contextmanager
def memory_ground(
    plane: DataPlane, sizes: Sizes, clock_ns: ClockNs, watcher: CaseWatcher, *, ray: bool
) -> Iterator[MemoryGround]:
    """Open every rival that is there, Ray only where it is wanted; take all away at the end."""
    with ExitStack() as closing:
        folder = closing.enter_context(scratch(plane.addresses.memory_folder.parent))
        missing = (
            {} if ray else {"Ray": "not started: these questions are not for it"}
        ) | _missing()
        if "Ray" not in missing:
            watcher.say("starting Ray")
            closing.enter_context(ray_cluster(_store_bytes(sizes)))
        rivals = _rivals(plane, folder, _store_bytes(sizes))
        there = {name: place for name, place in rivals.items() if name not in missing}
        for place in there.values():
            closing.callback(place.close)
            place.open()
        yield MemoryGround(plane, folder, sizes, clock_ns, watcher, there, missing)


def _rivals(plane: DataPlane, folder: Path, bytes_max: int) -> dict[str, Place]:
    return {
        "shared_memory": SharedSegments(),
        "LMDB": LmdbValues(folder / "lmdb", bytes_max * 2),
        "pyarrow": ArrowFiles(folder / "arrow"),
        "Ray": RayObjects(),
        "Redis": RedisValues(plane.addresses.compute_redis_url.get_secret_value()),
        "ArcticDB": ArcticFrames(folder / "arctic", bytes_max * 2),
    }


def _missing() -> dict[str, str]:
    modules = {"Ray": "ray", "ArcticDB": "arcticdb"}
    return {
        name: f"not installed: pip install {module} (wheels are not made for every platform)"
        for name, module in modules.items()
        if importlib.util.find_spec(module) is None
    }


@contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A folder in shared memory; those of runs that were killed are removed as well."""
    for entry in beside.iterdir():
        found = _MADE.fullmatch(entry.name)
        if found and not psutil.pid_exists(int(found[1])):
            _remove(entry)
    folder = Path(tempfile.mkdtemp(prefix=f"{FILES}{os.getpid()}-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
