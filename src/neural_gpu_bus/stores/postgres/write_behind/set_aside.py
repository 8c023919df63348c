"""Rows that the server refused, kept with the reason until somebody decides about them.

    <journal>-<sequence>.record     the record as it was in its journal
    <journal>-<sequence>.json       why, for people
    <journal>-<sequence>.settled    it was stored after all, or dropped: the journal must skip it
    <name>.damaged, <name>.json     bytes of a journal that are no record any more

A record is set aside from the moment its ``.record`` is there, synced; its journal skips what has
any file here.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from neural_gpu_bus.errors import BadParameterError, NeuralGpuBusError
from neural_gpu_bus.stores.postgres.write_behind.disk import (
    make_private_folder,
    sync_folder,
    write_file,
)
from neural_gpu_bus.stores.postgres.write_behind.record_format import Record, decode_record

_RECORD, _REASON, _SETTLED, _DAMAGED = ".record", ".json", ".settled", ".damaged"

#: Ids come from people, and become paths.
_ID = re.compile(r"[0-9a-f]+-[0-9a-f]+-[0-9-]+")
_NUMBER = re.compile(r"[0-9]+")


class RefusedRows(msgspec.Struct, frozen=True):
    """Rows that are set aside, and why."""

    #: Names them in ``columns_of``, ``retry`` and ``drop``: ``<journal>-<sequence>``.
    id: str
    journal: str
    #: 0 for damaged bytes.
    sequence: int
    #: Empty for damaged bytes.
    table: str
    rows: int
    #: On disk.
    bytes: int
    #: The server's or this package's own words.
    reason: str
    #: What to do about it.
    hint: str
    #: Class of the error, e.g. ``BadValueError``.
    kind: str
    #: When they were set aside, nanoseconds since 1970-01-01 UTC.
    refused_ns: int


class SetAside:
    """The rows set aside below ``folder``, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, journal: str, sequence: int, data: bytes, record: Record | None, error: Exception
    ) -> RefusedRows:
        """Keep a record's bytes; ``record``: decoded, None where they are no record. Raises
        OSError.
        """
        refused = RefusedRows(
            id=f"{journal}-{sequence}",
            journal=journal,
            sequence=sequence,
            table=record.metadata.table if record else "",
            rows=record.metadata.rows if record else 0,
            bytes=len(data),
            reason=error.what if isinstance(error, NeuralGpuBusError) else repr(error),
            hint=getattr(error, "hint", "") or "see the reason",
            kind=type(error).__name__,
            refused_ns=time.time_ns(),
        )
        self._write(refused, data, _RECORD)
        return refused

    def add_damage(self, name: str, journal: str, data: bytes) -> None:
        """Keep bytes of a journal that are no record. Raises OSError."""
        refused = RefusedRows(
            id=name,
            journal=journal,
            sequence=0,
            table="",
            rows=0,
            bytes=len(data),
            reason=f"{len(data):,} bytes of the journal are damaged; the rows in them, which may "
            "have been acknowledged, cannot be read",
            hint="check the disk; store those rows again if you have them, then drop this",
            kind="ProtocolError",
            refused_ns=time.time_ns(),
        )
        self._write(refused, data, _DAMAGED)

    def _write(self, refused: RefusedRows, data: bytes, suffix: str) -> None:
        make_private_folder(self.folder)
        reason = msgspec.json.format(msgspec.json.encode(refused), indent=2)
        write_file(self.folder / f"{refused.id}{_REASON}", reason)
        write_file(self.folder / f"{refused.id}{suffix}", data)

    def sequences(self, journal: str) -> set[int]:
        """Records of that journal which it must skip."""
        names = (
            path.stem.rpartition("-")[2]
            for suffix in (_RECORD, _SETTLED)
            for path in self.folder.glob(f"{journal}-*{suffix}")
        )
        return {int(name) for name in names if _NUMBER.fullmatch(name)}

    def find(self, journal: str, sequence: int) -> RefusedRows | None:
        """Why that record is set aside; None when it is not."""
        if not (self.folder / f"{journal}-{sequence}{_RECORD}").exists():
            return None
        return self._read(f"{journal}-{sequence}")

    def all(self) -> list[RefusedRows]:
        """All that is set aside, oldest first."""
        names = {path.stem for end in (_RECORD, _DAMAGED) for path in self.folder.glob(f"*{end}")}
        found = (self._read(name) for name in names)
        return sorted((one for one in found if one is not None), key=lambda one: one.refused_ns)

    def count(self) -> int:
        """How many are set aside."""
        return sum(1 for end in (_RECORD, _DAMAGED) for _ in self.folder.glob(f"*{end}"))

    def _read(self, name: str) -> RefusedRows | None:
        try:
            content = (self.folder / f"{name}{_REASON}").read_bytes()
            return msgspec.json.decode(content, type=RefusedRows)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def record(self, name: str) -> Record:
        """The rows that are set aside by that id. Raises BadParameterError."""
        _check_id(name)
        journal, _, _ = name.rpartition("-")
        try:
            record = decode_record((self.folder / f"{name}{_RECORD}").read_bytes(), 0, journal)
        except (FileNotFoundError, ValueError):
            raise _unknown(name) from None
        if record is None:
            raise BadParameterError(
                f"rows {name!r} cannot be read any more: their bytes are damaged",
                hint="drop them, and store them again if you have them",
                parameter="id",
            )
        return record

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Nobody else decides about those rows meanwhile, no thread and no process. Raises
        BadParameterError for an unknown id, also for one that went while this waited.
        """
        _check_id(name)
        file = self._open(name)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file).st_nlink:
                raise _unknown(name)
            yield
        finally:
            # Said, not left to the closing: a child forked meanwhile has the file too.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def _open(self, name: str) -> int:
        for suffix in (_RECORD, _DAMAGED):
            with suppress(FileNotFoundError):
                return os.open(self.folder / f"{name}{suffix}", os.O_RDONLY | os.O_CLOEXEC)
        raise _unknown(name)

    def settle(self, name: str) -> None:
        """They were stored, or are dropped: the journal skips them, nothing else remembers them.
        Raises BadParameterError for an unknown id.
        """
        _check_id(name)
        damaged = self.folder / f"{name}{_DAMAGED}"
        record = self.folder / f"{name}{_RECORD}"
        if damaged.exists():
            damaged.unlink()
        elif record.exists():
            write_file(record.with_suffix(_SETTLED), b"")
            record.unlink(missing_ok=True)
        else:
            raise _unknown(name)
        (self.folder / f"{name}{_REASON}").unlink(missing_ok=True)
        sync_folder(self.folder)

    def settled(self) -> list[str]:
        """Ids of rows that were stored after all, or dropped, and that a journal may still have."""
        return [path.stem for path in self.folder.glob(f"*{_SETTLED}")]

    def forget_settled(self, name: str) -> None:
        """Its journal is gone, so that nothing has to skip it."""
        (self.folder / f"{name}{_SETTLED}").unlink(missing_ok=True)

    def nbytes(self) -> int:
        """On disk."""
        total = 0
        for path in self.folder.glob("*"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total


def _check_id(name: str) -> None:
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise _unknown(name)


def _unknown(name: str) -> BadParameterError:
    return BadParameterError(
        f"no rows are set aside as {name!r}",
        hint="`ngb store-later status` and plane.write_behind.set_aside() list those that are",
        parameter="id",
    )
