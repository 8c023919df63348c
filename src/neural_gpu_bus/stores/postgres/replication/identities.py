"""Replica identity: whether old rows of UPDATE and DELETE come, and with which columns; pure.

A publication of updates on a table without one makes the producer's own UPDATE and DELETE fail.
"""

from __future__ import annotations

import msgspec

from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    DEFAULT,
    FULL,
    INDEX,
    NOTHING,
    RelationShape,
    TableShape,
    quoted,
)


class BadIdentity(msgspec.Struct, frozen=True):
    """Why a table's updates cannot be published."""

    what: str
    #: Statements of which one is the way out; the producer's to decide, never run by us.
    ways: tuple[str, ...]


def bad_identity(shape: TableShape) -> BadIdentity | None:
    """What would make the producer's UPDATE fail or leave the mirror without a key; None for a
    table whose updates can be published.
    """
    if not shape.identity_columns:
        return BadIdentity(_why_none(shape), _ways(shape))
    generated = [
        name
        for name in shape.identity_columns
        if (column := shape.column(name)) is not None
        and shape.identity != FULL
        and (column.generated == "v" or (column.generated and shape.version < 180_000))
    ]
    if generated:
        return BadIdentity(
            f"its replica identity has the generated column {generated[0]!r}, which is not sent",
            _ways(shape),
        )
    return _bad_leaf(shape) if shape.partitioned else None


def _why_none(shape: TableShape | RelationShape) -> str:
    if shape.identity == NOTHING:
        return "it has REPLICA IDENTITY NOTHING: UPDATE and DELETE would fail"
    if shape.identity == INDEX:
        return "the index of its REPLICA IDENTITY is gone: UPDATE and DELETE would fail"
    return "it has no primary key and no REPLICA IDENTITY: UPDATE and DELETE would fail"


def _ways(shape: TableShape) -> tuple[str, ...]:
    table = shape.quoted
    names = [one.name for one in shape.columns if one.not_null and not one.generated]
    columns = quoted(names[0]) if names else "..."
    index = quoted(f"{shape.name}_identity"[:63])
    if shape.partitioned:
        # New partitions inherit a primary key, and nothing else that is an identity.
        return (f"ALTER TABLE {table} ADD PRIMARY KEY ({columns}, ...);",)
    if shape.identity == NOTHING:
        return (f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT;",)
    return (
        f"ALTER TABLE {table} ADD PRIMARY KEY ({columns});",
        f"CREATE UNIQUE INDEX {index} ON {table} ({columns}); "
        f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index};",
    )


def _bad_leaf(shape: TableShape) -> BadIdentity | None:
    """A partition of its own mind; or a root whose next partition would have no identity."""
    if shape.identity != DEFAULT:
        return BadIdentity(
            "it is partitioned, and REPLICA IDENTITY is not inherited by new partitions: their "
            "UPDATE and DELETE would fail; only a primary key is",
            (f"ALTER TABLE {shape.quoted} REPLICA IDENTITY DEFAULT;", *_ways(shape)),
        )
    wanted = set(shape.identity_columns)
    for leaf in shape.holding_rows():
        columns = leaf.identity_columns
        if columns is None or set(columns) == wanted:
            continue
        name = quoted(leaf.schema, leaf.name)
        if not columns:
            why = f"partition {leaf.schema}.{leaf.name}: {_why_none(leaf)}"
        else:
            why = (
                f"partition {leaf.schema}.{leaf.name} has a replica identity of other columns "
                f"({', '.join(columns)}) than the table ({', '.join(shape.identity_columns)})"
            )
        return BadIdentity(why, (f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT;",))
    return None
