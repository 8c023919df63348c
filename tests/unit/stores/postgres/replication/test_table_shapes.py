"""What a mirror's rows depend on, and what changes of a table do to them; without a server."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape, quoted
from table_shapes_made import column, parts, relation, shape, with_column

CHANGES: list[tuple[str, Callable[[TableShape], TableShape]]] = [
    ("oid", lambda it: msgspec.structs.replace(it, oid=2)),
    ("identity", lambda it: msgspec.structs.replace(it, identity="i")),
    ("key", lambda it: msgspec.structs.replace(it, identity_columns=("price",))),
    ("policies", lambda it: msgspec.structs.replace(it, row_security_active=True)),
    ("added", lambda it: msgspec.structs.replace(it, columns=(*it.columns, column(4, "more")))),
    ("dropped", lambda it: msgspec.structs.replace(it, columns=it.columns[:2])),
    ("name", lambda it: with_column(it, 1, name="cost")),
    ("type", lambda it: with_column(it, 1, type_oid=20)),
    ("modifier", lambda it: with_column(it, 1, modifier=10)),
    ("number", lambda it: with_column(it, 1, attnum=9)),
    ("generated", lambda it: with_column(it, 1, generated="s")),
    ("labels", lambda it: with_column(it, 1, labels=((7, "x"),))),
    ("fields", lambda it: with_column(it, 1, fields=("7 1 23 -1 a",))),
]


@pytest.mark.parametrize(("what", "change"), CHANGES, ids=[what for what, _ in CHANGES])
def test_a_fingerprint_changes_with_what_rows_depend_on(
    what: str, change: Callable[[TableShape], TableShape]
) -> None:
    assert change(shape()).fingerprint() != shape().fingerprint(), what


@pytest.mark.parametrize(
    "other",
    [
        {"columns": (*shape().columns, column(4, "more"))},
        {"columns": shape().columns[:2]},
        {"name": "older"},
        {"owner": "somebody"},
        {"row_security": True},
        {"relations": (relation(1, relfilenode=99, columns_altered=5),)},
    ],
    ids=["added", "dropped", "name", "owner", "policies for others", "file"],
)
def test_a_fingerprint_of_chosen_columns_does_not_change_with_others(
    other: dict[str, object],
) -> None:
    assert shape(**other).fingerprint(["price"]) == shape().fingerprint(["price"])


def test_columns_of_the_identity_are_always_chosen() -> None:
    assert [one.name for one in shape().chosen(["note"])] == ["id", "note"]
    assert [one.name for one in shape(identity="f").chosen(["note"])] == ["note"]


def test_rows_come_under_the_oids_of_leaves() -> None:
    """Not under those of partitioned tables between."""
    table = parts(relation(5), relation(6, kind="p"), relation(7))

    assert table.leaves == table.stream_oids == (5, 7)
    assert shape().leaves == ()
    assert shape().stream_oids == (1,)
    assert table.relfilenodes == (5, 7)


def test_names_are_quoted() -> None:
    assert quoted('a "b"', "C d") == '"a ""b"""."C d"'
    assert shape(schema="Market").quoted == '"Market"."bars"'


def test_a_shape_travels_as_json() -> None:
    table = parts(relation(5, attached="9"))

    assert msgspec.json.decode(msgspec.json.encode(table), type=TableShape) == table
