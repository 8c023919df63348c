"""Whether a table has to be copied anew, from what it was and what it is; pure."""

from __future__ import annotations

from collections.abc import Collection

from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    FULL,
    ColumnShape,
    RelationShape,
    TableShape,
)

#: A leaf and its ``attached``: of a partition that was made as one, and so began empty.
MadeLeaf = tuple[int, str]


def copy_reason(
    old: TableShape,
    new: TableShape,
    columns: Collection[str] | None = None,
    *,
    made: Collection[MadeLeaf] = (),
) -> str:
    """Why rows that were copied from ``old`` may be wrong now, in words; empty where they are not.

    ``columns``: the mirror's, None for all. ``made``: partitions that the stream told of as they
    were made; others that came may have brought rows along.
    """
    return (
        _other_table(old, new)
        or _other_identity(old, new)
        or _other_columns(old, new, columns)
        or _other_leaves(old, new, made)
        or _rewritten(old, new, columns)
    )


def _other_table(old: TableShape, new: TableShape) -> str:
    if old.oid != new.oid:
        return f"the name leads to another table (OID {new.oid}, was {old.oid})"
    if old.persistence != new.persistence:
        return f"its persistence is {new.persistence!r}, was {old.persistence!r}"
    if old.row_security_active != new.row_security_active:
        return "row security came into force or went out of it for this role"
    return ""


def _other_identity(old: TableShape, new: TableShape) -> str:
    was, now = _identity(old), _identity(new)
    return "" if was == now else f"its replica identity is {_said(new)}, was {_said(old)}"


def _identity(shape: TableShape) -> tuple[object, ...]:
    return shape.identity, () if shape.identity == FULL else shape.identity_columns


def _said(shape: TableShape) -> str:
    names = ", ".join(shape.identity_columns) or "none"
    return {"f": "FULL", "n": "NOTHING"}.get(shape.identity, f"({names})")


def _other_columns(old: TableShape, new: TableShape, columns: Collection[str] | None) -> str:
    was = {one.attnum: one for one in old.chosen(columns)}
    now = {one.attnum: one for one in new.chosen(columns)}
    for number, column in was.items():
        if number not in now:
            return f"column {column.name!r} was {_gone(column, new)}"
        reason = _other_column(column, now[number])
        if reason:
            return reason
    added = [one.name for number, one in now.items() if number not in was]
    return f"column {added[0]!r} was added" if added else ""


def _gone(column: ColumnShape, new: TableShape) -> str:
    renamed = next((one for one in new.columns if one.attnum == column.attnum), None)
    return f"renamed to {renamed.name!r}" if renamed else "dropped"


def _other_column(was: ColumnShape, now: ColumnShape) -> str:
    if was.name != now.name:
        return f"column {was.name!r} was renamed to {now.name!r}"
    if (was.type_oid, was.modifier) != (now.type_oid, now.modifier):
        return f"column {was.name!r} became {now.type_name}, was {was.type_name}"
    if was.generated != now.generated:
        return f"column {was.name!r} is generated otherwise than before"
    if was.fields != now.fields:
        return f"the fields of {now.type_name} (column {was.name!r}) were altered"
    # New labels change no row; one that was renamed changes all that have it.
    if not set(was.labels) <= set(now.labels):
        return f"labels of {now.type_name} (column {was.name!r}) were renamed"
    return ""


def _other_leaves(old: TableShape, new: TableShape, made: Collection[MadeLeaf]) -> str:
    if old.partitioned != new.partitioned:
        return "it is partitioned now, or is not any more"
    was = {one.oid: one for one in old.relations}
    now = {one.oid: one for one in new.relations}
    for oid, leaf in now.items():
        before = was.get(oid)
        if before is None and (oid, leaf.attached) not in made:
            return f"partition {leaf.name!r} was attached"
        if before is not None and _attached_by(before) != _attached_by(leaf):
            return f"partition {leaf.name!r} was detached and attached again"
        if before is not None and _leaf_identity(before) != _leaf_identity(leaf):
            return f"partition {leaf.name!r} has another replica identity"
    gone = [leaf.name for oid, leaf in was.items() if oid not in now]
    return f"partition {gone[0]!r} was detached or dropped" if gone else ""


def _attached_by(leaf: RelationShape) -> str:
    """Which transaction made it a partition: VACUUM FULL lays the row elsewhere."""
    return leaf.attached.partition(" ")[0]


def _leaf_identity(leaf: RelationShape) -> tuple[object, ...]:
    return leaf.identity, leaf.persistence, leaf.index_columns


def _rewritten(old: TableShape, new: TableShape, columns: Collection[str] | None) -> str:
    """ALTER TYPE with USING may leave type and number as they are. It makes a new file and changes
    the column's row in the catalog, both in one transaction; TRUNCATE and VACUUM FULL do the
    first alone, SET STATISTICS the second. Of a partition that came since nobody knows its first
    file, and its rows may have come as they were before.
    """
    files = {one.oid: (one.relfilenode, one.columns_altered) for one in old.relations}
    altered = {one.attnum: one.altered for one in old.columns}
    touched = [
        one.name
        for one in new.chosen(columns)
        if altered.get(one.attnum, one.altered) != one.altered
    ]
    for leaf in new.holding_rows():
        node, columns_altered = files.get(leaf.oid, (0, -1))
        if node != leaf.relfilenode and columns_altered != leaf.columns_altered and touched:
            return f"column {touched[0]!r} was altered and the table written anew"
    return ""
