"""Processes that use unified memory as they are told through a pipe, and hold views of it."""

from __future__ import annotations

import gc
import mmap
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import memory_actors as actors
from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import (
    DatasetEvictedError,
    DatasetNotFoundError,
    NeuralGpuBusError,
)
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.memory.files import folder as folders


def uniform(value: int, rows: int) -> dict[str, Any]:
    """Two columns of one value: a mixture of two blocks shows."""
    return {"x": np.full(rows, value), "y": np.full(rows, value, "f8")}


def value_of(frame: Frame) -> tuple[int, int, int]:
    """The one value of a uniform frame, its rows and version; AssertionError for a mixture."""
    value = int(frame["x"][0])
    assert (frame["x"] == value).all()
    assert (frame["y"] == value).all()
    return value, frame.rows, frame.version


def by_path(path: Path, how: str) -> Any:
    """The column ``x`` of a block's file, without this package."""
    if how == "pyarrow":
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()["x"].chunk(0).to_numpy()
    if how == "polars":
        import polars as pl

        return pl.read_ipc(path)["x"].to_numpy()
    file = os.open(path, os.O_RDONLY)
    if how == "open, not mapped":
        return LateMap(file)
    mapping = mmap.mmap(file, 0, prot=mmap.PROT_READ)
    os.close(file)
    return pa.ipc.open_file(pa.py_buffer(mapping)).read_all()["x"].chunk(0).to_numpy()


class LateMap:
    """A file that is open already, and mapped when somebody looks."""

    def __init__(self, file: int) -> None:
        self.file = file

    def __eq__(self, value: object) -> Any:
        with mmap.mmap(self.file, 0, prot=mmap.PROT_READ) as mapping:
            return pa.ipc.open_file(bytes(mapping)).read_all()["x"].to_numpy() == value

    __hash__ = None  # type: ignore[assignment]

    def __del__(self) -> None:
        os.close(self.file)


class Worker:
    """What a worker can be told. ``held``: key -> something like an array, its one value."""

    def __init__(self, folder: Path, bytes_max: int, options: Mapping[str, Any]) -> None:
        self.memory = UnifiedMemory(folder, bytes_max, **options)
        self.held: dict[Any, tuple[Any, Any, int]] = {}

    def do(self, method: str, *arguments: Any, **named: Any) -> None:
        """Anything of the memory whose answer nobody wants."""
        getattr(self.memory, method)(*arguments, **named)

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self.memory, method)(*arguments, **named)

    def reopen(self, folder: Path | None, bytes_max: int, options: Mapping[str, Any]) -> None:
        """Leave the memory, and use another from now on, or none."""
        self.held.clear()
        gc.collect()
        self.memory.close()
        if folder is not None:
            self.memory = UnifiedMemory(folder, bytes_max, **options)

    def watch(self, pipe: Connection) -> int:
        """Look at all datasets again and again until there is something to do; how many were
        looked at.
        """
        looks = 0
        while not pipe.poll(0):
            for name in self.memory.names():
                with suppress(DatasetNotFoundError, DatasetEvictedError):
                    value_of(self.memory.get(name))
                    looks += 1
        return looks

    def pid(self) -> int:
        return os.getpid()

    def put(self, name: str, value: int, rows: int) -> int:
        return self.memory.put(name, uniform(value, rows)).version

    def put_all(self, datasets: Mapping[str, tuple[int, int]]) -> dict[str, int]:
        given = {name: uniform(*value) for name, value in datasets.items()}
        return {name: frame.version for name, frame in self.memory.put_all(given).items()}

    def fill(self, name: str | None, value: int, rows: int, *, key: Any = None) -> BlockDescriptor:
        """Reserve, see zeros, fill, seal; held under ``key`` where there is one."""
        schema = pa.schema([("x", pa.int64()), ("y", pa.float64())])
        reservation = self.memory.reserve(schema, rows)
        for column in ("x", "y"):
            assert not reservation.values(column).any()
            reservation.values(column)[:] = value
        frame = reservation.seal(name)
        if key is not None:
            self.held[key] = frame, frame["x"], value
        return frame.descriptor

    def publish_often(self, names: list[str], first: int, count: int, rows: int) -> int:
        """Publish all of them in one step, again and again; the last value."""
        for value in range(first, first + count):
            self.memory.put_all({name: uniform(value, rows + value % 5) for name in names})
        return first + count - 1

    def read_together(self, names: list[str], last: int) -> int:
        """Until ``last`` is seen: who saw a value of one name sees no older one of another."""
        seen = looks = 0
        chance = random.Random(os.getpid())
        while seen < last:
            name = chance.choice(names)
            value, _, version = value_of(self.memory.get(name))
            assert value >= seen, f"{name} was {value} after {seen} had been seen"
            assert version == value, f"{name} version {version} was {value}"
            seen, looks = value, looks + 1
        return looks

    def get(self, name: str, version: int | None = None) -> tuple[int, int, int]:
        return value_of(self.memory.get(name, version))

    def hold(self, key: Any, name: str, how: str = "frame") -> int:
        """Keep a view of the newest version."""
        frame = self.memory.get(name)
        value, _, version = value_of(frame)
        self.held[key] = *_view(self.memory, frame, how), value
        return version

    def attach(self, key: Any, descriptor: BlockDescriptor) -> None:
        frame = self.memory.attach(descriptor)
        self.held[key] = frame, frame["x"], value_of(frame)[0]

    def check(self) -> int:
        """Every view shows what it showed when it was taken; how many there are."""
        for key, (_, array, value) in self.held.items():
            assert np.all(array == value), f"view {key} was {value} and changed"
        return len(self.held)

    def let_go(self, key: Any = None) -> None:
        """Of one view, or of all."""
        if key is None:
            self.held.clear()
        else:
            self.held.pop(key, None)
        gc.collect()

    def fork(self, *told: Any) -> Any:
        """Have a child made by fork do this; it inherits the views. Its answer."""
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            answer = _answer(self, *told)
            self.check()
            self.memory.close()
            with os.fdopen(theirs, "wb") as pipe:
                pipe.write(repr(answer[1]).encode())
            os._exit(0 if answer[0] == "done" else 1)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            text = pipe.read().decode()
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), text


