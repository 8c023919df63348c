"""Whole transactions out of bytes: none too early, none twice, whatever stands between."""

from __future__ import annotations

import pytest

import stream_bytes as made
from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.replication.transaction_reader import TransactionReader
from neural_gpu_bus.stores.postgres.replication.transactions import (
    LogicalMessage,
    Relation,
    RowChanges,
    StreamBatch,
    Truncated,
    merged_steps,
)
from read_tuples import tuples

A, B = 10, 11
TABLE_A = made.relation(A, "a", [("id", 20, True), ("x", 25, False)])
TABLE_B = made.relation(B, "b", [("id", 20, True)])


def row(number: int, text: str = "x") -> list[made.Value]:
    return [made.int8(number), text.encode()]


class Feed:
    """A reader that is given bytes by hand."""

    def __init__(self, bytes_max: int = 1 << 20) -> None:
        self.buffer = ReceiveBuffer(bytes_max)
        self.reader = TransactionReader(self.buffer)

    def put(self, stream: bytes) -> None:
        self.buffer.view[self.buffer.stop : self.buffer.stop + len(stream)] = stream
        self.buffer.stop += len(stream)
        self.reader.walk.advance()

    def take(self, stream: bytes = b"") -> StreamBatch | None:
        self.reader.forget()
        self.put(stream)
        return self.reader.take() if self.reader.has_whole else None


def only(batch: StreamBatch | None) -> list[object]:
    assert batch is not None
    (transaction,) = batch.transactions
    return list(transaction.steps)


def test_a_transaction_is_handed_out_when_its_end_has_come() -> None:
    feed = Feed()
    stream = made.begin(900, 77, 5) + TABLE_A + made.insert(A, row(1)) + made.commit(900, 950)

    for cut in range(len(stream)):
        assert feed.take(stream[cut : cut + 1]) is None or cut == len(stream) - 1
    batch = feed.reader.take()

    (found,) = batch.transactions
    assert (found.xid, found.final_lsn, found.end_lsn) == (77, 900, 950)
    assert found.committed_ns == 946_684_800_000_005_000
    assert (found.begins, found.ends, found.origin) == (True, True, "")
    assert batch.end_lsn == 950
    assert batch.keepalive_lsn == 0
    relation, changes = found.steps
    assert isinstance(relation, Relation)
    assert isinstance(changes, RowChanges)
    assert changes.relation == relation
    assert bytes(changes.kinds) == b"I"
    assert tuples(changes, "new") == [[made.int8(1), b"x"]]


def test_each_change_has_the_tuples_that_were_sent() -> None:
    stream = made.begin(900) + TABLE_A + made.insert(A, row(1)) + made.update(A, row(2))
    stream += made.update(A, row(3), row(2)) + made.update(A, row(4), [made.int8(3), None], b"O")
    stream += made.delete(A, [made.int8(4), None]) + made.commit(900)

    _, changes = only(Feed().take(stream))

    assert isinstance(changes, RowChanges)
    assert bytes(changes.kinds) == b"IUUUD"
    assert bytes(changes.old_kinds) == b"\0\0KOK"
    assert [found and found[0] for found in tuples(changes, "new")] == [
        *(made.int8(number) for number in (1, 2, 3, 4)),
        None,
    ]
    assert tuples(changes, "old") == [
        None,
        None,
        [made.int8(2), b"x"],
        [made.int8(3), None],
        [made.int8(4), None],
    ]


def test_changes_of_several_tables_are_put_together_between_other_steps() -> None:
    stream = made.begin(900) + TABLE_A + TABLE_B
    for number in range(3):
        stream += made.insert(A, row(number)) + made.insert(B, [made.int8(number)])
    stream += made.truncate([A]) + made.insert(B, [made.int8(9)]) + made.insert(A, row(9))
    stream += made.logical_message("p", b"c") + made.insert(A, row(10)) + made.commit(900)

    steps = only(Feed().take(stream))

    seen = [
        (step.relation.name, [found[0] for found in tuples(step, "new") if found])
        if isinstance(step, RowChanges)
        else type(step)
        for step in steps
    ]
    first = [made.int8(number) for number in range(3)]
    assert seen == [
        Relation,
        Relation,
        ("a", first),
        ("b", first),
        Truncated,
        ("a", [made.int8(9)]),
        ("b", [made.int8(9)]),
        LogicalMessage,
        ("a", [made.int8(10)]),
    ]


