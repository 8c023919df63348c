"""What other processes do in the tests of frames, importable by a fresh process."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from pathlib import Path

from neural_gpu_bus.memory import Frame, UnifiedMemory


def sum_and_inode(frame: Frame) -> tuple[int, int]:
    """The frame came by pickle."""
    from memory_actors import page_facts

    inode = int(page_facts(frame["x"])["inode"]) if sys.platform == "linux" else 0
    return int(frame["x"].sum()), inode


def columns_and_rows(frame: Frame) -> tuple[list[str], int]:
    return list(frame), frame.rows


def tell_values(frame: Frame, answer: Connection) -> None:
    answer.send(frame["x"].tolist())


def first_value(folder: Path, name: str) -> float:
    return float(UnifiedMemory(folder, 256 << 20).get(name)["x"][0])
