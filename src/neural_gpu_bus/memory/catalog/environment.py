"""The LMDB environment of a memory folder: opened once a process, closed around a fork.

LMDB forbids a second environment on the same file in one process (closing one drops the locks of
both), so the planes of a process share one. And it forbids to use one in a child made by fork, or
to close it there (that would free the parent's reader slots), or to open another beside it. So the
parent closes it for the moment of the fork, when no thread of it reads or writes, and both open
their own at the next use.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from neural_gpu_bus.errors import ClosedError, HostError
from neural_gpu_bus.memory.catalog.writers_turn import WritersTurn
from neural_gpu_bus.memory.files.folder import (
    INDEX,
    Identity,
    gone,
    identity,
    memory_full,
    no_room_told,
    open_table,
)
from neural_gpu_bus.memory.files.mapping import allocate

#: Room for the index: about 400,000 datasets of ten columns. The file grows only as it is used.
INDEX_BYTES_MAX = 1 << 30
#: Processes and threads that may read at the same instant.
READERS_MAX = 1024
DATABASES = ("newest", "older", "facts", "owners", "evicted")
#: Longest that a fork, or the end, waits for other threads' transactions, each of microseconds.
FORK_WAIT_S = 5.0

#: What LMDB calls a write that put down less than was asked: in shared memory, the last free pages.
_SHORT_WRITE = os.strerror(errno.EIO)

#: By identity, as sessions are.
_environments: dict[Identity, Environment] = {}
_opening = threading.Lock()


class Environment:
    """The databases of one folder. Every use stands between ``enter`` and ``leave``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = identity(folder)
        self.planes = 0
        self._lock = threading.Lock()
        self._users = 0
        self._lmdb: lmdb.Environment | None = None
        self._parents: lmdb.Environment | None = None
        self._databases: dict[str, Any] = {}
        self._turn = WritersTurn(folder)
        self._closed = False
        self._lock_file = -1

    def enter(self) -> lmdb.Environment:
        """Use it until ``leave``; opens it where a fork closed it or nobody opened it yet.

        Raises HostError in a child made by fork where the parent could not close it, ClosedError
        after the end: opened once more, nobody would close it, and LMDB opens none beside it.
        """
        with self._lock:
            self._check_open()
            if self._parents is not None:
                raise _in_use_at_fork(self.folder)
            if self._lmdb is None:
                self._open()
            self._users += 1
            assert self._lmdb is not None  # noqa: S101  opened, or an error was raised
            return self._lmdb

    def leave(self) -> None:
        """Used it."""
        with self._lock:
            self._users -= 1
            if self._closed and not self._users:
                self._close()

    def __getitem__(self, name: str) -> Any:
        """One of ``DATABASES``, while it is used."""
        return self._databases[name]

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        """A transaction that reads. Raises HostError where the index cannot be used."""
        with lmdb_told(self.folder):
            environment = self.enter()
            try:
                with environment.begin() as transaction:
                    yield transaction
            finally:
                self.leave()

    @contextmanager
    def writing(self) -> Iterator[lmdb.Transaction]:
        """The one transaction of the folder that writes; others wait. Raises as its two parts."""
        with self.turn(), self.transaction() as transaction:
            yield transaction

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the one who writes. Raises HostError where another has been writing for too long."""
        self._check_open()
        with self._turn.taken():
            yield

    @contextmanager
    def transaction(self) -> Iterator[lmdb.Transaction]:
        """What is written within a turn in one step.

        Raises SharedMemoryFullError where there is no room for it.
        """
        with lmdb_told(self.folder):
            environment = self.enter()
            try:
                with environment.begin(write=True) as transaction:
                    yield transaction
            finally:
                self.leave()

    def close(self) -> None:
        """For ever: whoever comes later is told. A thread stuck in a transaction closes it."""
        self._closed = True
        self._hold_back_uses()
        if not self._users:
            self._close()
        self._lock.release()
        self._turn.close()

    def close_for_fork(self) -> None:
        """Hold all uses back until ``forked``; without a wait that a stuck thread could make long.

        Where one is still in a transaction after ``FORK_WAIT_S`` the environment stays open, and
        the child can use none: LMDB takes it for its parent.
        """
        self._hold_back_uses()
        if not self._users:
            self._close()

    def forked_in_parent(self) -> None:
        """Uses may go on."""
        self._lock.release()

    def forked_in_child(self) -> None:
        """The parent's threads are not here, nor what they use."""
        self._lock = threading.Lock()
        self._users = 0
        # Held, not closed: that would free the parent's reader slots.
        self._parents, self._lmdb = self._lmdb or self._parents, None
        self._turn.forked_in_child()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(
                f"the memory in {str(self.folder)!r} is closed in this process",
                hint="open another: with ngb.open() as plane: ...",
            )

    def _hold_back_uses(self) -> None:
        """Take ``_lock``, if it can be while nobody is in a transaction."""
        end = time.monotonic() + FORK_WAIT_S
        self._lock.acquire()
        while self._users and time.monotonic() < end:
            self._lock.release()
            time.sleep(0.0005)
            self._lock.acquire()

    def _open(self) -> None:
        """A reader writes into LMDB's lock file through a map, which is SIGBUS where a full tmpfs
        has no page for it: so all of its pages are allocated, the first before LMDB is there.

        The file stays open beside LMDB's own: closing it would end LMDB's locks on it (POSIX).
        """
        if identity(self.folder) != self.identity:  # after a fork: the other one has its own
            raise gone(self.folder)
        with no_room_told(self.folder, 0):
            self._lock_file = open_table(self.folder / INDEX / "lock.mdb")
            try:
                allocate(self._lock_file, os.fstat(self._lock_file).st_size or mmap.PAGESIZE)
                self._open_lmdb()
                allocate(self._lock_file, os.fstat(self._lock_file).st_size)
            except BaseException:
                self._close()
                raise

    def _open_lmdb(self) -> None:
        with lmdb_told(self.folder):
            environment = lmdb.open(
                str(self.folder / INDEX),
                map_size=INDEX_BYTES_MAX,
                max_dbs=len(DATABASES),
                max_readers=READERS_MAX,
                mode=0o600,
                # A crashed process leaves its writes with the kernel, and a crashed host leaves no
                # memory at all: nothing is gained by syncing.
                sync=False,
                metasync=False,
                # Through write(), because a full tmpfs is ENOSPC there and SIGBUS in a map.
                writemap=False,
            )
            try:
                environment.reader_check()
                self._databases = {name: environment.open_db(name.encode()) for name in DATABASES}
            except BaseException:
                environment.close()
                raise
        _share_with_group(self.folder / INDEX)
        self._lmdb = environment

    def _close(self) -> None:
        if self._lmdb is not None:
            self._lmdb.close()
            self._lmdb = None
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1