def test_a_table_that_is_described_again_is_another_from_there_on() -> None:
    later = made.relation(A, "a", [("id", 20, True), ("y", 25, False)])
    stream = made.begin(900) + TABLE_A + made.insert(A, row(1)) + later
    stream += made.insert(A, row(2)) + made.commit(900)

    _, before, described, after = only(Feed().take(stream))

    assert isinstance(before, RowChanges)
    assert isinstance(after, RowChanges)
    assert before.relation.columns[1].name == "x"
    assert after.relation is described
    assert after.relation.columns[1].name == "y"


def test_a_description_holds_for_later_transactions() -> None:
    feed = Feed()
    feed.take(made.begin(900) + TABLE_A + made.commit(900))

    (changes,) = only(feed.take(made.begin(910) + made.insert(A, row(1)) + made.commit(910)))

    assert isinstance(changes, RowChanges)
    assert changes.relation.name == "a"


def test_the_beginning_of_the_next_transaction_waits_for_its_end() -> None:
    feed = Feed()
    second = made.begin(910) + made.insert(A, row(2)) + made.commit(910)

    batch = feed.take(made.begin(900) + TABLE_A + made.commit(900) + second[:-1])
    assert batch is not None
    assert [found.final_lsn for found in batch.transactions] == [900]

    (changes,) = only(feed.take(second[-1:]))
    assert isinstance(changes, RowChanges)
    assert tuples(changes, "new") == [row(2)]


def test_a_keepalive_may_be_acknowledged_only_outside_of_transactions() -> None:
    feed = Feed()

    alone = feed.take(made.keepalive(800))
    assert alone is not None
    assert (alone.keepalive_lsn, alone.transactions, alone.end_lsn) == (800, [], 800)
    assert not feed.reader.walk.reply_wanted()

    assert feed.take(made.begin(900) + made.keepalive(890, reply=True)) is None
    assert feed.reader.walk.reply_wanted()
    assert not feed.reader.walk.reply_wanted()
    assert feed.reader.received_lsn >= 890

    ended = feed.take(made.commit(900, 905))
    assert ended is not None
    assert (ended.keepalive_lsn, ended.end_lsn) == (0, 905)

    behind = feed.take(made.keepalive(930) + made.begin(940))
    assert behind is not None
    assert behind.end_lsn == 930


def test_messages_that_belong_to_no_transaction_stand_beside() -> None:
    feed = Feed()
    stream = made.logical_message("a", b"1", transactional=False) + made.begin(900)
    stream += made.logical_message("b", b"2", transactional=False)
    stream += made.logical_message("c", b"3") + made.commit(900)

    batch = feed.take(stream)

    assert batch is not None
    assert [message.prefix for message in batch.messages] == ["a", "b"]
    (step,) = only(batch)
    assert isinstance(step, LogicalMessage)
    assert step.prefix == "c"


def test_origin_and_types_are_no_steps() -> None:
    stream = made.begin(900) + made.origin("elsewhere") + made.named_type(5, "mood")

    batch = Feed().take(stream + made.commit(900))

    assert batch is not None
    assert batch.transactions[0].origin == "elsewhere"
    assert only(batch) == []


def test_a_transaction_comes_in_parts_when_asked_for() -> None:
    feed = Feed()
    stream = made.begin(900, 5) + made.origin("else") + TABLE_A + made.insert(A, row(1))
    cut = made.insert(A, row(2))
    feed.put(stream + cut[:10])

    first = feed.reader.take_part()
    (part,) = first.transactions
    assert (part.begins, part.ends, part.end_lsn, first.end_lsn) == (True, False, 0, 0)
    assert isinstance(part.steps[-1], RowChanges)
    assert tuples(part.steps[-1], "new") == [row(1)]

    assert feed.take(cut[10:]) is None
    assert feed.take(made.keepalive(890)) is None
    (part,) = feed.reader.take_part().transactions
    assert (part.xid, part.begins, part.ends, part.origin) == (5, False, False, "else")
    assert tuples(part.steps[0], "new") == [row(2)]

    last = feed.take(made.insert(A, row(3)) + made.commit(900, 950) + made.begin(960))
    assert last is not None
    (part,) = last.transactions
    assert (part.begins, part.ends, part.end_lsn) == (False, True, 950)
    assert tuples(part.steps[0], "new") == [row(3)]


def test_a_kept_transaction_outlives_its_bytes() -> None:
    feed = Feed()
    before = made.begin(890) + TABLE_A + made.commit(890)
    batch = feed.take(
        before + made.begin(900) + made.update(A, row(2), row(1)) + made.commit(900, 910)
    )
    assert batch is not None
    kept = batch.transactions[1].kept()
    size = kept.size_bytes

    feed.take(made.begin(920) + made.insert(A, row(7, "other bytes")) * 9 + made.commit(920))

    (changes,) = kept.steps
    assert isinstance(changes, RowChanges)
    assert tuples(changes, "new") == [row(2)]
    assert tuples(changes, "old") == [row(1)]
    assert (kept.end_lsn, kept.kept().size_bytes) == (910, size)


