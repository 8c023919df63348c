"""Names to blocks: LMDB, read without locks in under a microsecond, whole after any crash.

One transaction publishes. Its lock is also the one under which sessions are made and swept, and the
kernel gives it on when its holder dies (robust mutex).
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import msgspec

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import BadParameterError, HostError
from neural_gpu_bus.memory.folder import memory_full
from neural_gpu_bus.ports import RESULT_NAMES

#: Room for the index: about 400,000 datasets of ten columns. The file grows only as it is used.
INDEX_BYTES_MAX = 256 << 20
#: Processes and threads that may read at the same instant.
READERS_MAX = 1024
#: Versions of a name that can be had: the newest, and the one before, for whoever looked it up
#: just now or holds its descriptor in a queue.
VERSIONS_KEPT = 2
#: LMDB's keys end at 511 bytes, and a version goes behind the name.
NAME_BYTES_MAX = 480

_TOTAL_KEY = b"bytes"
_COUNT = struct.Struct(">Q")

_decode = msgspec.msgpack.Decoder(BlockDescriptor).decode
_encode = msgspec.msgpack.Encoder().encode

#: LMDB forbids a second environment on the same file in one process (closing one drops the locks of
#: both), so planes of one process share theirs. Guarded by the lock; emptied in a forked child.
_open_environments: dict[Path, tuple[lmdb.Environment, int]] = {}
_opening = threading.Lock()
#: Environments inherited from a parent: never used, and never closed either, which would free the
#: parent's reader slots.
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603  another thread of the parent may hold it for ever
    _opening = threading.Lock()
    _inherited.append(dict(_open_environments))
    _open_environments.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def checked_name(name: str) -> bytes:
    """The name as a key; BadParameterError where it cannot be one."""
    printable = isinstance(name, str) and name.isprintable()
    key = name.encode() if printable else b""
    if not key or len(key) > NAME_BYTES_MAX:
        raise BadParameterError(
            f"{name!r} is no name for a dataset",
            hint=f"use 1 to {NAME_BYTES_MAX} bytes of printable text, e.g. 'bars/AAPL'",
            parameter="name",
        )
    return key


def check_given_name(name: str) -> None:
    """BadParameterError for what is no name, or one of a job's result, which a worker may drop."""
    checked_name(name)
    if name.startswith(RESULT_NAMES):
        raise BadParameterError(
            f"{name!r} is a name for the result of a job: names in {RESULT_NAMES!r} are dropped by "
            "workers",
            hint="choose another beginning",
            parameter="name",
        )


