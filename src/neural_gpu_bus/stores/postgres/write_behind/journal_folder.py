"""Where the journals of one home and one server lie, and whose each is.

    journals/<time>-<id>/    lock, 00000001.segment, ...    rows that wait
    done/<time>-<id>/                                        all delivered; the ledger may forget it
    set-aside/                                               see ``set_aside``

A journal's folder is made whole under another name and then renamed: nobody sees one without its
lock held. It moves to ``done`` by one rename, and is never delivered from there.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

import structlog

from neural_gpu_bus.stores.postgres.write_behind.disk import (
    make_private_file,
    make_private_folder,
    sync_folder,
)
from neural_gpu_bus.stores.postgres.write_behind.journal import (
    LOCK,
    Journal,
    lock_journal,
    segment_numbers,
    segment_path,
)
from neural_gpu_bus.stores.postgres.write_behind.record_queue import Place
from neural_gpu_bus.stores.postgres.write_behind.room import Room
from neural_gpu_bus.stores.postgres.write_behind.segment_scan import (
    SegmentScan,
    scan_segment,
)
from neural_gpu_bus.stores.postgres.write_behind.set_aside import SetAside

_log = structlog.get_logger(__name__)

#: A draft that old was left by a process that ended while it made a journal.
_DRAFT_S_MAX = 60.0

#: Of a journal's folder: when it was made, and by chance.
_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{12}")


class JournalFolder:
    """The journals below ``folder``; made when the first one is."""

    def __init__(self, folder: Path, room: Room) -> None:
        self.folder = folder
        self.set_aside = SetAside(folder / "set-aside")
        self._journals = folder / "journals"
        self._done = folder / "done"
        self._room = room
        self._refused: set[str] = set()
        self._told: set[str] = set()

    def make(self) -> Journal:
        """A new journal, locked. Raises OSError."""
        for needed in (self._journals, self._done):
            make_private_folder(needed)
        name = f"{self._next_time_ns():020d}-{uuid.uuid4().hex[:12]}"
        draft = self._journals / f".{name}"
        draft.mkdir(mode=0o700)
        lock = make_private_file(draft / LOCK)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_folder(draft)
        draft.rename(self._journals / name)
        sync_folder(self._journals)
        return Journal(self._journals / name, lock, self._room)

    def _next_time_ns(self) -> int:
        """Now, and behind every journal that waits, whatever became of the clock."""
        newest_ns = max((int(name.partition("-")[0]) for name in _names(self._journals)), default=0)
        return max(time.time_ns(), newest_ns + 1)

    def has_leftovers(self) -> bool:
        """Whether there is a journal whose process has ended, or what is left of one."""
        if any(_names(self._done)):
            return True
        for name in _names(self._journals):
            lock = lock_journal(self._journals / name)
            if lock is not None:
                os.close(lock)
                return True
        return False

    def take_over(self, own: Collection[str]) -> list[Journal]:
        """Journals whose processes have ended, now this one's, oldest first; ``own``: names of
        those that it has already.
        """
        taken = []
        for name in _names(self._journals):
            if name in own or name in self._refused:
                continue
            lock = lock_journal(self._journals / name)
            if lock is None:
                continue
            journal = Journal(self._journals / name, lock, self._room)
            try:
                self._read_journal(journal)
            except Exception as error:  # noqa: BLE001  (one journal must not hold up the others)
                self._leave(journal, error)
                continue
            taken.append(journal)
        self._sweep_drafts()
        return taken

    def _leave(self, journal: Journal, error: Exception) -> None:
        """It cannot be read: by this version never, or not just now."""
        self._room.give_back(journal.nbytes)
        journal.let_go()
        if not isinstance(error, OSError):
            self._refused.add(journal.name)
        if journal.name not in self._told:
            self._told.add(journal.name)
            _log.warning("a journal cannot be read", journal=journal.name, error=str(error))

    def _read_journal(self, journal: Journal) -> None:
        numbers = segment_numbers(journal.folder)
        skipped = self.set_aside.sequences(journal.name)
        for number in numbers:
            nbytes, scan = self._scan(journal, number, number == numbers[-1])
            self._room.add(nbytes)
            journal.add_segment(number, nbytes, is_open=True)
            found = (
                (record.table, Place(number, record.position, record.nbytes, record.sequence))
                for record in scan.records
                if record.sequence not in skipped
            )
            journal.add_records(found, number, nbytes)
            journal.close_segment(number)

    def _scan(self, journal: Journal, number: int, is_last: bool) -> tuple[int, SegmentScan]:
        """Bytes of a segment, and what is in it; damage in it is set aside."""
        data = segment_path(journal.folder, number).read_bytes()
        scan = scan_segment(data, journal.name, number, is_last=is_last)
        for start, end in scan.damages:
            self._set_damage_aside(journal.name, number, start, data[start:end])
        if scan.torn_at is not None:
            _log.info(
                "the torn end of a journal, never acknowledged, is left out",
                journal=journal.name,
                bytes=len(data) - scan.torn_at,
            )
        return len(data), scan

    def _set_damage_aside(self, journal: str, number: int, start: int, data: bytes) -> None:
        self.set_aside.add_damage(f"{journal}-{number:08d}-{start}", journal, data)
        _log.warning(
            "a journal is damaged: its bytes are set aside, the rest is delivered",
            journal=journal,
            segment=number,
            position=start,
            bytes=len(data),
        )

    def finish(self, journal: Journal) -> None:
        """All of it is delivered: from here on nobody reads it. Raises OSError."""
        make_private_folder(self._done)
        journal.folder.rename(self._done / journal.name)
        sync_folder(self._journals)
        sync_folder(self._done)
        journal.let_go()

    def finished(self) -> list[str]:
        """Journals that the ledger may forget."""
        return list(_names(self._done))

    def settled(self) -> list[str]:
        """Rows set aside and settled whose journals are gone."""
        ids = self.set_aside.settled()
        return [one for one in ids if not (self._journals / one.rpartition("-")[0]).exists()]

    def forget(self, name: str) -> None:
        """The ledger knows it no more."""
        shutil.rmtree(self._done / name, ignore_errors=True)

    def others_bytes(self, own: Collection[str]) -> int:
        """What other processes' journals and the rows set aside take on the disk."""
        total = self.set_aside.nbytes()
        for name in _names(self._journals):
            if name not in own:
                total += _folder_bytes(self._journals / name)
        return total

    def count(self) -> int:
        """Journals that are not delivered, of all processes."""
        return sum(1 for _ in _names(self._journals))

    def all_bytes(self) -> int:
        """What everything here takes on the disk."""
        return self.others_bytes(())

    def _sweep_drafts(self) -> None:
        try:
            drafts = list(self._journals.glob(".*"))
        except OSError:
            return
        for draft in drafts:
            try:
                is_old = time.time() - draft.stat().st_mtime > _DRAFT_S_MAX
            except FileNotFoundError:
                continue
            if is_old:
                shutil.rmtree(draft, ignore_errors=True)


def _names(folder: Path) -> Iterator[str]:
    """Journals there, oldest first; what is none is left alone."""
    try:
        found = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:
        return
    yield from sorted(name for name in found if _NAME.fullmatch(name))


def _folder_bytes(folder: Path) -> int:
    total = 0
    try:
        for entry in os.scandir(folder):
            total += entry.stat().st_size
    except FileNotFoundError:
        pass  # delivered meanwhile
    return total
