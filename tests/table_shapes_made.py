"""Tables that are nowhere, for what only reads their shapes."""

from __future__ import annotations

import msgspec

from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    ColumnShape,
    RelationShape,
    TableShape,
)


def column(number: int, name: str, **other: object) -> ColumnShape:
    return msgspec.structs.replace(
        ColumnShape(number, name, 23, -1, "integer", not_null=False, altered="1"), **other
    )


def relation(oid: int, **other: object) -> RelationShape:
    plain = RelationShape(oid, "public", f"t{oid}", "r", "p", oid, "d", ("id",))
    return msgspec.structs.replace(plain, **other)


def shape(**other: object) -> TableShape:
    plain = TableShape(
        oid=1,
        schema="public",
        name="bars",
        columns=(column(1, "id", not_null=True), column(2, "price"), column(3, "note")),
        identity="d",
        identity_columns=("id",),
        partitioned=False,
        relations=(relation(1),),
        version=180_000,
    )
    return msgspec.structs.replace(plain, **other)


def parts(*leaves: RelationShape) -> TableShape:
    root = relation(1, kind="p")
    return shape(partitioned=True, relations=(root, *leaves))


def with_column(it: TableShape, place: int, **other: object) -> TableShape:
    columns = list(it.columns)
    columns[place] = msgspec.structs.replace(columns[place], **other)
    return msgspec.structs.replace(it, columns=tuple(columns))
