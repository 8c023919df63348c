"""Names to blocks: LMDB, read without locks in under a microsecond, whole after any crash.

One transaction publishes, drops or evicts. Its lock is also the one under which sessions are made
and swept, and the kernel gives it on when its holder dies (robust mutex). The counters of
``names_clock`` and the records of ``block_ledger`` move with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import lmdb
import msgspec

from neural_gpu_bus.descriptors import BlockDescriptor, EvictedDataset, Region
from neural_gpu_bus.memory.catalog.block_ledger import BlockLedger
from neural_gpu_bus.memory.catalog.environment import close_environment, open_environment, unusable
from neural_gpu_bus.memory.catalog.names import checked_name, is_name, tensor_names, versions_kept
from neural_gpu_bus.memory.catalog.names_clock import NamesClock
from neural_gpu_bus.memory.files.ballast import Ballast, with_ballast
from neural_gpu_bus.memory.files.folder import uuid_head

#: Evicted datasets that are remembered; beyond it all are forgotten, and count as never seen.
EVICTED_KEPT_MAX = 10_000

_COUNT = struct.Struct(">Q")
#: Beginnings of the keys of totals; a region follows.
_BYTES, _NAMES = b"bytes/", b"names/"

_decode = msgspec.msgpack.Decoder(BlockDescriptor).decode
_decode_evicted = msgspec.msgpack.Decoder(EvictedDataset).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class _Change:
    """One write to the index, while it goes on."""

    transaction: lmdb.Transaction = field(init=False)
    names: list[str] = field(default_factory=list)
    gone: list[BlockDescriptor] = field(default_factory=list)
    added: list[BlockDescriptor] = field(default_factory=list)
    #: Newest versions until now, whose pins went on to what replaces them.
    unpinned: list[BlockDescriptor] = field(default_factory=list)
    #: Whether ``gone`` counts as leaving.
    leaving: bool = False


class Index:
    """The datasets of one memory folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Told the region and bytes of each block that goes, before nobody can find it any more:
        #: it takes memory until its file is gone.
        self.leaving: Callable[[Region, int], object] = lambda _region, _nbytes: None
        self._store = open_environment(folder)
        try:
            with self._store.writing():  # one process makes the tables
                self.clock = NamesClock(folder)
                self.ledger = BlockLedger(folder)
                self.ballast = Ballast(folder)
        except BaseException:
            close_environment(self._store)
            raise

    # ---- read

    def newest(self, name: str) -> bytes | None:
        """The newest block of a name, still encoded."""
        try:
            key = name.encode()
        except (AttributeError, UnicodeEncodeError):
            key = checked_name(name)
        store = self._store
        environment = store.enter()
        try:
            transaction = environment.begin(store["newest"])
            found: bytes | None = transaction.get(key)
            transaction.abort()
        except lmdb.BadValsizeError:
            return None  # no key can be that long or empty, so there is no such dataset
        except lmdb.Error as error:
            raise unusable(self._folder, error) from None
        finally:
            store.leave()
        return found

    def version(self, name: str, version: int) -> BlockDescriptor | None:
        """That version while it is kept."""
        with self._store.reading() as transaction:
            raw = transaction.get(checked_name(name), db=self._store["newest"])
            if raw is not None and (found := _decode(raw)).version == version:
                return found
            raw = transaction.get(_versioned(name, version), db=self._store["older"])
        return None if raw is None else _decode(raw)

    def evicted(self, name: str) -> EvictedDataset | None:
        """What is remembered of a dataset that had to make room."""
        if not is_name(name):
            return None
        with self._store.reading() as transaction:
            raw = transaction.get(name.encode(), db=self._store["evicted"])
        return None if raw is None else _decode_evicted(raw)

    def names(self) -> list[str]:
        """All names, sorted."""
        with self._store.reading() as transaction:
            cursor = transaction.cursor(self._store["newest"])
            return [bytes(key).decode() for key in cursor.iternext(values=False)]

    def names_near(self, name: str, count: int) -> list[str]:
        """At most so many names before, and from, the place where this one would stand."""
        with self._store.reading() as transaction:
            cursor = transaction.cursor(self._store["newest"])
            key = name.encode() if is_name(name) else b""
            there = cursor.set_range(key)
            found = [*islice(cursor.iternext(values=False), count)] if there else []
            if (cursor.set_range(key) and cursor.prev()) if there else cursor.last():
                found += islice(cursor.iterprev(values=False), count)
            return [bytes(near).decode() for near in found]

    def blocks(self, prefix: str = "") -> list[BlockDescriptor]:
        """The newest block of each name that begins so, by name."""
        with self._store.reading() as transaction:
            return [
                _decode(raw)
                for _, raw in _from(transaction.cursor(self._store["newest"]), prefix.encode())
            ]

    def totals(self) -> tuple[int, int]:
        """Names, and blocks of all versions."""
        with self._store.reading() as transaction:
            names = transaction.stat(self._store["newest"])["entries"]
            return names, names + transaction.stat(self._store["older"])["entries"]

    def named_bytes(self, region: Region) -> int:
        """Bytes of all versions of the datasets of a region."""
        return self._fact(_BYTES + region.encode())

    def datasets(self, region: Region) -> int:
        """Names whose newest block lies in a region."""
        return self._fact(_NAMES + region.encode())

    def _fact(self, key: bytes) -> int:
        with self._store.reading() as transaction:
            raw = transaction.get(key, db=self._store["facts"])
        return _COUNT.unpack(raw)[0] if raw else 0

    def has_block(self, uuid: bytes) -> bool:
        """Whether a version of some name is that block; ``uuid``: its 16 bytes."""
        with self._store.reading() as transaction:
            return transaction.get(_owner_key(uuid.hex()), db=self._store["owners"]) is not None

    # ---- write

    def publish(
        self,
        blocks: Sequence[BlockDescriptor],
        moves: Sequence[Callable[[], object]],
        *,
        now_ns: int,
    ) -> tuple[list[BlockDescriptor], list[BlockDescriptor]]:
        """Make each block the newest version of its name, all in one step.

        A ``move`` puts the block's file in place: under the writers' lock, so that a sweep sees a
        file and its entry, or neither. Gives the blocks as published, and those that are gone.
        """
        with self._changing([block.name for block in blocks]) as change:
            for block, move in zip(blocks, moves, strict=True):
                self._enter(change, block, now_ns)
                move()
        return change.added, change.gone

    def _enter(self, change: _Change, block: BlockDescriptor, now_ns: int) -> None:
        transaction, key = change.transaction, checked_name(block.name)
        before = transaction.get(key, db=self._store["newest"])
        last, hits, pinned = 0, 0, False
        if before is not None:
            old = _decode(before)
            self._count(transaction, _NAMES, old.region, -1)
            last, hits, pinned = old.version, self.ledger.hits(old), self.ledger.is_pinned(old)
            change.unpinned.append(old)
            transaction.put(_versioned(block.name, last), before, db=self._store["older"])
            oldest = _versioned(block.name, last + 1 - versions_kept(block.name))
            if (raw := transaction.pop(oldest, db=self._store["older"])) is not None:
                self._forget(change, _decode(raw))
        elif (raw := transaction.pop(key, db=self._store["evicted"])) is not None:
            last = _decode_evicted(raw).version
        record = self.ledger.add(block, now_ns, hits)
        published = msgspec.structs.replace(block, version=last + 1, record=record)
        if pinned:
            self.ledger.pin(published, pinned=True)
        change.added.append(published)
        transaction.put(key, _encode(published), db=self._store["newest"])
        transaction.put(
            _owner_key(block.uuid), _encode((block.name, last + 1)), db=self._store["owners"]
        )
        self._count(transaction, _BYTES, block.region, block.nbytes)
        self._count(transaction, _NAMES, block.region, 1)

    @with_ballast
    def drop(self, name: str, *, newest_uuid: str = "") -> list[BlockDescriptor]:
        """Forget every version of a name; the blocks that are gone, none for an unknown name.

        With ``newest_uuid`` only while that block is the newest, else nothing.
        """
        key = checked_name(name)
        with self._changing([name]) as change:
            raw = change.transaction.get(key, db=self._store["newest"])
            if raw is not None and newest_uuid in {"", _decode(raw).uuid}:
                self._remove(change, name)
            elif raw is None:
                change.transaction.pop(key, db=self._store["evicted"])
        return change.gone

    def set_pinned(self, name: str, *, pinned: bool) -> bool:
        """Mark a name's versions, and those to come, as never to be evicted; False if unknown."""
        with self._store.writing() as transaction:
            key = checked_name(name)
            raw = transaction.get(key, db=self._store["newest"])
            if raw is not None:
                self.ledger.pin(_decode(raw), pinned=pinned)
        return raw is not None

    @with_ballast
    def evict(
        self, choose: Callable[[], Iterable[int]], *, now_ns: int, policy: str
    ) -> list[BlockDescriptor]:
        """Forget the blocks of the records that ``choose`` names, and remember that they went.

        ``choose`` is called under the writers' lock. With the newest version of a name its older
        ones go too.
        """
        with self._changing([]) as change:
            for place in choose():
                owner = self._owner(change.transaction, int(self.ledger.records["uuid"][place]))
                if owner is None:
                    continue
                name, version = owner
                self._touch(change, name)
                raw = change.transaction.get(name.encode(), db=self._store["newest"])
                if raw is None or _decode(raw).version != version:
                    self._remove_older(change, name, version)
                    continue
                newest = _decode(raw)
                self._remove(change, name)
                gone = EvictedDataset(version, newest.nbytes, now_ns, policy)
                self._remember(change.transaction, name, gone)
        return change.gone

    def _owner(self, transaction: lmdb.Transaction, head: int) -> tuple[str, int] | None:
        raw = transaction.get(_COUNT.pack(head), db=self._store["owners"])
        return None if raw is None else msgspec.msgpack.decode(raw, type=tuple[str, int])

    def _remember(self, transaction: lmdb.Transaction, name: str, gone: EvictedDataset) -> None:
        if transaction.stat(self._store["evicted"])["entries"] >= EVICTED_KEPT_MAX:
            transaction.drop(self._store["evicted"], delete=False)
        transaction.put(name.encode(), _encode(gone), db=self._store["evicted"])

    def _remove(self, change: _Change, name: str) -> None:
        """All versions of a name that has a newest."""
        transaction = change.transaction
        newest = _decode(transaction.pop(name.encode(), db=self._store["newest"]) or b"")
        self._count(transaction, _NAMES, newest.region, -1)
        self._forget(change, newest)
        for version in range(newest.version - versions_kept(name) + 1, newest.version):
            self._remove_older(change, name, version)

    def _remove_older(self, change: _Change, name: str, version: int) -> None:
        raw = change.transaction.pop(_versioned(name, version), db=self._store["older"])
        if raw is not None:
            self._forget(change, _decode(raw))

    def _forget(self, change: _Change, block: BlockDescriptor) -> None:
        """This block is in no database of names any more, nor what was made of it."""
        transaction = change.transaction
        transaction.delete(_owner_key(block.uuid), db=self._store["owners"])
        self._count(transaction, _BYTES, block.region, -block.nbytes)
        change.gone.append(block)
        derived = tensor_names(block.uuid).encode()
        for key, _ in list(_from(transaction.cursor(self._store["newest"]), derived)):
            self._touch(change, key.decode())
            self._remove(change, key.decode())

    # ---- exclusive

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the writers' lock: nobody publishes meanwhile."""
        with self._store.writing():
            yield

    def settle(self) -> set[str]:
        """After a process was killed, under ``exclusive``: mend what it may have left half done.

        Gives the path of every block.
        """
        known = []
        with self._store.reading() as transaction:
            for database in (self._store["newest"], self._store["older"]):
                known += [_decode(raw) for raw in transaction.cursor(database).iternext(keys=False)]
        self.ledger.keep_only(known)
        self.clock.settle()
        return {block.path for block in known}

    def close(self) -> None:
        """Give up this use; the last one closes the file."""
        close_environment(self._store)

    # ---- inside

    @contextmanager
    def _changing(self, names: Sequence[str]) -> Iterator[_Change]:
        """One transaction, and the counters of its names around it, in one turn."""
        committed = False
        with self._store.turn():
            change = _Change()
            try:
                with self._store.transaction() as change.transaction:
                    for name in names:
                        self._touch(change, name)
                    yield change
                    change.leaving = True
                    self._count_leaving(change.gone, 1)
                committed = True
            finally:
                self._bring_beside(change, committed=committed)

    def _bring_beside(self, change: _Change, *, committed: bool) -> None:
        """Bring what is beside the index to where the index is now.

        Nothing of it is an error: whoever published would take it for one of the publication, and
        a counter left odd, or a record too many, costs speed until the next settles it.
        """
        with suppress(Exception):
            self.clock.end(change.names)
            # An interrupt may have come when all was done.
            if committed or self._is_done(change):
                for block in change.unpinned:
                    self.ledger.pin(block, pinned=False)
            else:
                self._count_leaving(change.gone if change.leaving else [], -1)
                change.gone = change.added
            for block in change.gone:
                self.ledger.remove(block)

    def _is_done(self, change: _Change) -> bool:
        if change.added:
            return self.has_block(bytes.fromhex(change.added[0].uuid))
        return bool(change.gone) and not self.has_block(bytes.fromhex(change.gone[0].uuid))

    def _count_leaving(self, blocks: Iterable[BlockDescriptor], sign: int) -> None:
        for block in blocks:
            self.leaving(block.region, sign * block.nbytes)

    def _touch(self, change: _Change, name: str) -> None:
        self.clock.begin([name])
        change.names.append(name)

    def _count(
        self, transaction: lmdb.Transaction, what: bytes, region: Region, change: int
    ) -> None:
        key = what + region.encode()
        raw = transaction.get(key, db=self._store["facts"])
        total = (_COUNT.unpack(raw)[0] if raw else 0) + change
        transaction.put(key, _COUNT.pack(total), db=self._store["facts"])


def decode(raw: bytes) -> BlockDescriptor:
    """What ``newest`` gave."""
    return _decode(raw)


def _from(cursor: lmdb.Cursor, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys that begin so, and their values."""
    if cursor.set_range(start):
        for key, raw in cursor.iternext():
            if not bytes(key).startswith(start):
                return
            yield bytes(key), bytes(raw)


def _versioned(name: str, version: int) -> bytes:
    # A printable name holds no NUL, so no name is a prefix of another's key.
    return name.encode() + b"\0" + _COUNT.pack(max(version, 0))


def _owner_key(uuid: str) -> bytes:
    """As the records have it."""
    return _COUNT.pack(uuid_head(uuid))
