"""Adding records to a journal: who comes at once shares a sync, and what fails leaves no trace."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fix_servers import wait_until
from neural_gpu_bus.errors import DiskFullError, HostError, JournalFullError
from neural_gpu_bus.stores.postgres.write_behind.disk import sync_data
from neural_gpu_bus.stores.postgres.write_behind.journal import Journal, segment_path
from neural_gpu_bus.stores.postgres.write_behind.journal_folder import JournalFolder
from neural_gpu_bus.stores.postgres.write_behind.journal_writer import JournalWriter
from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    Body,
    RecordMetadata,
    encode_body,
)
from neural_gpu_bus.stores.postgres.write_behind.room import Room

BYTES_MAX = 1 << 20


class Desk:
    """A journal in a folder of its own, and its writer with the sync that a test wants."""

    def __init__(self, folder: Path, sync: Callable[[int], None], segment_bytes: int) -> None:
        self.room = Room(BYTES_MAX)
        self.folder = JournalFolder(folder, self.room)
        self.journal: Journal = self.folder.make()
        self.writer = JournalWriter(
            self.journal,
            self.room,
            segment_bytes=segment_bytes,
            on_durable=lambda: None,
            sync=sync,
        )

    def body(self, payload: bytes = b"rows") -> Body:
        metadata = RecordMetadata("bars", "append", (), None, 1, 0)
        return encode_body(metadata, payload, self.journal.name)

    def append(self, payload: bytes = b"rows") -> int:
        return self.writer.append("bars", self.body(payload))

    def payloads(self) -> list[bytes]:
        places = self.journal.head("bars", 1_000_000, 1 << 40)
        records = [self.journal.read(place) for place in places]
        return [bytes(record.payload) for record in records if record is not None]

    def found_again(self) -> list[int]:
        """Sequences that the next process would find."""
        self.journal.let_go()
        (taken,) = JournalFolder(self.folder.folder, Room(BYTES_MAX)).take_over(set())
        found = [place.sequence for place in taken.head("bars", 1_000_000, 1 << 40)]
        taken.let_go()
        return found


Open = Callable[..., Desk]


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Open]:
    made: list[Desk] = []

    def opened(sync: Callable[[int], None] = sync_data, segment_bytes: int = 1 << 16) -> Desk:
        made.append(Desk(tmp_path / "later", sync, segment_bytes))
        return made[-1]

    yield opened
    for desk in made:
        desk.writer.close()
        desk.journal.let_go()


def test_records_come_in_the_order_of_their_sequences(open_desk: Open) -> None:
    desk = open_desk()

    assert [desk.append(b"%d" % n) for n in range(3)] == [1, 2, 3]
    assert desk.payloads() == [b"0", b"1", b"2"]


def test_files_are_this_users_alone(open_desk: Open) -> None:
    desk = open_desk()
    desk.append()

    modes = {path.stat().st_mode & 0o777 for path in desk.folder.folder.rglob("*")}
    assert modes == {0o700, 0o600}
    assert desk.folder.folder.stat().st_mode & 0o777 == 0o700


def test_threads_that_come_at_once_share_a_sync(open_desk: Open) -> None:
    """The first one's sync is held up until the other nine wait."""
    syncs = 0
    go_on = threading.Event()

    def slow_sync(file: int) -> None:
        nonlocal syncs
        syncs += 1
        assert syncs > 1 or go_on.wait(20)
        sync_data(file)

    desk = open_desk(slow_sync)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(desk.append)
        wait_until(lambda: syncs == 1, "the first sync")
        others = [pool.submit(desk.append) for _ in range(9)]
        wait_until(lambda: desk.writer.last_sequence == 10, "the others")
        assert not any(future.done() for future in (first, *others))
        go_on.set()
        sequences = [future.result(20) for future in (first, *others)]

    assert sorted(sequences) == list(range(1, 11))
    assert syncs == 2
    assert desk.found_again() == list(range(1, 11))