def test_steps_of_several_transactions_are_merged_by_table() -> None:
    stream = made.begin(900) + TABLE_A + TABLE_B + made.insert(A, row(1)) + made.commit(900)
    stream += made.begin(910) + made.insert(B, [made.int8(5)]) + made.commit(910)
    stream += made.begin(920) + made.update(A, row(2), row(1)) + made.commit(920)
    stream += made.begin(930) + made.truncate([B]) + made.insert(A, row(3)) + made.commit(930)
    batch = Feed().take(stream)
    assert batch is not None

    steps = merged_steps(batch.transactions)[2:]

    first, second, truncated, last = steps
    assert isinstance(first, RowChanges)
    assert bytes(first.kinds) == b"IU"
    assert tuples(first, "new") == [row(1), row(2)]
    assert tuples(first, "old") == [None, row(1)]
    assert isinstance(second, RowChanges)
    assert second.relation.name == "b"
    assert truncated == Truncated((B,), False, False)
    assert isinstance(last, RowChanges)
    assert tuples(last, "new") == [row(3)]


def test_steps_of_kept_transactions_stay_in_their_memory() -> None:
    stream = made.begin(900) + TABLE_A + made.insert(A, row(1)) + made.commit(900)
    stream += made.begin(910) + made.insert(A, row(2)) + made.commit(910)
    batch = Feed().take(stream)
    assert batch is not None

    steps = merged_steps([found.kept() for found in batch.transactions])

    assert [tuples(step, "new") for step in steps[1:]] == [[row(1)], [row(2)]]


def test_more_changes_than_there_is_room_for_at_first() -> None:
    count = 10_000
    stream = made.begin(900) + TABLE_A
    stream += b"".join(made.insert(A, row(number)) for number in range(count)) + made.commit(900)

    _, changes = only(Feed().take(stream))

    assert isinstance(changes, RowChanges)
    assert [found[0] for found in tuples(changes, "new") if found] == [
        made.int8(number) for number in range(count)
    ]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (made.insert(A, row(1)), "stands outside of one"),
        (made.commit(900), "stands outside of one"),
        (TABLE_A, "stands outside of one"),
        (made.begin(900) + made.begin(910), "begins a transaction within another"),
        (made.log_data(b"Z"), "is of no kind that was asked for"),
        (made.log_data(b""), "has a length that none can have"),
        (made.copied(b"x" * 30), "is neither of the log nor a keepalive"),
        (made.copied(b"k"), "is no whole keepalive"),
        (made.keepalive(1)[:-1] + b"\2", "is no whole keepalive"),
        (b"d\0\0\0\3", "has a length that none can have"),
        (b"d\x7f\xff\xff\xff", "has a length that none can have"),
        (made.begin(900) + made.log_data(b"I\0\0\0\1N\0\1x"), "values do not fit"),
        (made.begin(900) + made.log_data(b"I\0\0\0\1N\xff\xff"), "values do not fit"),
        (made.begin(900) + made.log_data(b"I\0\0\0\1N\0\1b\0\0\0\1"), "values do not fit"),
        (made.begin(900) + made.log_data(b"I\0\0\0\1K\0\0"), "no whole change"),
        (made.begin(900) + made.log_data(b"I\0\0\0\1"), "no whole change"),
        (made.begin(900) + made.log_data(b"D\0\0\0\1N\0\0"), "no whole change"),
        (made.begin(900) + made.log_data(b"U\0\0\0\1K\0\0"), "no whole change"),
        (made.begin(900) + made.log_data(b"I\0\0\0\1N\0\0\0"), "no whole change"),
        (made.begin(900) + made.log_data(b"C" + b"\1" + bytes(24)), "begin or end"),
    ],
)
def test_what_is_no_stream_is_refused(stream: bytes, why: str) -> None:
    feed = Feed()

    with pytest.raises(ProtocolError, match=why):
        feed.take(stream + made.keepalive(1))


def test_a_transaction_that_commits_elsewhere_is_refused() -> None:
    with pytest.raises(ProtocolError, match="was announced to commit at 384 and commits at 385"):
        Feed().take(made.begin(900) + made.commit(901))


def test_a_change_of_a_table_that_was_not_described_is_refused() -> None:
    with pytest.raises(ProtocolError, match="changes the relation with OID 10, which it has not"):
        Feed().take(made.begin(900) + made.insert(A, row(1)) + made.commit(900))
