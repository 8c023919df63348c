"""Cases of applying that somebody lost data by, one at a time; see also the equivalence test."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ColumnNotFoundError,
    UnsupportedTypeError,
)
from neural_gpu_bus.live.applying.applied_table import AppliedTable, ApplyCounts, NeedsCopyError
from neural_gpu_bus.live.applying.set_up import remarks
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.series import SeriesGroup
from neural_gpu_bus.memory.series.series import Series
from neural_gpu_bus.memory.series.writer import SeriesWriter
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.replication.pgoutput import Truncated
from neural_gpu_bus.stores.postgres.replication.table_shapes import ColumnShape
from plain_live_changes import (
    OID,
    SCHEMA,
    UNCHANGED,
    PlainChanges,
    PlainRelation,
    PlainTable,
    PlainTuples,
    Row,
    as_arrow,
    counted,
    plain_definition,
)

LONG = "much longer than what stays in the row"


def row(number: int, second: int = 0, **more: Any) -> Row:
    plain: Row = {
        "id": number,
        "instrument": "a",
        "venue": 1,
        "ts": datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC).replace(tzinfo=None),
        "price": 1.0,
        "note": "short",
        "is_open": True,
        "day": date(2024, 1, 1),
    }
    return plain | more


@dataclass
class Followed:
    table: PlainTable
    applied: AppliedTable
    series: Series
    writer: SeriesWriter

    def apply(self) -> ApplyCounts:
        found = self.applied.apply(self.table.take_steps())
        self.writer.publish()
        assert counted(self.series.arrow().to_pylist()) == counted(self.table.rows)
        return found


@pytest.fixture
def group(memory_folder: Path) -> SeriesGroup:
    return SeriesGroup.create(memory_folder, "g")


def follow(
    group: SeriesGroup,
    writer: SeriesWriter,
    *,
    identity: str = "d",
    columns: tuple[str, ...] = ("id",),
    key: tuple[str, ...] = ("instrument",),
    order_by: str | None = "ts",
) -> Followed:
    table = PlainTable(identity, columns, random.Random(0))
    series = group.series("t", SCHEMA, list(key), order_by)
    definition = plain_definition(key, order_by)
    applied = AppliedTable(writer, "t", table.shape(), definition, PlainTuples())
    return Followed(table, applied, series, writer)


@pytest.fixture
def writer(group: SeriesGroup) -> Iterator[SeriesWriter]:
    with group.writer() as opened:
        yield opened


def test_a_text_that_was_not_sent_follows_its_row_through_changes_of_the_key(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    followed = follow(group, writer)
    followed.table.insert(row(1, note=LONG))
    followed.table.insert(row(2))
    followed.apply()

    followed.table.update(0, row(7, note=LONG))
    followed.table.update(0, row(8, note=LONG, price=2.0, instrument="b"))
    followed.table.update(0, row(9, note=LONG, second=5))
    followed.table.insert(row(1, note="another with the first key"))

    assert followed.apply() == ApplyCounts(4, removed=1, added=2)
    assert LONG in followed.series.arrow()["note"].to_pylist()


def test_a_row_that_a_filter_lets_in_without_all_its_values_needs_a_copy(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    """The server sends such an update as an insert, and leaves out what is stored out of line."""
    followed = follow(group, writer)
    changes = of_partition(PlainTable("d", ("id",), random.Random(0), [row(1)]), OID, row(1))
    changes[0].buffer[0][SCHEMA.names.index("note")] = UNCHANGED

    with pytest.raises(NeedsCopyError, match="without its value of 'note', stored out of line"):
        followed.applied.apply(changes)


def test_truncate_between_rows_of_one_transaction(group: SeriesGroup, writer: SeriesWriter) -> None:
    followed = follow(group, writer)
    followed.table.insert(row(1))
    followed.apply()

    followed.table.insert(row(2))
    followed.table.update(0, row(1, price=3.0))
    followed.table.truncate()
    followed.table.insert(row(1, note=LONG))
    followed.table.update(0, row(1, note=LONG, price=4.0))

    assert followed.apply() == ApplyCounts(2, removed=0, added=1, truncated=True)


def test_truncate_of_some_partitions_of_a_table_needs_a_copy(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    followed = follow(group, writer)
    shape = followed.table.shape()
    leaves = [msgspec.structs.replace(shape.relations[0], oid=OID + at) for at in (1, 2)]
    shape = msgspec.structs.replace(shape, partitioned=True, relations=tuple(leaves))
    applied = AppliedTable(
        writer, "t", shape, plain_definition(("instrument",), "ts"), PlainTuples()
    )

    assert applied.apply([Truncated((OID + 1, OID + 2), False, False)]).truncated
    with pytest.raises(NeedsCopyError, match="some of its partitions were truncated"):
        applied.apply([Truncated((OID + 1,), False, False)])


def test_a_row_that_moves_between_partitions_of_a_table_and_back(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    """The stream has changes of each partition together: which came first is not told."""
    followed = follow(group, writer, columns=("id", "ts"))
    followed.table.insert(row(1))
    followed.apply()
    away, back = row(1, price=2.0), row(1, price=3.0)
    first = PlainTable("d", ("id", "ts"), random.Random(1), [row(1)])
    first.delete(0)
    first.insert(back)
    second = PlainTable("d", ("id", "ts"), random.Random(1))
    second.insert(away)
    second.delete(0)

    for order in (1, -1):
        steps = [*of_partition(first, OID + 1), *of_partition(second, OID + 2)][::order]
        followed.applied.apply(steps)
        writer.discard()
        followed.applied.discarded()
    followed.applied.apply(steps)
    writer.publish()

    assert counted(followed.series.arrow().to_pylist()) == counted([back])


def of_partition(table: PlainTable, oid: int, *more: Row) -> list[PlainChanges]:
    """Changes of a table as if it were a partition; they stay to be taken again."""
    for one in more:
        table.insert(one | {"id": one["id"] + 100})
    table.close_step()
    joined = PlainTuples().joined(table.steps)
    relation = PlainRelation(oid, table.names)
    return [PlainChanges(relation, joined.buffer, joined.kinds, joined.new_at, joined.old_at)]


def test_equal_rows_without_a_key_of_their_own_go_one_by_one(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    followed = follow(group, writer, identity="f", columns=())
    for _ in range(9):
        followed.table.insert(row(1, price=None, note=LONG))
    followed.apply()
    for _ in range(7):
        followed.table.delete(0)
    followed.table.update(0, row(1, price=5.0, note=LONG))
    followed.apply()

    assert sorted(followed.series.arrow()["price"].to_pylist(), key=str) == [5.0, None]


def test_rows_with_one_order_value_are_told_apart(group: SeriesGroup, writer: SeriesWriter) -> None:
    followed = follow(group, writer)
    for number in range(200):
        followed.table.insert(row(number))
    followed.apply()
    for at in range(0, 200, 3):
        followed.table.update(at, row(followed.table.rows[at]["id"], price=-1.0))
    followed.apply()


def test_an_index_is_kept_up_to_date(group: SeriesGroup, writer: SeriesWriter) -> None:
    followed = follow(group, writer)
    for number in range(50):
        followed.table.insert(row(number, second=number))
    followed.apply()
    assert followed.applied.index_bytes == 0

    for second in (10, 20, 30):
        followed.table.update(0, row(0, second=second, instrument="ab"[second // 10 % 2]))
        followed.table.insert(row(100 + second, second=second))
        followed.apply()
        followed.table.delete(len(followed.table.rows) - 1)
        followed.apply()
    assert followed.applied.index_bytes > 0


def test_a_change_of_a_row_that_is_not_there_needs_a_copy(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    followed = follow(group, writer)
    followed.table.insert(row(1))
    followed.table.take_steps()
    followed.table.update(0, row(1, price=2.0))

    with pytest.raises(NeedsCopyError, match=r"row \{'id': 1\} changed, and is not among"):
        followed.applied.apply(followed.table.take_steps())


@pytest.mark.parametrize("name", ["instrument", "ts"])
def test_null_in_key_or_order_names_the_row(
    group: SeriesGroup, writer: SeriesWriter, name: str
) -> None:
    followed = follow(group, writer)
    followed.table.insert(row(1))
    followed.table.insert(row(2, **{name: None}))

    with pytest.raises(BadValueError, match=rf"row \{{'id': 2\}} .* has NULL in '{name}'"):
        followed.applied.apply(followed.table.take_steps())
    with pytest.raises(BadValueError, match=rf"has NULL in '{name}'"):
        followed.applied.copy_rows(as_arrow(followed.table.rows))


def test_rows_that_were_discarded_unsaid_are_missed(
    group: SeriesGroup, writer: SeriesWriter
) -> None:
    followed = follow(group, writer)
    followed.applied.copy_rows(as_arrow([row(1), row(2)]))
    writer.discard()

    with pytest.raises(NeedsCopyError, match="it was given 2 rows and holds 0"):
        followed.applied.apply([])
    followed.applied.discarded()
    followed.applied.check_rows()


def test_a_table_whose_rows_never_change(group: SeriesGroup, writer: SeriesWriter) -> None:
    table = PlainTable("n", (), random.Random(0))
    series = group.series("t", SCHEMA, [], None)
    definition = plain_definition((), None, append_only=True)
    applied = AppliedTable(writer, "t", table.shape(), definition, PlainTuples())
    writer.publish()
    assert series.rows() == 0

    table.rows = [row(1)]
    applied.copy_rows(as_arrow(table.rows))
    table.delete(0)
    with pytest.raises(NeedsCopyError, match="its changes name no row"):
        applied.apply(table.take_steps())


@pytest.mark.parametrize(
    ("key", "order_by", "what"),
    [
        (("more",), "ts", "'more'"),
        (("price",), "ts", r"'price' \(double\) cannot be part of a key"),
        (("id",), "price", r"rows cannot be ordered by 'price'"),
    ],
)
def test_types_that_a_series_does_not_take_are_named_with_the_way_out(
    memory: UnifiedMemory, key: tuple[str, ...], order_by: str, what: str
) -> None:
    oids = {"id": 20, "ts": 1184, "price": 701, "more": 1009}  # text[]
    columns = [source_column(name, oid) for name, oid in oids.items()]
    if "more" not in key:
        columns = columns[:3]
    table = PlainTable("d", ("id",), random.Random(0)).shape()
    shapes = tuple(ColumnShape(1, name, oid, -1, "", True) for name, oid in oids.items())
    table = msgspec.structs.replace(table, columns=shapes)
    definition = plain_definition(key, order_by)
    with (
        memory.growing.writer("live", make=True) as writer,
        pytest.raises(UnsupportedTypeError, match=what) as refused,
    ):
        AppliedTable.create(memory.growing, writer, "live", "t@1", table, definition, columns)
    assert "leave the column out: columns=[...]" in refused.value.hint


def test_what_cannot_be_live_as_declared() -> None:
    by_id = PlainTable("d", ("id",), random.Random(0)).shape()
    without = PlainTable("d", (), random.Random(0)).shape()

    with pytest.raises(ColumnNotFoundError, match="has no column 'instrumnt'"):
        AppliedTable.check(by_id, plain_definition(("instrumnt",), None))
    with pytest.raises(BadParameterError, match="leave out 'id', by which PostgreSQL tells"):
        AppliedTable.check(by_id, plain_definition((), "ts", columns=("ts", "price")))
    with pytest.raises(BadParameterError, match="has no replica identity"):
        AppliedTable.check(without, plain_definition((), "ts"))
    AppliedTable.check(without, plain_definition((), "ts", append_only=True))


def test_columns_that_may_be_null_are_remarked() -> None:
    shape = PlainTable("d", ("id",), random.Random(0)).shape()
    columns = tuple(
        msgspec.structs.replace(column, not_null=column.name != "ts") for column in shape.columns
    )
    shape = msgspec.structs.replace(shape, columns=columns)

    (remark,) = remarks(shape, plain_definition(("instrument",), "ts"))

    assert "column 'ts' of 't' may be NULL" in remark
    assert "where=ts IS NOT NULL" in remark


def test_the_schema_of_the_double_is_the_whole_table() -> None:
    assert isinstance(SCHEMA, pa.Schema)
    assert list(row(1)) == SCHEMA.names
