"""Who reads a result that several want at once: one, of all threads and processes of a host.

A turn is the kernel's lock (flock) on one of a bounded number of files in the memory folder, so it
goes with its process however that ends, and whoever waits takes over. The file says which query is
read: one that only shares the file is not waited for.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.memory.files.folder import NO_ROOM, TABLES, open_table

#: Files, each made when first used: an inode each, and a page while somebody reads.
TURNS = 1024
#: First and longest pause between two looks.
_PAUSE_S, _PAUSE_S_MAX = 50e-6, 2e-3
_DIGEST_BYTES = 32
_PID_BYTES = 8

_Found = TypeVar("_Found")

#: Files that threads of this process have open: a child made by fork must not keep their locks.
_open: set[int] = set()


class LoadTurns:
    """The turns of one memory folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / TABLES

    @contextmanager
    def taken(
        self, digest: str, wait_s: float, look: Callable[[], _Found | None]
    ) -> Iterator[_Found | None]:
        """Wait until it is our turn to read that query (32 hex digits), or ``look`` finds its
        result; the body gets what it found, None where it has to read.

        Raises QueryTimeoutError when neither has come in ``wait_s``.
        """
        try:
            file = open_table(self._folder / f"query-{int(digest[:8], 16) % TURNS:04d}")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            yield look()  # a full memory: then each reads for himself
            return
        _open.add(file)
        try:
            found, ours = _waited(file, digest.encode(), wait_s, look)
            try:
                yield found
            finally:
                if ours:
                    with suppress(OSError):
                        os.ftruncate(file, 0)
                    # Said, not left to close: a child made meanwhile has the file open as well.
                    fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            _open.discard(file)
            with suppress(OSError):  # closed at a fork, in the child
                os.close(file)


def _waited(
    file: int, digest: bytes, wait_s: float, look: Callable[[], _Found | None]
) -> tuple[_Found | None, bool]:
    """What was found, and whether the lock is ours."""
    pause_s, end_s = _PAUSE_S, time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            with suppress(OSError):  # a full memory: others then wait for us all the same
                os.pwrite(file, digest + os.getpid().to_bytes(_PID_BYTES, "little"), 0)
            return look(), True
        if (found := look()) is not None:
            return found, False
        said = os.pread(file, _DIGEST_BYTES + _PID_BYTES, 0)
        if len(said) > _DIGEST_BYTES and said[:_DIGEST_BYTES] != digest:
            return None, False
        if time.monotonic() > end_s:
            raise _too_late(said, wait_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _PAUSE_S_MAX)


def _too_late(said: bytes, wait_s: float) -> QueryTimeoutError:
    pid = int.from_bytes(said[_DIGEST_BYTES:], "little")
    own = "another thread of this process" if pid == os.getpid() else f"process {pid}"
    who = own if pid else "another process"
    return QueryTimeoutError(
        f"{who} has been reading the same query, and did not finish in {wait_s:g} s",
        hint="give a longer timeout_s, or leave freshness out to read it here as well",
        timeout_s=wait_s,
    )


def _after_fork_in_child() -> None:
    for file in list(_open):
        with suppress(OSError):
            os.close(file)
    _open.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
