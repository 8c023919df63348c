"""Why a table is copied anew, from two shapes."""

from __future__ import annotations

import msgspec
import pytest

from neural_gpu_bus.stores.postgres.replication.shape_changes import copy_reason
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from table_shapes_made import column, parts, relation, shape, with_column


def rewritten(it: TableShape, place: int) -> TableShape:
    """As ALTER TYPE with USING leaves it."""
    table = with_column(it, place, altered="2")
    return msgspec.structs.replace(
        table, relations=(relation(1, relfilenode=99, columns_altered=1),)
    )


def test_nothing_is_no_reason() -> None:
    assert copy_reason(shape(), shape()) == ""


def test_a_column_that_nobody_asked_for_is_no_reason() -> None:
    more = shape(columns=(*shape().columns, column(4, "more")))

    assert copy_reason(shape(), more) == "column 'more' was added"
    assert copy_reason(shape(), more, ["price"]) == ""
    assert copy_reason(more, shape()) == "column 'more' was dropped"


def test_one_of_the_same_name_is_another_column() -> None:
    anew = with_column(shape(), 1, attnum=4)

    assert copy_reason(shape(), anew) == "column 'price' was dropped"


def test_a_renamed_column_that_was_chosen_is_gone() -> None:
    renamed = with_column(shape(), 1, name="cost")

    assert copy_reason(shape(), renamed) == "column 'price' was renamed to 'cost'"
    assert copy_reason(shape(), renamed, ["price"]) == "column 'price' was renamed to 'cost'"
    assert copy_reason(shape(), renamed, ["note"]) == ""


def test_two_columns_that_changed_names_are_noticed() -> None:
    swapped = with_column(with_column(shape(), 1, name="note"), 2, name="price")

    assert copy_reason(shape(), swapped) == "column 'price' was renamed to 'note'"


def test_values_that_were_written_anew_are_noticed_where_they_are_asked_for() -> None:
    anew = rewritten(shape(), 1)

    assert "column 'price' was altered and the table written anew" in copy_reason(shape(), anew)
    assert copy_reason(shape(), anew, ["note"]) == ""


@pytest.mark.parametrize("what", ["file", "statistics"])
def test_either_half_of_a_rewrite_is_harmless(what: str) -> None:
    """A new file alone: VACUUM FULL, TRUNCATE. A column's row alone: SET STATISTICS."""
    changed = (
        shape(relations=(relation(1, relfilenode=99),))
        if what == "file"
        else with_column(shape(relations=(relation(1, columns_altered=1),)), 1, altered="2")
    )

    assert copy_reason(shape(), changed) == ""


def test_both_halves_one_after_the_other_are_harmless() -> None:
    """Where the shape is taken on after each look."""
    first = shape(relations=(relation(1, relfilenode=99),))
    second = with_column(
        shape(relations=(relation(1, relfilenode=99, columns_altered=1),)), 1, altered="2"
    )

    assert copy_reason(shape(), first) == copy_reason(first, second) == ""


def test_a_partition_that_began_empty_is_no_reason() -> None:
    before, after = parts(relation(5)), parts(relation(5), relation(6, attached="9"))

    assert copy_reason(before, after) == "partition 't6' was attached"
    assert copy_reason(before, after, made=[(6, "9")]) == ""
    # Made, detached, filled and attached again: another row of the catalog.
    assert copy_reason(before, after, made=[(6, "8")]) == "partition 't6' was attached"
    assert copy_reason(after, before) == "partition 't6' was detached or dropped"


def test_a_partition_is_the_same_where_its_row_lies_elsewhere() -> None:
    """After VACUUM FULL pg_inherits; one that was made must be the very row."""
    before = parts(relation(5, attached="9 (0,1) 2680"))
    moved = parts(relation(5, attached="9 (0,2) 2690"))

    assert copy_reason(before, moved) == ""
    assert copy_reason(parts(), moved, made=[(5, "9 (0,1) 2680")]) == "partition 't5' was attached"


def test_a_partition_that_came_as_columns_were_written_anew_is_a_reason() -> None:
    before, after = parts(), with_column(parts(relation(6, attached="9")), 1, altered="2")

    assert "was altered and the table" in copy_reason(before, after, made=[(6, "9")])


def test_labels_may_be_added_and_not_renamed() -> None:
    before = with_column(shape(), 1, labels=((1, "sad"), (2, "ok")))
    added = with_column(shape(), 1, labels=((1, "sad"), (2, "ok"), (3, "good")))
    renamed = with_column(shape(), 1, labels=((1, "blue"), (2, "ok")))

    assert copy_reason(before, added) == ""
    assert "were renamed" in copy_reason(before, renamed)
