"""Whether a table's updates can be published; the ways out are looked for on real servers."""

from __future__ import annotations

import re

import pytest

from neural_gpu_bus.stores.postgres.replication.identities import bad_identity
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from table_shapes_made import parts, relation, shape, with_column


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
    assert bad_identity(table) == ""


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (shape(identity_columns=()), "no primary key"),
        (shape(identity="n", identity_columns=()), "NOTHING"),
        (shape(identity="i", identity_columns=()), "is gone"),
        (
            with_column(shape(version=170_000), 0, generated="s"),
            "generated column 'id', which is not sent",
        ),
        (
            parts(relation(5, index_columns=("price",))),
            "partition public.t5 has a replica identity of other columns [(]price[)]",
        ),
        (
            parts(relation(5), relation(6, identity="n")),
            "partition public.t6: it has REPLICA IDENTITY NOTHING",
        ),
    ],
)
def test_what_cannot_says_why(table: TableShape, why: str) -> None:
    assert re.search(why, bad_identity(table))