def open_environment(folder: Path) -> Environment:
    """The folder's environment, for one more plane of this process."""
    with _opening:
        made = Environment(folder)
        environment = _environments.setdefault(made.identity, made)
        environment.planes += 1
        return environment


def close_environment(environment: Environment) -> None:
    """One plane less; the last one closes it."""
    with _opening:
        environment.planes -= 1
        if environment.planes == 0:
            _environments.pop(environment.identity, None)
            environment.close()


def _share_with_group(index: Path) -> None:
    if not index.stat().st_mode & stat.S_IWGRP:
        return
    for file in index.iterdir():
        if file.stat().st_uid == os.geteuid():
            file.chmod(0o660)


@contextmanager
def lmdb_told(folder: Path) -> Iterator[None]:
    """Turn LMDB's errors into this package's."""
    try:
        yield
    except (lmdb.MapFullError, lmdb.DiskError) as error:
        raise memory_full(folder, 0, str(error)) from None
    except lmdb.Error as error:
        if _SHORT_WRITE in str(error):
            raise memory_full(folder, 0, "the last page was written in part") from None
        raise unusable(folder, error) from None


def unusable(folder: Path, error: lmdb.Error) -> HostError:
    """The index cannot be read or written."""
    return HostError(
        f"the index of shared memory in {str(folder)!r} cannot be used: {error}",
        hint="stop what uses it (`ngb down`) and remove that folder; it holds no lasting data",
        folder=str(folder),
    )


def _in_use_at_fork(folder: Path) -> HostError:
    return HostError(
        f"this process was forked while another thread had been using the index in {str(folder)!r} "
        f"for over {FORK_WAIT_S:g} s, so it cannot use it",
        hint="start processes by forkserver or spawn, or before threads use the memory",
        folder=str(folder),
    )


def _before_fork() -> None:
    _opening.acquire()
    for environment in _environments.values():
        environment.close_for_fork()


def _after_fork_in_parent() -> None:
    for environment in _environments.values():
        environment.forked_in_parent()
    _opening.release()


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603  held by the thread that forked, which is this one
    _opening = threading.Lock()
    for environment in _environments.values():
        environment.forked_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
