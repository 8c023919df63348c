"""Publications, slots, event triggers and snapshots on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from fix_stores import own_database
from neural_gpu_bus.stores.postgres.replication import ddl_trigger
from neural_gpu_bus.stores.postgres.replication.preflight import TableWanted, preflight
from neural_gpu_bus.stores.postgres.replication.publications import (
    add_table,
    drop_publications,
    drop_table,
    ensure_publications,
    memberships,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.slots import slot_facts
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import snapshot_moment
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape

NAMES = publication_names("setup")


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A database that has nothing in it, its superuser's connection."""
    with own_database(postgres_dsn) as connection:
        yield connection


def dsn_of(connection: psycopg.Connection) -> str:
    parameters = connection.info.get_parameters()
    return psycopg.conninfo.make_conninfo(**parameters, password=connection.info.password)


def test_a_table_comes_in_and_out_of_the_publication(database: psycopg.Connection) -> None:
    database.execute('CREATE TABLE "Bars" (id int PRIMARY KEY, price float8)')
    ensure_publications(database, NAMES)
    ensure_publications(database, NAMES)
    shape = read_shape(database, "Bars")

    made = add_table(database, NAMES, shape)
    again = add_table(database, NAMES, shape)

    assert made == again == memberships(database, NAMES)[shape.oid]
    assert made.lacking == ""
    drop_table(database, NAMES, shape.oid)
    assert memberships(database, NAMES) == {}
    drop_publications(database, NAMES)


def test_preflight_finds_nothing_missing_for_a_superuser(database: psycopg.Connection) -> None:
    database.execute("CREATE TABLE bars (id int PRIMARY KEY, price float8)")

    found = preflight(database, [TableWanted("bars")], NAMES)

    assert found.missing == ()
    found.check()


def test_a_moment_has_what_was_committed_before(database: psycopg.Connection) -> None:
    database.execute("CREATE TABLE bars (id int PRIMARY KEY, price float8)")
    ensure_publications(database, NAMES)
    add_table(database, NAMES, read_shape(database, "bars"))

    with snapshot_moment(dsn_of(database), "bars", NAMES) as moment:
        assert moment.shape == read_shape(database, "bars")
        assert moment.membership == memberships(database, NAMES)[moment.shape.oid]
        database.execute("INSERT INTO bars VALUES (1, 2)")
        with database.transaction():
            database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            database.execute(f"SET TRANSACTION SNAPSHOT '{moment.snapshot_id}'".encode())
            assert database.execute("SELECT count(*) FROM bars").fetchone() == (0,)


def test_ddl_is_told_in_the_stream(database: psycopg.Connection) -> None:
    assert ddl_trigger.install(database) == ""
    assert ddl_trigger.install(database) == ""
    assert ddl_trigger.is_installed(database)
    slot = "ngb_test_ddl"
    database.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    try:
        assert slot_facts(database, slot) is not None
        database.execute("CREATE TABLE bars (id int PRIMARY KEY, price float8)")
        database.execute("ALTER TABLE bars ADD COLUMN volume int DEFAULT 5")
    finally:
        database.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    assert ddl_trigger.remove(database)
    assert not ddl_trigger.is_installed(database)
