"""What workers of pools do in the tests of frames, importable by a fresh process."""

from __future__ import annotations

import pickle
from typing import Any

from memory_actors import page_facts
from neural_gpu_bus.memory import Frame


def look(frame: Frame) -> dict[str, Any]:
    """The frame came by pickle: its values, and which pages hold them (Linux)."""
    return {"sum": int(frame["x"].sum()), "names": list(frame), **page_facts(frame["x"])}


def rows_of(pickled: bytes) -> int:
    """Unpickled in the task, not by the pool, which breaks when its own unpickling fails."""
    frame: Frame = pickle.loads(pickled)
    return frame.rows
