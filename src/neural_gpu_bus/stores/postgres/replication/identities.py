"""Replica identity: whether old rows of UPDATE and DELETE come, and with which columns; pure.

A publication of updates on a table without one makes the producer's own UPDATE and DELETE fail.
"""

from __future__ import annotations

from collections.abc import Collection

from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    DEFAULT,
    FULL,
    INDEX,
    NOTHING,
    RelationShape,
    TableShape,
)


def bad_identity(shape: TableShape) -> str:
    """What would make the producer's UPDATE fail or leave the mirror without a key; empty for a
    table whose updates can be published.
    """
    if not shape.identity_columns:
        return _why_none(shape)
    if shape.identity != FULL:
        generated = next((one for one in shape.identity_columns if not is_sent(shape, [one])), None)
        if generated is not None:
            return f"its replica identity has the generated column {generated!r}, which is not sent"
    return _bad_partitions(shape) if shape.partitioned else ""


def is_sent(shape: TableShape, columns: Collection[str]) -> bool:
    """Whether values of all these columns come with the stream."""
    return all(shape.sends(one) for one in shape.columns if one.name in columns)


def bad_leaves(shape: TableShape, columns: Collection[str]) -> list[RelationShape]:
    """Partitions whose identity is another than these columns of the table."""
    return [
        leaf
        for leaf in shape.holding_rows()
        if leaf.identity_columns is not None and set(leaf.identity_columns) != set(columns)
    ]


def _why_none(shape: TableShape | RelationShape) -> str:
    if shape.identity == NOTHING:
        return "it has REPLICA IDENTITY NOTHING: UPDATE and DELETE would fail"
    if shape.identity == INDEX:
        return "the index of its REPLICA IDENTITY is gone: UPDATE and DELETE would fail"
    return (
        "it has no primary key that is checked at once, and no REPLICA IDENTITY: UPDATE and DELETE "
        "would fail"
    )


def _bad_partitions(shape: TableShape) -> str:
    """A partition of its own mind; or a root whose next partition would have no identity."""
    if shape.identity != DEFAULT:
        return (
            "it is partitioned, and REPLICA IDENTITY is not inherited by new partitions: their "
            "UPDATE and DELETE would fail; only a primary key is"
        )
    leaves = bad_leaves(shape, shape.identity_columns)
    if not leaves:
        return ""
    leaf, columns = leaves[0], leaves[0].identity_columns
    if not columns:
        return f"partition {leaf.schema}.{leaf.name}: {_why_none(leaf)}"
    return (
        f"partition {leaf.schema}.{leaf.name} has a replica identity of other columns "
        f"({', '.join(columns)}) than the table ({', '.join(shape.identity_columns)})"
    )
