"""Who writes a group: a lock that the kernel gives back, however its holder ends."""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import suppress
from pathlib import Path

import psutil

from neural_gpu_bus.errors import DatasetEvictedError, SeriesBusyError

WRITER = "writer"
#: What the file of a group that nobody writes holds: room for a pid in decimal digits.
NOBODY = bytes(32)


class WriterLock:
    """Held by one process; on a descriptor of its own, because closing any other descriptor of
    the file must not end it.
    """

    def __init__(self, folder: Path, group: str) -> None:
        """Raises SeriesBusyError with the pid of the process that holds it, DatasetEvictedError
        where the group was dropped.
        """
        try:
            self._descriptor = os.open(folder / WRITER, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _dropped(group) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = int(os.pread(self._descriptor, len(NOBODY), 0).split(b"\0")[0] or 0)
            os.close(self._descriptor)
            raise SeriesBusyError(
                f"group {group!r} is being written by process {pid}",
                hint="a group has one writer; stop that one, or write another group",
                group=group,
                pid=pid,
            ) from None
        if not (folder / WRITER).exists():  # dropped between opening it and holding it
            os.close(self._descriptor)
            raise _dropped(group)
        os.pwrite(self._descriptor, str(os.getpid()).encode().ljust(len(NOBODY), b"\0"), 0)
        #: Also where its writer was forgotten without being closed.
        self._end = weakref.finalize(self, _given_back, self._descriptor)
        _held.add(self)

    def close(self) -> None:
        """Give it back."""
        _held.discard(self)
        self._end()

    def leave(self) -> None:
        """In a child made by fork: it is the parent's, and must end with the parent."""
        self._end.detach()
        with suppress(OSError):
            os.close(self._descriptor)


def _given_back(descriptor: int) -> None:
    os.pwrite(descriptor, NOBODY, 0)
    os.close(descriptor)


def writer_pid(folder: Path) -> int:
    """The process that writes a group; 0 for none. Asks no lock: a writer that opens now must not
    find it taken. So a killed one's pid is told of until it is nobody's.
    """
    pid = int((folder / WRITER).read_bytes().split(b"\0")[0] or 0)
    return pid if pid and psutil.pid_exists(pid) else 0


def _dropped(group: str) -> DatasetEvictedError:
    return DatasetEvictedError(
        f"group {group!r} of series was dropped",
        hint="make it anew: plane.series(name, schema, key=..., group=...)",
        name=group,
        version=0,
    )


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_held):
        lock.leave()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