def test_a_failed_sync_is_every_waiters_error_and_leaves_nothing(open_desk: Open) -> None:
    """The segment is left: after a failed sync nobody knows what is on disk."""
    fail = True

    def sync(file: int) -> None:
        if fail:
            raise OSError(errno.EIO, "Input/output error")
        sync_data(file)

    desk = open_desk(sync)
    with pytest.raises(HostError, match=r"cannot be used: Input/output error; these rows were not"):
        desk.append()
    fail = False
    desk.append(b"later")

    assert desk.payloads() == [b"later"]
    assert not segment_path(desk.journal.folder, 1).exists()
    assert desk.room.used_bytes == segment_path(desk.journal.folder, 2).stat().st_size
    assert desk.found_again() == [2]


def test_a_full_disk_is_said_and_the_records_before_stay(open_desk: Open) -> None:
    full = False

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync_data(file)

    desk = open_desk(sync)
    desk.append(b"before")
    full = True
    with pytest.raises(DiskFullError, match=r"no room in .*these rows were not taken"):
        desk.append(b"lost")
    full = False
    desk.append(b"after")

    assert desk.payloads() == [b"before", b"after"]
    assert desk.found_again() == [1, 3]


def test_ctrl_c_ends_its_own_call_and_no_other(open_desk: Open) -> None:
    """The thread that writes for others is interrupted: they are written by the next."""
    interrupt = True
    waiting = threading.Event()

    def sync(file: int) -> None:
        nonlocal interrupt
        if interrupt:
            interrupt = False
            assert waiting.wait(20)
            raise KeyboardInterrupt("stop")
        sync_data(file)

    desk = open_desk(sync)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(desk.append, b"interrupted")
        wait_until(lambda: desk.writer.last_sequence == 1, "the first")
        others = [pool.submit(desk.append, b"other") for _ in range(2)]
        wait_until(lambda: desk.writer.last_sequence == 3, "the others")
        waiting.set()
        with pytest.raises(KeyboardInterrupt, match="stop"):
            first.result(20)
        assert {future.result(20) for future in others} == {2, 3}

    assert desk.payloads() == [b"other", b"other"]


def test_a_full_journal_takes_nothing_and_says_why(open_desk: Open) -> None:
    desk = open_desk()
    desk.append(bytes(BYTES_MAX // 2))

    with pytest.raises(JournalFullError, match=r"of 1,048,576 bytes wait for PostgreSQL already"):
        desk.append(bytes(BYTES_MAX // 2))

    assert len(desk.payloads()) == 1
    desk.append(b"small")


def test_segments_go_when_all_in_them_is_done(open_desk: Open) -> None:
    desk = open_desk(segment_bytes=1000)
    for n in range(10):
        desk.append(b"%d" % n + bytes(300))
    assert len(list(desk.journal.folder.glob("*.segment"))) == 5

    desk.journal.drop_through("bars", 5)

    left = sorted(path.name for path in desk.journal.folder.glob("*.segment"))
    assert left == ["00000003.segment", "00000004.segment", "00000005.segment"]
    assert [payload[:1] for payload in desk.payloads()] == [b"5", b"6", b"7", b"8", b"9"]
    desk.writer.close()
    desk.journal.drop_through("bars", 10)
    assert desk.journal.is_delivered
    assert desk.room.used_bytes == 0


def test_a_closed_journal_takes_nothing(open_desk: Open) -> None:
    desk = open_desk()
    desk.writer.close()

    with pytest.raises(HostError, match="after the journal was closed"):
        desk.append()


def test_a_living_process_keeps_its_journals(open_desk: Open) -> None:
    desk = open_desk()
    desk.append()
    other = JournalFolder(desk.folder.folder, Room(BYTES_MAX))

    assert other.take_over(set()) == []
    assert not other.has_leftovers()
    assert desk.found_again() == [1]
    assert other.has_leftovers()
