"""Record what the demo asks of memory: ``python tools/record_accesses.py [--full] [FILE]``.

Runs ``ngb demo --quick`` (or all of it) with a note at each door to shared memory, and writes the
trace that ``ngb bench eviction`` replays: name, bytes and what loading took, in order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import neural_gpu_bus as ngb
from neural_gpu_bus.benchmarks.demo import DemoOptions, run_demo
from neural_gpu_bus.benchmarks.eviction import traces
from neural_gpu_bus.benchmarks.eviction.traces import RecordedAccess
from neural_gpu_bus.benchmarks.tasks import FULL, QUICK
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.plane import DataPlane
from neural_gpu_bus.ports import RESULT_NAMES

TRACE = Path(traces.__file__).with_name(traces.DEMO_FILE)


class Recorder:
    """Notes the outermost call alone: a query that puts is one access."""

    def __init__(self) -> None:
        self.accesses: list[RecordedAccess] = []
        self._inside = False
        self._numbers: dict[str, str] = {}

    def watch(self, owner: type, method: str, title: Callable[..., str], *, loads: bool) -> None:
        """Note each call of ``owner.method``; its time is the cost where it ``loads``."""
        real = getattr(owner, method)

        def noted(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return real(*arguments, **named)
            self._inside = True
            began_ns = time.perf_counter_ns()
            try:
                frame = real(*arguments, **named)
            finally:
                self._inside = False
            took_ns = time.perf_counter_ns() - began_ns if loads else 0
            self.accesses.append(
                RecordedAccess(title(*arguments[1:], **named), frame.nbytes, took_ns)
            )
            return frame

        setattr(owner, method, noted)

    def numbered(self, kind: str, key: object) -> str:
        """Statements and jobs go by numbers: their text is of no use to a trace."""
        count = sum(name.startswith(kind) for name in self._numbers.values())
        return self._numbers.setdefault(f"{kind} {key}", f"{kind} {count + 1}")

    def of_query(self, sql: str, params: object = None, **named: Any) -> str:
        """A dataset's name, or the statement's number."""
        return str(named.get("name") or self.numbered("query", (sql, params)))

    def of_block(self, descriptor: Any, *_: Any, **_named: Any) -> str:
        """A result's number, or the dataset's name."""
        if descriptor.name and not descriptor.name.startswith(RESULT_NAMES):
            return str(descriptor.name)
        return self.numbered("result", descriptor.uuid)


def record(full: bool) -> list[RecordedAccess]:
    """Run the demo once; its figures are thrown away."""
    recorder = Recorder()
    named = lambda name, *_, **__: str(name)  # noqa: E731
    recorder.watch(DataPlane, "query", recorder.of_query, loads=True)
    recorder.watch(UnifiedMemory, "get", named, loads=False)
    recorder.watch(UnifiedMemory, "put", named, loads=False)
    recorder.watch(
        UnifiedMemory, "share", lambda given: recorder.numbered("share", id(given)), loads=False
    )
    recorder.watch(UnifiedMemory, "attach", recorder.of_block, loads=False)
    options = DemoOptions(repeats=3 if full else 1, scale=FULL if full else QUICK)
    with ngb.open() as plane:
        run_demo(plane, options, clock=time.perf_counter, watcher=_Silent())
    return recorder.accesses


class _Silent:
    def say(self, text: str) -> None:
        print(text)

    def expect(self, steps: int) -> None:
        pass

    def step(self) -> None:
        pass

    def measured(self, result: object) -> None:
        pass


def main() -> None:
    """Record and write, one access a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=TRACE)
    parser.add_argument("--full", action="store_true", help="the whole demo, three timed runs")
    given = parser.parse_args()
    accesses = record(given.full)
    lines = b",\n".join(msgspec.json.encode(access) for access in accesses)
    given.file.write_bytes(b"[\n" + lines + b"\n]\n")
    print(f"{len(accesses)} accesses, {given.file.stat().st_size:,} bytes: {given.file}")


if __name__ == "__main__":
    main()
