"""Whose turn it is to write to the index: a bounded wait in front of LMDB's own lock.

LMDB waits for ever, deaf to Ctrl-C, behind a process that was stopped (SIGSTOP, a debugger) in the
0.1 ms of a transaction. Here the wait is a poll, it ends, and who is waited for is known. The lock
is the kernel's (flock): it goes with its process.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory.files.file_lock import locked_until
from neural_gpu_bus.memory.files.folder import TABLES, open_table

#: A transaction takes under a millisecond; whoever takes longer than this was stopped.
WAIT_S_MAX = 10.0
_PID_BYTES = 8


class WritersTurn:
    """One writer at a time, of all threads and processes of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TABLES / "turn"
        self._lock = threading.Lock()
        self._file = -1

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have the turn. Raises HostError naming the process that keeps it for too long."""
        end = time.monotonic() + WAIT_S_MAX
        if not self._lock.acquire(timeout=WAIT_S_MAX):
            raise self._kept_by(os.getpid())
        try:
            self._wait(end)
            yield
        finally:
            if self._file >= 0:  # also after an interrupt within the wait; harmless without a lock
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self._lock.release()

    def forked_in_child(self) -> None:
        """The file that is open is the parent's, and so is the lock on it."""
        self._lock = threading.Lock()
        self.close()

    def close(self) -> None:
        """Let go of the file, once no thread uses it."""
        if not self._lock.acquire(timeout=WAIT_S_MAX):
            return
        try:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        finally:
            self._lock.release()

    def _wait(self, end: float) -> None:
        if self._file < 0:
            self._file = open_table(self._path)
        if not locked_until(self._file, end):
            pid = int.from_bytes(os.pread(self._file, _PID_BYTES, 0), "little")
            raise self._kept_by(pid)
        os.pwrite(self._file, os.getpid().to_bytes(_PID_BYTES, "little"), 0)

    def _kept_by(self, pid: int) -> HostError:
        state = "gone"
        with suppress(psutil.Error):
            state = psutil.Process(pid).status()
        stopped = state == psutil.STATUS_STOPPED
        return HostError(
            f"process {pid} ({state}) has been writing to the index of shared memory in "
            f"{str(self._path.parent.parent)!r} for over {WAIT_S_MAX:g} s",
            hint=f"it was stopped while it wrote: `kill -CONT {pid}`, or `kill -KILL {pid}`"
            if stopped
            else "try again; `ngb memory` shows who uses the memory",
            folder=str(self._path.parent.parent),
            pid=pid,
        )
