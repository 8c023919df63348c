"""Names and statements of publications."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.replication.publications import (
    Membership,
    add_statement,
    create_statements,
    membership_of,
    publication_names,
)
from table_shapes_made import parts, relation, shape

NAMES = publication_names("/home/a")


def entry(oid: int, where: str = "", lacking: str = "") -> Membership:
    return Membership(NAMES.changes, oid, f"t{oid}", where, append_only=False, lacking=lacking)


def test_names_are_the_same_at_every_start_and_others_elsewhere() -> None:
    assert publication_names("/home/a") == NAMES
    assert not set(publication_names("/home/b").both) & set(NAMES.both)


def test_generated_columns_are_asked_for_where_they_can_be() -> None:
    assert "publish_generated_columns" not in create_statements(NAMES, 170_000)[NAMES.changes]
    assert create_statements(NAMES, 180_000) == {
        NAMES.changes: f'CREATE PUBLICATION "{NAMES.changes}" WITH (publish = \'insert, update, '
        "delete, truncate', publish_via_partition_root = false, "
        "publish_generated_columns = stored)",
        NAMES.growing: f'CREATE PUBLICATION "{NAMES.growing}" WITH (publish = \'insert, '
        "truncate', publish_via_partition_root = false, publish_generated_columns = stored)",
    }


def test_tables_are_added_by_quoted_names() -> None:
    assert add_statement("p", shape(name='B"s'), None) == (
        'ALTER PUBLICATION "p" ADD TABLE ONLY "public"."B""s"'
    )
    assert add_statement("p", shape(), "id > 1 -- so") == (
        'ALTER PUBLICATION "p" ADD TABLE ONLY "public"."bars" WHERE (id > 1 -- so\n)'
    )


def test_a_filter_stands_at_each_leaf() -> None:
    table = parts(relation(5), relation(6, kind="p"), relation(7))

    assert add_statement("p", table, None) == 'ALTER PUBLICATION "p" ADD TABLE "public"."bars"'
    assert add_statement("p", table, "id > 1") == (
        'ALTER PUBLICATION "p" ADD TABLE "public"."bars", '
        'ONLY "public"."t5" WHERE (id > 1\n), ONLY "public"."t7" WHERE (id > 1\n)'
    )


def test_a_table_stands_there_with_its_leaves() -> None:
    table = parts(relation(5), relation(7))

    assert membership_of({}, table) is None
    assert membership_of({5: entry(5)}, table) is None
    assert membership_of({1: entry(1)}, table) == entry(1)
    # A leaf that is live by itself has no filter of the root's.
    assert membership_of({1: entry(1), 5: entry(5)}, table) == entry(1)
    whole = membership_of({one: entry(one, "x" * (one > 1)) for one in (1, 5, 7)}, table)
    assert whole is not None
    assert (whole.token, whole.where, whole.lacking) == ("t1,t5,t7", "x", "")
    for others in ({5: "x"}, {5: "x", 7: "y"}):
        found = membership_of({1: entry(1)} | {o: entry(o, w) for o, w in others.items()}, table)
        assert found is not None
        assert found.lacking == "not all partitions have the row filter"
