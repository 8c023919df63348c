"""What workers of pools do in the tests of frames, importable by a fresh process."""

from __future__ import annotations

from typing import Any

from memory_actors import page_facts
from neural_gpu_bus.memory import Frame


def look(frame: Frame) -> dict[str, Any]:
    """The frame came by pickle: its values, and which pages hold them (Linux)."""
    return {"sum": int(frame["x"].sum()), "names": list(frame), **page_facts(frame["x"])}


def sum_of(frame: Frame) -> int:
    """Of the values, if they are still there."""
    return int(frame["x"].sum())


def negative(number: int) -> int:
    """Anything, to see that the pool works."""
    return -number
