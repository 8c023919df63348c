"""The lock that makes one process the keeper of a home, and what it says of its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
import psutil

from neural_gpu_bus.embedded.home import Home, ProcessRecord
from neural_gpu_bus.embedded.processes import living, record_of


def take_lock(home: Home) -> int | None:
    """Descriptor that makes its holder this home's one keeper; None when another holds it.

    The kernel frees it when the holder dies.
    """
    file = os.open(_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def sign_lock(file: int) -> None:
    """Write this process into the lock that it holds, so that it can be named when it is stuck."""
    os.ftruncate(file, 0)
    os.pwrite(file, msgspec.json.encode(record_of("keeper", os.getpid())), 0)


def is_kept(home: Home) -> bool:
    """Whether a keeper lives for that home, ready or not."""
    if not _path(home).exists():
        return False
    file = take_lock(home)
    if file is None:
        return True
    os.close(file)
    return False


def holder(home: Home) -> psutil.Process | None:
    """The process that signed the lock, if it still lives."""
    try:
        record = msgspec.json.decode(_path(home).read_bytes(), type=ProcessRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return next(iter(living([record])), None)


def _path(home: Home) -> Path:
    return home.folder / "keeper.lock"