class Index:
    """The datasets of one memory folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = _open_environment(folder)
        with self._translated():
            self._newest = self._environment.open_db(b"newest")
            self._older = self._environment.open_db(b"older")
            self._facts = self._environment.open_db(b"facts")

    def newest(self, name: str) -> bytes | None:
        """The newest block of a name, still encoded: cheap to compare with what is mapped."""
        try:
            key = name.encode()
        except (AttributeError, UnicodeEncodeError):
            key = checked_name(name)
        try:
            transaction = self._environment.begin(self._newest)
            found: bytes | None = transaction.get(key)
            transaction.abort()
        except lmdb.BadValsizeError:
            return None  # no key can be that long or empty, so there is no such dataset
        except lmdb.Error as error:
            raise _unusable(self._folder, error) from None
        return found

    def version(self, name: str, version: int) -> BlockDescriptor | None:
        """That version while it is kept."""
        with self._translated(), self._environment.begin() as transaction:
            raw = transaction.get(checked_name(name), db=self._newest)
            if raw is not None and (found := _decode(raw)).version == version:
                return found
            raw = transaction.get(_versioned(name, version), db=self._older)
        return None if raw is None else _decode(raw)

    def publish(self, block: BlockDescriptor, move: Callable[[], object]) -> _Published:
        """Make ``block`` the newest version of its name; ``move`` puts its file in place.

        Both happen under the writers' lock, so a sweep sees a file and its entry, or neither.
        """
        key = checked_name(block.name)
        with self._translated(), self._environment.begin(write=True) as transaction:
            before = transaction.get(key, db=self._newest)
            last = _decode(before).version if before is not None else 0
            published = msgspec.structs.replace(block, version=last + 1)
            gone = []
            if before is not None:
                transaction.put(_versioned(block.name, last), before, db=self._older)
                oldest = _versioned(block.name, last + 1 - VERSIONS_KEPT)
                if (raw := transaction.pop(oldest, db=self._older)) is not None:
                    gone.append(_decode(raw))
            transaction.put(key, _encode(published), db=self._newest)
            self._count(transaction, block.nbytes - sum(old.nbytes for old in gone))
            move()
        return published, gone

    def drop(self, name: str, *, newest_uuid: str = "") -> list[BlockDescriptor]:
        """Forget every version of a name; the blocks that are gone, none for an unknown name.

        With ``newest_uuid`` only while that block is the newest, else nothing.
        """
        key = checked_name(name)
        with self._translated(), self._environment.begin(write=True) as transaction:
            raw = transaction.get(key, db=self._newest)
            if raw is None:
                return []
            gone = [_decode(raw)]
            if newest_uuid and gone[0].uuid != newest_uuid:
                return []
            transaction.delete(key, db=self._newest)
            for version in range(gone[0].version - VERSIONS_KEPT + 1, gone[0].version):
                older = transaction.pop(_versioned(name, version), db=self._older)
                gone += [] if older is None else [_decode(older)]
            self._count(transaction, -sum(block.nbytes for block in gone))
        return gone

    def names(self) -> list[str]:
        """All names, sorted."""
        with self._translated(), self._environment.begin(self._newest) as transaction:
            return [key.decode() for key in transaction.cursor().iternext(values=False)]

    def blocks(self, prefix: str) -> list[BlockDescriptor]:
        """The newest block of each name that begins so, by name."""
        found, start = [], prefix.encode()
        with self._translated(), self._environment.begin(self._newest) as transaction:
            cursor = transaction.cursor()
            if cursor.set_range(start):
                for key, raw in cursor.iternext():
                    if not key.startswith(start):
                        break
                    found.append(_decode(raw))
        return found

    def totals(self) -> tuple[int, int, int]:
        """Names, blocks (all versions) and bytes in the index."""
        with self._translated(), self._environment.begin() as transaction:
            names = transaction.stat(self._newest)["entries"]
            older = transaction.stat(self._older)["entries"]
            raw = transaction.get(_TOTAL_KEY, db=self._facts)
        return names, names + older, _COUNT.unpack(raw)[0] if raw else 0

    @contextmanager
    def exclusive(self) -> Iterator[set[str]]:
        """Hold the writers' lock: nobody publishes meanwhile. Gives the path of every block."""
        with self._translated(), self._environment.begin(write=True) as transaction:
            known = set()
            for database in (self._newest, self._older):
                for value in transaction.cursor(database).iternext(keys=False):
                    known.add(_decode(value).path)
            yield known

    def close(self) -> None:
        """Give up this use; the last one closes the file."""
        with _opening:
            found = _open_environments.get(self._folder)
            if found is None or found[0] is not self._environment:
                return
            if found[1] == 1:
                del _open_environments[self._folder]
                found[0].close()
            else:
                _open_environments[self._folder] = found[0], found[1] - 1

    def _count(self, transaction: lmdb.Transaction, change: int) -> None:
        raw = transaction.get(_TOTAL_KEY, db=self._facts)
        total = (_COUNT.unpack(raw)[0] if raw else 0) + change
        transaction.put(_TOTAL_KEY, _COUNT.pack(total), db=self._facts)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.MapFullError, lmdb.DiskError) as error:
            raise memory_full(self._folder, 0, str(error)) from None
        except lmdb.Error as error:
            raise _unusable(self._folder, error) from None


_Published = tuple[BlockDescriptor, list[BlockDescriptor]]


def _versioned(name: str, version: int) -> bytes:
    # A printable name holds no NUL, so no name is a prefix of another's key.
    return name.encode() + b"\0" + _COUNT.pack(max(version, 0))


def _open_environment(folder: Path) -> lmdb.Environment:
    with _opening:
        if folder in _open_environments:
            environment, uses = _open_environments[folder]
            _open_environments[folder] = environment, uses + 1
            return environment
        try:
            environment = lmdb.open(
                str(folder / "index"),
                map_size=INDEX_BYTES_MAX,
                max_dbs=3,
                max_readers=READERS_MAX,
                mode=0o600,
                # A crashed process leaves its writes with the kernel, and a crashed host leaves no
                # memory at all: nothing is gained by syncing.
                sync=False,
                metasync=False,
                # Through write(), because a full tmpfs is ENOSPC there and SIGBUS in a map.
                writemap=False,
            )
            environment.reader_check()
        except lmdb.DiskError as error:
            raise memory_full(folder, 0, str(error)) from None
        except lmdb.Error as error:
            raise _unusable(folder, error) from None
        _open_environments[folder] = environment, 1
        return environment


def _unusable(folder: Path, error: lmdb.Error) -> HostError:
    return HostError(
        f"the index of shared memory in {str(folder)!r} cannot be used: {error}",
        hint="stop what uses it (`ngb down`) and remove that folder; it holds no lasting data",
        folder=str(folder),
    )
