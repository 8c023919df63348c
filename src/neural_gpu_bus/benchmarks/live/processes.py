"""Writers and readers in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from neural_gpu_bus.benchmarks.memory.visits import fresh

#: Longest that one is waited for.
ANSWER_S_MAX = 120.0
#: Longest that one may take to end.
_END_S_MAX = 10.0
_READY = "ready"
#: Imported once, by the process that all of them are forked from: each would take 1 to 2 s of CPU
#: for it, beside what is measured. What is not installed is passed over.
_LIBRARIES = (
    "neural_gpu_bus.plane",
    "neural_gpu_bus.live.live_table",
    "neural_gpu_bus.memory.series.kernels",
    "neural_gpu_bus.stores.postgres.store",
    "neural_gpu_bus.stores.redis",
    "neural_gpu_bus.watching",
    "pandas",
    "psycopg2",
)


class Other(NamedTuple):
    """A process that has started; it tells when it is ready, then what it found."""

    process: Any
    pipe: Connection

    def wait_ready(self) -> None:
        """Until it is about to begin."""
        if self.answer() != _READY:
            raise RuntimeError(f"{self.process.name} answered before it was ready")

    def go(self, *told: object) -> None:
        """Let it begin, or tell it something."""
        self.pipe.send(told)

    def answer(self) -> Any:
        """What it says next. TimeoutError, or EOFError where it has ended without."""
        if not self.pipe.poll(ANSWER_S_MAX):
            raise TimeoutError(f"{self.process.name} says nothing for {ANSWER_S_MAX:g} s")
        return self.pipe.recv()


def say_ready(pipe: Connection) -> None:
    """In the other process: it is about to begin."""
    pipe.send(_READY)


@contextmanager
def other(work: Callable[..., None], *given: object) -> Iterator[Other]:
    """A process that runs ``work(pipe, *given)``; ended with the context."""
    context = fresh()
    context.set_forkserver_preload(list(_LIBRARIES))
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *given), daemon=True)
    process.start()
    there.close()
    try:
        yield Other(process, here)
    finally:
        here.close()
        process.join(_END_S_MAX)
        if process.is_alive():
            process.kill()
            process.join()
