"""The event trigger that tells of DDL, and the look at the catalog where there is none."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from fix_replication import dsn_of, plain_role
from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication import ddl_trigger
from neural_gpu_bus.stores.postgres.replication.catalog_tokens import WHOLE_LOOK_S, CatalogTokens
from neural_gpu_bus.stores.postgres.replication.ddl_trigger import DdlMessage, parse_message
from neural_gpu_bus.stores.postgres.replication.publications import (
    add_table,
    drop_publications,
    drop_table,
    ensure_publications,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from stream_by_sql import Slot, slot_by_sql

NAMES = publication_names("ddl")


@pytest.fixture
def told(each_database: psycopg.Connection) -> psycopg.Connection:
    """A database with the event trigger and an empty publication."""
    assert ddl_trigger.install(each_database) == ""
    ensure_publications(each_database, NAMES)
    return each_database


def messages(slot: Slot) -> list[DdlMessage]:
    return [parse_message(one) for one in slot.messages(ddl_trigger.MESSAGE_PREFIX)]


# ---- the event trigger


def test_a_message_stands_where_the_change_stands(told: psycopg.Connection) -> None:
    """Within its transaction, between the rows before and after."""
    told.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    shape = read_shape(told, "bars")
    add_table(told, NAMES, shape)

    told.execute("ALTER TABLE bars ADD COLUMN more int DEFAULT 5")
    with slot_by_sql(told, NAMES.both) as slot:
        with told.transaction():
            told.execute("INSERT INTO bars VALUES (3)")
            told.execute("ALTER TABLE bars ALTER more TYPE bigint")
            told.execute("INSERT INTO bars VALUES (4)")
        seen = slot.take()

    said = [one for one in seen if one.kind in "BIC" or one.of == ddl_trigger.MESSAGE_PREFIX]
    assert [one.kind for one in said] == ["B", "I", "M", "M", "I", "C"]
    rewritten, altered = (parse_message(one.new) for one in said if one.kind == "M")
    assert (rewritten.event, altered.event) == ("table_rewrite", "ddl_command_end")
    assert rewritten.relations == altered.relations == (shape.oid,)


def test_a_new_partition_is_told_before_its_rows(told: psycopg.Connection) -> None:
    """Also where the statement stands in a subtransaction, and the rows behind it."""
    told.execute("CREATE TABLE bars (id int PRIMARY KEY) PARTITION BY LIST (id)")
    add_table(told, NAMES, read_shape(told, "bars"))
    with slot_by_sql(told, NAMES.both) as slot, psycopg.connect(dsn_of(told)) as writer:
        for number in range(20):
            writer.execute("SAVEPOINT a")
            writer.execute(
                f"CREATE TABLE one{number} PARTITION OF bars FOR VALUES IN ({number})".encode()
            )
            writer.execute("RELEASE a")
            writer.execute("INSERT INTO bars VALUES (%s)", (number,))
        writer.commit()
        seen = [
            one for one in slot.take() if one.kind == "I" or one.of == ddl_trigger.MESSAGE_PREFIX
        ]

    assert [one.kind for one in seen] == ["M", "I"] * 20


def test_what_is_rolled_back_is_not_told(told: psycopg.Connection) -> None:
    told.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    with slot_by_sql(told, NAMES.both) as slot:
        with told.transaction(force_rollback=True):
            told.execute("ALTER TABLE bars ADD COLUMN more int DEFAULT 5")
        with told.transaction():
            with told.transaction(force_rollback=True):
                told.execute("ALTER TABLE bars ADD COLUMN more int DEFAULT 5")
            told.execute("INSERT INTO bars VALUES (1)")

        assert messages(slot) == []


def test_temporary_tables_are_not_told(told: psycopg.Connection) -> None:
    with slot_by_sql(told, NAMES.both) as slot:
        told.execute("CREATE TEMP TABLE mine (id int)")
        told.execute("ALTER TABLE mine ADD COLUMN more int")
        told.execute("DROP TABLE mine")

        assert messages(slot) == []


def test_a_partition_names_its_root(told: psycopg.Connection) -> None:
    told.execute("CREATE TABLE bars (id int) PARTITION BY LIST (id)")
    with slot_by_sql(told, NAMES.both) as slot:
        told.execute("CREATE TABLE one PARTITION OF bars FOR VALUES IN (1)")
        told.execute("CREATE TABLE alone (id int)")
        made, alone = messages(slot)

    bars, one = (read_shape(told, name).oid for name in ("bars", "one"))
    assert set(made.relations) == {bars, one}
    assert [oid for oid, _ in made.made] == [one]
    assert alone.made == ()


def test_what_no_table_is_named_by_is_told(told: psycopg.Connection) -> None:
    told.execute("CREATE SCHEMA here CREATE TABLE bars (id int) CREATE INDEX ids ON bars (id)")
    with slot_by_sql(told, NAMES.both) as slot:
        told.execute("CREATE TABLE here.heir () INHERITS (here.bars)")
        told.execute("DROP INDEX here.ids")
        told.execute("ALTER SCHEMA here RENAME TO there")
        heir, *others = messages(slot)

    assert read_shape(told, "there.heir").oid in heir.relations
    assert len(heir.relations) == 2
    assert not heir.concerns(frozenset([1]))
    assert [one.tag for one in others] == ["DROP INDEX", "ALTER SCHEMA"]
    assert all(one.concerns(frozenset([1])) and one.alters(frozenset([1])) for one in others)


def test_the_producers_ddl_never_fails_of_it(told: psycopg.Connection) -> None:
    """Not of a right that it lacks, not of a function that was broken by somebody."""
    told.execute("REVOKE ALL ON SCHEMA neural_gpu_bus FROM public")
    with plain_role(told) as (_, own), slot_by_sql(told, NAMES.both) as slot:
        own.execute("CREATE TABLE bars (id int)")
        own.execute("ALTER TABLE bars ADD COLUMN more int DEFAULT 5")
        assert [one.tag for one in messages(slot)] == ["CREATE TABLE", "ALTER TABLE"]
        query = "SELECT oid::regprocedure FROM pg_proc WHERE proname = 'pg_logical_emit_message'"
        for (function,) in told.execute(query.encode()).fetchall():
            told.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM public".encode())
        own.execute("ALTER TABLE bars ADD COLUMN evenmore int DEFAULT 5")
        own.execute("DROP TABLE bars")

        assert messages(slot) == []


def test_sessions_that_apply_replication_tell_too(told: psycopg.Connection) -> None:
    with slot_by_sql(told, NAMES.both) as slot:
        told.execute("SET session_replication_role = replica")
        told.execute("CREATE TABLE bars (id int)")

        assert [one.tag for one in messages(slot)] == ["CREATE TABLE"]


def test_publications_that_are_changed_are_told(told: psycopg.Connection) -> None:
    told.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    shape = read_shape(told, "bars")
    with slot_by_sql(told, ["other"]) as slot:
        told.execute("CREATE PUBLICATION other")
        add_table(told, NAMES, shape)
        drop_table(told, NAMES, shape.oid)
        drop_publications(told, NAMES)
        found = messages(slot)

    assert len(found) >= 4
    assert all(one.publications and one.concerns(frozenset()) for one in found)


def test_who_may_not_make_it_is_told_why(each_database: psycopg.Connection) -> None:
    with plain_role(each_database) as (role, own):
        name = sql.Identifier(role)
        each_database.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                sql.Identifier(each_database.info.dbname), name
            )
        )
        assert "ermission denied" in ddl_trigger.install(own)

        assert not ddl_trigger.is_installed(own)
        assert ddl_trigger.install(each_database) == ""
        assert ddl_trigger.install(own) == ""
        assert not ddl_trigger.remove(own)
        assert ddl_trigger.is_installed(own)


def test_it_goes_with_the_last_home(told: psycopg.Connection) -> None:
    other = publication_names("another home")
    ensure_publications(told, other)
    drop_publications(told, NAMES)

    assert not ddl_trigger.remove(told)
    assert ddl_trigger.is_installed(told)
    drop_publications(told, other)
    assert ddl_trigger.remove(told)
    assert ddl_trigger.remove(told)
    found = told.execute("SELECT FROM pg_namespace WHERE nspname = 'neural_gpu_bus'")
    assert found.rowcount == 0


def test_ddl_that_runs_while_it_is_removed_does_not_fail(told: psycopg.Connection) -> None:
    """Sessions learn late that a trigger is gone; its function is there as long as they may."""
    told.execute("CREATE TABLE bars (id int)")
    drop_publications(told, NAMES)
    with psycopg.connect(dsn_of(told)) as producer:
        producer.execute("SELECT 1")
        assert ddl_trigger.remove(told, wait_s=0)
        found = told.execute("SELECT FROM pg_proc WHERE proname = 'tell_ddl'")
        assert found.rowcount == 1
        producer.execute("ALTER TABLE bars ADD COLUMN more int")

    ddl_trigger.remove(told)
    assert told.execute("SELECT FROM pg_proc WHERE proname = 'tell_ddl'").rowcount == 0


def test_what_others_put_into_the_schema_stays(told: psycopg.Connection) -> None:
    told.execute("CREATE TABLE neural_gpu_bus.mine (id int)")
    drop_publications(told, NAMES)

    assert ddl_trigger.remove(told)

    assert read_shape(told, "neural_gpu_bus.mine").name == "mine"


def test_one_that_was_switched_off_is_made_anew(told: psycopg.Connection) -> None:
    told.execute("ALTER EVENT TRIGGER neural_gpu_bus_drop DISABLE")
    assert not ddl_trigger.is_installed(told)

    assert ddl_trigger.install(told) == ""

    assert ddl_trigger.is_installed(told)


def test_what_somebody_else_writes_is_refused() -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        parse_message(b"\xff{")
    with pytest.raises(ProtocolError, match="cannot be read"):
        parse_message(b'{"format": 1}')


# ---- without it


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE bars ADD COLUMN more int",
        "ALTER TABLE bars DROP CONSTRAINT bars_pkey CASCADE",
        "ALTER TABLE bars REPLICA IDENTITY FULL",
        "ALTER TABLE one ALTER COLUMN id SET STATISTICS 5",
        "CREATE TABLE two PARTITION OF bars FOR VALUES IN (2)",
        "ALTER TABLE bars DETACH PARTITION one",
        "DROP TABLE one",
        "DROP TABLE bars",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        "ALTER TYPE pair ADD ATTRIBUTE c int",
        f"DROP PUBLICATION {NAMES.growing}",
        f"ALTER PUBLICATION {NAMES.changes} SET (publish = 'insert')",
        f"ALTER PUBLICATION {NAMES.changes} DROP TABLE bars",
        "ALTER TABLE bars ENABLE ROW LEVEL SECURITY",
        "TRUNCATE one",
    ],
)
def test_a_look_finds_what_changed_once(each_database: psycopg.Connection, statement: str) -> None:
    connection = each_database
    for made in (
        "CREATE TYPE mood AS ENUM ('sad'); CREATE TYPE pair AS (a int)",
        "CREATE TABLE bars (id int PRIMARY KEY, m mood[], p pair) PARTITION BY LIST (id)",
        "CREATE TABLE one PARTITION OF bars FOR VALUES IN (1)",
        "CREATE TABLE other (id int PRIMARY KEY)",
    ):
        connection.execute(made.encode())
    ensure_publications(connection, NAMES)
    shapes = {name: read_shape(connection, name) for name in ("bars", "other")}
    for shape in shapes.values():
        add_table(connection, NAMES, shape)
    now_s = 0.0
    looks = CatalogTokens(NAMES, clock=lambda: now_s)
    assert looks.changed(connection, shapes) == ("bars", "other")
    for harmless in ("ANALYZE", "VACUUM", "COMMENT ON TABLE bars IS 'x'", "CREATE TABLE more ()"):
        connection.execute(harmless.encode())
    assert looks.changed(connection, shapes) == ()

    connection.execute(statement.encode())

    assert "bars" in looks.changed(connection, shapes)
    assert looks.changed(connection, shapes) == ()
    now_s = WHOLE_LOOK_S
    assert looks.changed(connection, shapes) == ("bars", "other")
    looks.forget()
    assert looks.changed(connection, shapes) == ("bars", "other")
    assert looks.changed(connection, {}) == ()


def test_a_look_leads_by_the_name(each_database: psycopg.Connection) -> None:
    each_database.execute('CREATE SCHEMA "A b"')
    each_database.execute('CREATE TABLE "A b"."C d" (id int)')
    shapes = {"A b.C d": read_shape(each_database, "A b.C d")}
    looks = CatalogTokens(NAMES)
    assert looks.changed(each_database, shapes) == ("A b.C d",)

    each_database.execute('ALTER TABLE "A b"."C d" RENAME TO e')
    each_database.execute('CREATE TABLE "A b"."C d" (id int)')

    assert looks.changed(each_database, shapes) == ("A b.C d",)
