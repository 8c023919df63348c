"""Whether a table's updates can be published, and the ways out where not."""

from __future__ import annotations

import re

import pytest

from neural_gpu_bus.stores.postgres.replication.identities import bad_identity
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from table_shapes_made import column, parts, relation, shape, with_column


@pytest.mark.parametrize(
    "table",
    [
        shape(),
        shape(identity="i"),
        shape(identity="f", identity_columns=("id", "price", "note")),
        parts(relation(5), relation(6, identity="f", index_columns=())),
        with_column(shape(), 0, generated="s"),
    ],
    ids=["key", "index", "full", "partitions", "generated on 18"],
)
def test_what_can_be_published(table: TableShape) -> None:
    assert bad_identity(table) is None


@pytest.mark.parametrize(
    ("table", "why", "way"),
    [
        (shape(identity_columns=()), "no primary key", 'ADD PRIMARY KEY ("id");'),
        (shape(identity="n", identity_columns=()), "NOTHING", "REPLICA IDENTITY DEFAULT;"),
        (shape(identity="i", identity_columns=()), "is gone", 'ADD PRIMARY KEY ("id");'),
        (
            with_column(shape(version=170_000), 0, generated="s"),
            "generated column 'id', which is not sent",
            "ADD PRIMARY KEY",
        ),
        (
            parts(relation(5, index_columns=("price",))),
            "partition public.t5 has a replica identity of other columns [(]price[)]",
            'ALTER TABLE "public"."t5" REPLICA IDENTITY DEFAULT;',
        ),
        (
            parts(relation(5), relation(6, identity="n")),
            "partition public.t6: it has REPLICA IDENTITY NOTHING",
            'ALTER TABLE "public"."t6" REPLICA IDENTITY DEFAULT;',
        ),
    ],
)
def test_what_cannot_has_a_way_out(table: TableShape, why: str, way: str) -> None:
    bad = bad_identity(table)

    assert bad is not None
    assert re.search(why, bad.what)
    assert way in bad.ways[0]


def test_a_table_without_a_column_that_could_be_the_key_gets_a_gap() -> None:
    table = shape(columns=(column(1, "a"),), identity_columns=())

    bad = bad_identity(table)

    assert bad is not None
    assert bad.ways[0] == 'ALTER TABLE "public"."bars" ADD PRIMARY KEY (...);'
