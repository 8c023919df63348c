"""Which tables a step is about; what waits for a copy; copies that are given up."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.live.definitions import live_definition
from neural_gpu_bus.live.mirror.followed_table import FollowedTable
from neural_gpu_bus.live.mirror.pending import KeptBytes, PendingChanges
from neural_gpu_bus.live.mirror.table_copy import CopyStoppedError, TableCopy
from neural_gpu_bus.live.mirror.whose_changes import WhoseChanges
from neural_gpu_bus.stores.postgres.replication.transactions import (
    LogicalMessage,
    Relation,
    RowChanges,
    Transaction,
    Truncated,
)
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions


def followed(name: str, oid: int, *leaves: int) -> FollowedTable:
    shape: Any = SimpleNamespace(oid=oid, leaves=leaves, partitioned=bool(leaves))
    return FollowedTable(live_definition(name), 0, shape=shape)


def relation(oid: int) -> Relation:
    return Relation(oid, "public", "t", "d", ())


def changes(oid: int, *values: int) -> RowChanges:
    """One tuple of one byte each."""
    count = len(values)
    return RowChanges(
        relation(oid),
        np.array(values, np.uint8),
        np.full(count, ord("I"), np.uint8),
        np.arange(count),
        np.full(count, -1),
        np.zeros(count, np.uint8),
    )


@pytest.fixture
def tables() -> dict[str, FollowedTable]:
    return {
        "plain": followed("plain", 10),
        "again": followed("again", 10),
        "parts": followed("parts", 20, 21, 22),
    }


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (changes(10, 1), ["plain", "again"]),
        (changes(21, 1), ["parts"]),
        (changes(99, 1), []),
        (Truncated((10, 21, 22), cascade=False, restart=False), ["plain", "again", "parts"]),
        (relation(22), ["parts"]),
        (relation(99), ["parts"]),  # a partition that came since
        (LogicalMessage("ngb.ddl", b"of 20", 1, transactional=True), ["parts"]),
        (LogicalMessage("another", b"", 1, transactional=True), []),
    ],
)
def test_a_step_is_about(tables: dict[str, FollowedTable], step: Any, names: list[str]) -> None:
    def altered(message: LogicalMessage) -> Any:
        if message.prefix != "ngb.ddl":
            return None
        return SimpleNamespace(made={(23, "")}, concerns=lambda oids: 20 in oids)

    whose = WhoseChanges(tables, altered)
    whose.index()

    assert [table.definition.name for table in whose.tables_of(step)] == names


def test_what_waits_is_kept_and_told_apart_by_the_snapshot() -> None:
    pending = PendingChanges(bytes_max=5)
    buffer = np.array([1, 2, 3], np.uint8)
    for xid in (100, 101, 102):
        step = RowChanges(relation(10), buffer, *_one_insert())
        pending.keep(KeptBytes(Transaction(xid, 1, 2, 3, [step], end_byte=3)), [step])
    buffer[:] = 0  # the stream uses it again

    steps: list[Any] = list(pending.unseen(VisibleTransactions(101, 103, frozenset({102}))))

    assert [int(step.buffer[step.new_at[0]]) for step in steps] == [2]
    assert (pending.nbytes, pending.is_full) == (9, True)


def _one_insert() -> tuple[Any, ...]:
    return (
        np.array([ord("I")], np.uint8),
        np.array([1]),
        np.array([-1]),
        np.zeros(1, np.uint8),
    )


def test_a_copy_that_is_given_up_ends() -> None:
    begun = threading.Event()

    def work(copy: TableCopy) -> Any:
        begun.set()
        copy.announce(SimpleNamespace())  # type: ignore[arg-type]

    copy = TableCopy("t", work)
    assert begun.wait(10)
    copy.stop()

    assert copy.is_over
    with pytest.raises(CopyStoppedError, match=r"^$"):
        copy.result()


def test_a_copy_tells_what_went_wrong() -> None:
    def work(copy: TableCopy) -> Any:
        raise QueryError("it is gone", hint="look", sqlstate="42P01")

    copy = TableCopy("t", work)

    with pytest.raises(QueryError, match="it is gone"):
        copy.result()
