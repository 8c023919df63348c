"""Adds records to a journal: one append and one sync for all threads that come at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from neural_gpu_bus.errors import HostError
from neural_gpu_bus.stores.postgres.write_behind.disk import (
    disk_trouble,
    make_private_file,
    sync_data,
    sync_folder,
    write_pieces,
)
from neural_gpu_bus.stores.postgres.write_behind.journal import Journal, segment_path
from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    SEGMENT_HEADER_BYTES,
    Body,
    encode_header,
    segment_header,
)
from neural_gpu_bus.stores.postgres.write_behind.record_queue import Place
from neural_gpu_bus.stores.postgres.write_behind.room import Room

#: Bytes that one sync may wait for behind other threads' records; one record may have more.
GROUP_BYTES_MAX = 8 << 20


@dataclass(slots=True, eq=False)
class _Entry:
    """A record on its way to the disk."""

    table: str
    body: Body
    header: bytes
    sequence: int
    done: bool = False
    failure: OSError | None = None


class JournalWriter:
    """The writing end of one journal. Thread-safe.

    ``segment_bytes``: a segment that has more is followed by another. ``on_durable`` is called
    when records are on disk.
    """

    def __init__(
        self,
        journal: Journal,
        room: Room,
        *,
        segment_bytes: int,
        on_durable: Callable[[], None],
        sync: Callable[[int], None] = sync_data,
    ) -> None:
        self._journal = journal
        self._room = room
        self._segment_bytes = segment_bytes
        self._on_durable = on_durable
        self._sync = sync
        self._turn = threading.Condition()
        self._pending: list[_Entry] = []
        self._writing = False
        self._closed = False
        self._sequence = 0
        self._file: int | None = None
        self._segment = 0
        #: Up to here the open segment is on disk.
        self._end = 0

    @property
    def last_sequence(self) -> int:
        """Of the newest record, acknowledged or on its way."""
        return self._sequence

    def append(self, table: str, body: Body) -> int:
        """The record's sequence, once it is on disk.

        Raises JournalFullError, DiskFullError and HostError; then the record is not there.
        """
        self._room.take(body.nbytes)
        entry: _Entry | None = None
        try:
            with self._turn:
                entry = self._enter(table, body)
                self._pending.append(entry)
            self._wait_written(entry)
        finally:
            if entry is None or not entry.done or entry.failure is not None:
                self._withdraw(entry, body)
        if entry.failure is not None:
            raise disk_trouble(entry.failure, self._journal.folder) from entry.failure
        return entry.sequence

    def _enter(self, table: str, body: Body) -> _Entry:
        if self._closed:
            raise HostError("rows come after the journal was closed", hint="open a new plane")
        self._sequence += 1
        header = encode_header(body, self._sequence, self._journal.name)
        return _Entry(table, body, header, self._sequence)

    def _wait_written(self, entry: _Entry) -> None:
        """Until some thread has written it: this one, or one that was at it."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: entry.done or not self._writing)
                if entry.done:
                    return
                group = self._take_group()
                self._writing = True
            self._write_for_all(group, entry)

    def _take_group(self) -> list[_Entry]:
        count, nbytes = 0, 0
        for entry in self._pending:
            nbytes += entry.body.nbytes
            if count and nbytes > GROUP_BYTES_MAX:
                break
            count += 1
        group, self._pending = self._pending[:count], self._pending[count:]
        return group

    def _write_for_all(self, group: list[_Entry], mine: _Entry) -> None:
        """Write the group. What is no failure of the disk, a Ctrl-C, ends this thread's alone."""
        failure: BaseException | None = None
        end = -1
        try:
            end = self._open_segment(group)
            self._write(group, end)
        except BaseException as error:  # noqa: BLE001  (raised again below)
            failure = error
        is_written = end >= 0 and self._end == end
        try:
            self._publish(group) if is_written else self._undo()
        except BaseException as error:  # noqa: BLE001  (Ctrl-C just now; raised again below)
            failure = error
            self._publish(group) if is_written else self._undo()
        disk_failure = failure if isinstance(failure, OSError) else None
        with self._turn:
            self._writing = False
            if is_written or disk_failure is not None:
                for entry in group:
                    entry.failure, entry.done = None if is_written else disk_failure, True
            else:
                self._pending[:0] = [entry for entry in group if entry is not mine]
            self._turn.notify_all()
        if failure is not None and disk_failure is None:
            raise failure

    def _open_segment(self, group: list[_Entry]) -> int:
        """A segment with room for the group; where it will end then."""
        nbytes = sum(entry.body.nbytes for entry in group)
        if self._file is not None and self._end + nbytes > self._segment_bytes:
            self._close_segment()
        if self._file is None:
            self._segment += 1
            self._file = make_private_file(segment_path(self._journal.folder, self._segment))
            self._room.add(SEGMENT_HEADER_BYTES)
            self._end = SEGMENT_HEADER_BYTES
            self._journal.add_segment(self._segment, self._end, is_open=True)
            header = segment_header(self._journal.name, self._segment)
            write_pieces(self._file, [header], 0)
            sync_folder(self._journal.folder)
        return self._end + nbytes

    def _write(self, group: list[_Entry], end: int) -> None:
        assert self._file is not None  # noqa: S101  (opened just before)
        pieces = [
            piece
            for entry in group
            for piece in (entry.header, entry.body.metadata, entry.body.payload)
        ]
        write_pieces(self._file, pieces, self._end)
        self._sync(self._file)
        # The one assignment that says that the group is on disk, for when Ctrl-C comes here.
        self._end = end

    def _publish(self, group: list[_Entry]) -> None:
        position = self._end - sum(entry.body.nbytes for entry in group)
        places = []
        for entry in group:
            place = Place(self._segment, position, entry.body.nbytes, entry.sequence)
            places.append((entry.table, place))
            position += entry.body.nbytes
        self._journal.add_records(places, self._segment, self._end)
        self._on_durable()

    def _undo(self) -> None:
        """Cut off what was written in part. After a failed sync nobody knows which pages are on
        disk (Linux reports it once, then takes them for clean), so a new segment follows.
        """
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._end)
            self._sync(self._file)
        except OSError:
            pass  # never acknowledged: the next process finds it torn, or delivers it
        self._close_segment()

    def _close_segment(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
            self._journal.close_segment(self._segment)

    def _withdraw(self, entry: _Entry | None, body: Body) -> None:
        """The record is not there; another thread may be writing it just now."""
        with self._turn:
            if entry in self._pending:
                self._pending.remove(entry)
        self._room.give_back(body.nbytes)

    def retire_segment(self) -> None:
        """Let the open segment go with its last record, where nobody writes just now."""
        with self._turn:
            if not self._writing:
                self._close_segment()

    def close(self) -> None:
        """Take no more records; those on their way are finished first."""
        with self._turn:
            self._closed = True
            self._turn.wait_for(lambda: not self._writing and not self._pending)
            self._close_segment()

    def forget(self) -> None:
        """In the child of a fork: the file is the parent's."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
