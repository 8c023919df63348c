"""How much memory this process may count on: the machine's, or its container's where that is less.

Shared memory is charged to the container as well; beyond its limit the kernel kills instead of
answering with an error, so every default that scales with memory scales with this.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import psutil

#: Version 2 of control groups, then version 1.
LIMIT_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@cache
def usable_memory_bytes() -> int:
    """The smaller of the machine's memory and the container's limit."""
    return min(psutil.virtual_memory().total, container_limit_bytes())


def container_limit_bytes(files: tuple[Path, ...] = LIMIT_FILES) -> int:
    """The control group's limit; ``sys.maxsize`` where there is none."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else sys.maxsize
    return sys.maxsize
