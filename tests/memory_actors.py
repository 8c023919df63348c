"""What other processes do in the tests of unified memory, importable by a fresh process."""

from __future__ import annotations

import atexit
import faulthandler
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
import time
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.memory import Frame, UnifiedMemory, memory_use
from neural_gpu_bus.memory.catalog.names_clock import NamesClock
from neural_gpu_bus.memory.files import folder as folders
from neural_gpu_bus.memory.writing import block_file

BYTES_MAX = 256 << 20
COLUMNS = 4
#: What the actors of all tests need. Python has one server for all that a session forks, and who
#: starts it says what it has loaded: an actor that imports for itself takes 0.4 to 0.7 s of CPU
#: instead of 0.05, and a hundred of them, on busy cores, longer than a test may.
LOADED = (
    "__main__",
    "memory_actors",
    "memory_workers",
    "bus_actors",
    "frame_actors",
    "live_actors",
    "live_oracle_readers",
    "query_actors",
    "series_actors",
    "write_behind_actor",
    "pandas",
)
#: Where a process of ours writes its stacks to when it gets SIGUSR1.
STACKS = "NGB_TEST_STACKS"
STACKS_S_MAX = 10.0

if STACKS in os.environ:
    faulthandler.register(signal.SIGUSR1, os.open(os.environ[STACKS], os.O_WRONLY | os.O_APPEND))


def forking() -> Any:
    """Processes that start in milliseconds: forked from a server that has the libraries loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    before = os.environ.get("PYTHONPATH", "")
    if STACKS not in os.environ:
        file, os.environ[STACKS] = tempfile.mkstemp(prefix="ngb-test-stacks-")
        os.close(file)
        atexit.register(Path(os.environ[STACKS]).unlink, missing_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), before])
    try:
        forkserver.ensure_running()
    finally:
        os.environ["PYTHONPATH"] = before
    return context


def stacks(pid: int) -> str:
    """Where all threads of a process that such a server has forked stand, and what the machine
    has to do.
    """
    file = Path(os.environ[STACKS])
    before = file.stat().st_size
    os.kill(pid, signal.SIGUSR1)
    told, end_s = "", time.monotonic() + STACKS_S_MAX
    # The outermost call of the main thread is the last one.
    while "in <module>" not in told and time.monotonic() < end_s:
        time.sleep(0.01)
        told = file.read_bytes()[before:].decode()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"load {load}; it stands at\n{told or 'no line of Python: it ignores signals'}"


def loaded(answer: Connection) -> None:
    """Which of what actors need is there at a process's beginning."""
    answer.send([name for name in LOADED if name in sys.modules])


def page_facts(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Where an array's first page comes from, as the kernel has it (Linux)."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            _, protection, _, device, inode, *_ = line.split()
            break
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        pagemap.seek(address // os.sysconf("SC_PAGE_SIZE") * 8)
        entry = struct.unpack("<Q", pagemap.read(8))[0]
    return {
        "protection": protection,
        "device": device,
        "inode": inode,
        #: Physical page; 0 without CAP_SYS_ADMIN.
        "frame": entry & ((1 << 55) - 1),
    }


def tell_pages(folder: Path, name: str, answer: Connection) -> None:
    frame = UnifiedMemory(folder, BYTES_MAX).get(name)
    total = float(frame["x"].sum())
    answer.send({**page_facts(frame["x"]), "sum": total, "writeable": frame["x"].flags.writeable})


def uniform(value: int) -> dict[str, Any]:
    """Columns that hold one value everywhere, as many rows as the value says: mixtures show."""
    rows = 1_000 + value % 7 * 1_000
    columns: dict[str, Any] = {f"c{place}": np.full(rows, value) for place in range(COLUMNS)}
    return columns | {"t": pa.array([str(value)] * rows)}


def check_uniform(frame: Frame) -> int:
    """The one value; AssertionError where the frame is a mixture."""
    value = int(frame["c0"][0])
    for name, column in uniform(value).items():
        assert frame.rows == len(column)
        assert pa.array(column).cast(frame.arrow()[name].type).equals(frame.arrow()[name].chunk(0))
    return value


def write_for_ever(folder: Path, first: int, started: Connection) -> None:
    memory = UnifiedMemory(folder, BYTES_MAX)
    held = [memory.put("uniform/0", uniform(first))]
    started.send(True)
    value = first
    while True:
        memory.put(f"uniform/{value % 3}", uniform(value))
        held = [*held[-2:], memory.share(uniform(value))]
        if value % 5 == 0:
            memory.drop(f"uniform/{value % 3}")
        value += 1


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _rename_and_die(path: Path, target: Path) -> None:
    path.replace(target)
    _die()


#: Step of a ``put`` -> what is replaced by sudden death.
DEATHS: dict[str, tuple[Any, str, Any]] = {
    "with the file made": (block_file, "allocate", _die),
    "with the block filled": (folders, "seal_file", _die),
    "in the transaction": (Path, "rename", _die),
    "with the file in place, before the commit": (Path, "rename", _rename_and_die),
    "after the commit, before the counter of the name": (NamesClock, "end", _die),
    "after the counter of the name": (memory_use.MemoryUse, "remove", _die),
}


def die_while_putting(folder: Path, step: str, answer: Connection) -> None:
    memory = UnifiedMemory(folder, BYTES_MAX)
    setattr(*DEATHS[step])
    memory.put("uniform", uniform(4))
    answer.send("still alive")


def hold_and_stop(folder: Path, answer: Connection) -> None:
    memory = UnifiedMemory(folder, BYTES_MAX)
    held = memory.share({"x": np.arange(5)})
    reservation = memory.reserve(pa.schema([("x", pa.int64())]), 1_000_000)
    answer.send((held.descriptor, str(reservation.file.path)))
    signal.pause()


def get_for_ever(folder: Path, answer: Connection) -> None:
    memory = UnifiedMemory(folder, BYTES_MAX)
    answer.send(True)
    looks = 0
    while not answer.poll(0):
        frame = memory.get("x")
        assert (frame["x"] == frame.rows).all()
        looks += 1
    answer.send(looks)


def column_sum(frame: Frame) -> float:
    """For a pool: the frame came by pickle."""
    return float(frame["x"].sum())


def unpickle_error(pickled: bytes, answer: Connection) -> None:
    import pickle

    try:
        pickle.loads(pickled).arrow()
        answer.send(None)
    except NeuralGpuBusError as error:
        answer.send(error)


def attach_error(folder: Path, descriptor: BlockDescriptor) -> str | None:
    try:
        UnifiedMemory(folder, BYTES_MAX).attach(descriptor)
    except NeuralGpuBusError as error:
        return type(error).__name__
    return None


def after_fork(memory: UnifiedMemory, inherited: Frame, answer: Connection) -> None:
    """In a child forked from a process that uses the memory."""
    own = memory.share({"x": np.arange(3)})
    memory.put("from the child", {"x": [float(inherited["x"].sum())]})
    answer.send((memory.get("before")["x"].tolist(), own.descriptor.path))
    memory.close()
