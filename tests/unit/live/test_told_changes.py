"""What is counted of changes: before anybody sees them, and until PostgreSQL shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_gpu_bus.live.changes import words as layout
from neural_gpu_bus.live.changes.changes_view import ChangesView
from neural_gpu_bus.live.changes.told_changes import ToldChanges
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres.replication.pgoutput import LogicalMessage
from neural_gpu_bus.stores.postgres.replication.transactions import Transaction
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions


@pytest.fixture
def folder(memory_folder: Path) -> Iterator[Path]:
    memory = UnifiedMemory(memory_folder, 64 << 20)
    yield memory_folder
    memory.close()


def transaction(xid: int, **other: object) -> Transaction:
    return Transaction(xid, 1, 2, 3, **other)  # type: ignore[arg-type]


def shows(text: str) -> VisibleTransactions:
    return VisibleTransactions.parse(text)


def test_a_change_is_counted_for_its_tables_alone(folder: Path) -> None:
    told, view = ToldChanges(folder), ChangesView(folder)
    told.cover("bars", 16_400, True)
    told.cover("orders", 16_500, True)
    before = view.look()
    told.tell(transaction(700), ["bars", "nobody knows"])
    after = view.look()
    places = view.covering()
    assert after.counts[places[16_400]] == before.counts[places[16_400]] + 1
    assert after.counts[places[16_500]] == before.counts[places[16_500]]
    assert (before.unseen, after.unseen) == ([], [700])
    assert after.definitions == before.definitions


def test_definitions_and_parts_of_one_transaction(folder: Path) -> None:
    told, view = ToldChanges(folder), ChangesView(folder)
    before = view.look()
    message = LogicalMessage("ngb.ddl", b"{}", 1, True)
    told.tell(transaction(7, steps=[message], ends=False), [])
    told.tell(transaction(7, begins=False), [])
    after = view.look()
    assert (after.definitions, after.unseen) == (before.definitions + 1, [7])


def test_what_is_shown_need_not_be_looked_at_and_what_waits_stays(folder: Path) -> None:
    told, view = ToldChanges(folder), ChangesView(folder)
    for xid in (10, 11, 12):
        told.tell(transaction(xid), [])
    told.seen(shows("10:13:10"))
    assert view.look().unseen == [10]
    assert told.waits
    told.tell(transaction(13), [])
    assert view.look().unseen == [10, 13]
    told.seen(shows("14:14:"))
    assert view.look().unseen == []
    assert not told.waits


def test_more_than_can_be_told_is_said(folder: Path) -> None:
    told, view = ToldChanges(folder), ChangesView(folder)
    for xid in range(1, layout.RING + 2):
        told.tell(transaction(xid), [])
    assert view.look().unseen is None
    told.seen(shows(f"{layout.RING}:{layout.RING + 5}:{layout.RING}"))
    assert view.look().unseen == [layout.RING]


def test_a_table_is_told_of_or_not_and_its_count_never_comes_again(folder: Path) -> None:
    clock = [1_000]
    told, view = ToldChanges(folder, clock_ns=lambda: clock[0]), ChangesView(folder)
    told.cover("bars", 16_400, True)
    place, seen = view.covering()[16_400], set()
    seen.add(view.look().counts[place])
    arranged = view.look().arranged
    told.cover("bars", 16_400, True)  # nothing new
    assert view.look().arranged == arranged
    told.cover("bars", 16_400, False)
    assert view.covering() == {}
    seen.add(view.look().counts[place])
    told.drop("bars")
    seen.add(view.look().counts[place])
    told.cover("others", 16_500, True)
    assert view.covering() == {16_500: place}
    seen.add(view.look().counts[place])
    ToldChanges(folder)
    assert view.covering() == {}
    seen.add(view.look().counts[place])
    assert len(seen) == 5


def test_how_long_nobody_asked(folder: Path) -> None:
    clock = [10**9]
    told, view = ToldChanges(folder, clock_ns=lambda: clock[0]), ChangesView(folder)
    assert told.unused_s("bars") == 0
    told.cover("bars", 16_400, False)
    clock[0] = 10 * 10**9
    assert told.unused_s("bars") == 0
    told.cover("bars", 16_400, True)
    clock[0] += 5 * 10**9
    assert told.unused_s("bars") == 5
    view.use(view.covering()[16_400], clock[0])
    assert told.unused_s("bars") == 0


def test_two_files_are_told_apart(folder: Path) -> None:
    first = ChangesView(folder).file.file_id
    assert ChangesView(folder).file.file_id == first
    (folder / "live" / layout.FILE).unlink()
    assert ChangesView(folder).file.file_id != first


def test_no_more_tables_than_there_are_places(folder: Path) -> None:
    told, view = ToldChanges(folder), ChangesView(folder)
    for number in range(layout.TABLES_MAX + 1):
        told.cover(f"t{number}", 20_000 + number, True)
    assert len(view.covering()) == layout.TABLES_MAX
    told.drop("t7")
    told.cover("one more", 30_000, True)
    assert view.covering()[30_000] == 7