def _view(memory: UnifiedMemory, frame: Frame, how: str) -> tuple[Any, Any]:
    if how == "frame":
        return frame, frame["x"]
    if how == "slice":
        return None, frame["x"][10:20]
    if how == "arrow":
        return None, frame.arrow()["x"].chunk(0).to_numpy()
    if how == "pinned":
        pinned = memory.pin(frame)
        return pinned, pinned["x"]
    return None, by_path(memory.folder / frame.descriptor.path, how)


def _answer(worker: Worker, operation: str, *arguments: Any, **named: Any) -> tuple[str, Any]:
    try:
        return "done", getattr(worker, operation)(*arguments, **named)
    except (NeuralGpuBusError, AssertionError) as error:
        return "failed", error


def _second_rename_dies() -> Any:
    real, done = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        if done:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(path)
        return real(path, target)

    return rename


#: Steps of a publication of several -> what is replaced by sudden death; all before the commit but
#: those that begin so.
DEATHS = actors.DEATHS | {
    "with one file in place, before the others": (Path, "rename", _second_rename_dies()),
    "after the commit, before the files of old versions": (folders, "remove", actors._die),
}
PUBLISHED = ("a", "b", "c")


def die_while_publishing(folder: Path, step: str, answer: Connection) -> None:
    """Publish 4 of all three names, and die at that step."""
    memory = UnifiedMemory(folder, actors.BYTES_MAX)
    setattr(*DEATHS[step])
    memory.put_all({name: actors.uniform(4) for name in PUBLISHED})
    answer.send("still alive")


def publish_for_ever(folder: Path, first: int, started: Connection) -> None:
    """Until it is killed."""
    memory = UnifiedMemory(folder, actors.BYTES_MAX)
    for value in count(first):
        memory.put_all({name: actors.uniform(value) for name in PUBLISHED})
        if value == first:
            started.send(True)


def serve(folder: Path, bytes_max: int, options: Mapping[str, Any], pipe: Connection) -> None:
    """A worker's whole life; ends with its pipe."""
    worker = Worker(folder, bytes_max, options)
    pipe.send(("done", None))
    while True:
        try:
            operation, arguments, named = pipe.recv()
        except EOFError:
            return
        if operation == "watch":
            arguments = (pipe,)
        pipe.send(_answer(worker, operation, *arguments, **named))


class Remote:
    """A worker in a process of its own; ``tell`` is a call there, errors included."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe

    def send(self, operation: str, *arguments: Any, **named: Any) -> None:
        """Tell without waiting; ``answer`` waits."""
        self.pipe.send((operation, arguments, named))

    def answer(self) -> Any:
        state, answer = self.pipe.recv()
        if state == "failed":
            raise answer
        return answer

    def tell(self, operation: str, *arguments: Any, **named: Any) -> Any:
        self.send(operation, *arguments, **named)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


Start = Callable[..., Remote]


@contextmanager
def starting() -> Iterator[Start]:
    """Start workers: ``start(folder, bytes_max, **options)``. All are killed at the end."""
    context = actors.forking()
    running: list[Remote] = []

    def start(folder: Path, bytes_max: int, **options: Any) -> Remote:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(folder, bytes_max, options, theirs), daemon=True
        )
        process.start()
        theirs.close()
        worker = Remote(process, ours)
        running.append(worker)
        worker.answer()
        return worker

    try:
        yield start
    finally:
        for worker in running:
            worker.kill()
