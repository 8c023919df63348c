"""What a change of a definition means for its mirror, by the catalog and by the event trigger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from fix_stores import own_database
from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.replication import ddl_trigger
from neural_gpu_bus.stores.postgres.replication.shape_changes import copy_reason
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from stream_by_sql import slot_by_sql

BARS = """
CREATE TABLE bars (id int PRIMARY KEY, price float8, size int NOT NULL, note text);
INSERT INTO bars SELECT g, g, g, 'x' FROM generate_series(1, 3) g
"""
MOODS = """
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b int);
CREATE TABLE bars (id int PRIMARY KEY, price mood, size pair[]);
INSERT INTO bars VALUES (1, 'sad', '{"(1,2)"}')
"""
#: Children with columns in another order, and with numbers of their own.
PARTS = """
CREATE TABLE bars (id int, day int, price float8, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10);
CREATE TABLE late (price float8, gone int, day int NOT NULL, id int NOT NULL);
ALTER TABLE late DROP COLUMN gone;
ALTER TABLE bars ATTACH PARTITION late FOR VALUES FROM (10) TO (20);
CREATE TABLE other (id int NOT NULL, day int NOT NULL, price float8);
INSERT INTO other VALUES (1, 25, 1)
"""


@dataclass(frozen=True)
class Change:
    """``reason``: a part of why the table is copied anew; empty where it is not."""

    statement: str
    reason: str
    made: str = BARS
    columns: tuple[str, ...] | None = None
    #: Whether the event trigger tells of it.
    is_told: bool = True


CHANGES = [
    Change("ALTER TABLE bars ADD COLUMN more int", "'more' was added"),
    Change("ALTER TABLE bars ADD COLUMN more int DEFAULT 5", "'more' was added"),
    Change("ALTER TABLE bars ADD COLUMN more float8 DEFAULT random()", "'more' was added"),
    Change("ALTER TABLE bars ADD COLUMN more int DEFAULT 5", "", columns=("id", "price")),
    Change("ALTER TABLE bars ALTER price TYPE numeric", "'price' became numeric"),
    Change("ALTER TABLE bars ALTER note TYPE varchar(10)", "became character varying"),
    Change("ALTER TABLE bars ALTER note TYPE varchar(10)", "", columns=("id", "price")),
    Change("ALTER TABLE bars ALTER price TYPE float8 USING price + 1", "'price' was altered"),
    Change("ALTER TABLE bars ALTER price TYPE float8 USING price + 1", "", columns=("id",)),
    Change("ALTER TABLE bars RENAME price TO cost", "'price' was renamed to 'cost'"),
    Change("ALTER TABLE bars DROP note, ADD note text", "'note' was dropped"),
    Change("ALTER TABLE bars DROP note", "", columns=("id", "price")),
    Change("ALTER TABLE bars RENAME TO older", "there is no table 'bars'"),
    Change(
        "ALTER TABLE bars RENAME TO older; CREATE TABLE bars (LIKE older INCLUDING ALL)",
        "leads to another table",
    ),
    Change("DROP TABLE bars", "there is no table 'bars'"),
    Change("ALTER TABLE bars REPLICA IDENTITY FULL", "identity is FULL, was [(]id[)]"),
    Change("ALTER TABLE bars REPLICA IDENTITY NOTHING", "identity is NOTHING"),
    Change("ALTER TABLE bars DROP CONSTRAINT bars_pkey", "identity is [(]none[)]"),
    Change("ALTER TABLE bars SET UNLOGGED", "is unlogged"),
    # Harmless ones.
    Change("CREATE INDEX ON bars (price)", "", is_told=False),
    Change("COMMENT ON TABLE bars IS 'x'", "", is_told=False),
    Change("GRANT SELECT ON bars TO public", "", is_told=False),
    Change("ANALYZE bars", "", is_told=False),
    Change("TRUNCATE bars", "", is_told=False),
    Change("VACUUM FULL bars", "", is_told=False),
    Change("CLUSTER bars USING bars_pkey", "", is_told=False),
    Change("ALTER TABLE bars ALTER price SET STATISTICS 10", ""),
    Change("ALTER TABLE bars ALTER price SET DEFAULT 7", ""),
    Change("ALTER TABLE bars ALTER price SET NOT NULL", ""),
    Change("ALTER TABLE bars ADD CHECK (price > 0)", ""),
    Change("ALTER TABLE bars SET (fillfactor = 50)", ""),
    # Types.
    Change("ALTER TYPE mood ADD VALUE 'good' BEFORE 'ok'", "", MOODS),
    Change("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "labels of mood", MOODS),
    Change("ALTER TYPE pair ADD ATTRIBUTE c int", r"fields of pair\[\]", MOODS),
    Change("ALTER TYPE pair RENAME ATTRIBUTE b TO c", r"fields of pair\[\]", MOODS),
    Change("ALTER TYPE pair RENAME ATTRIBUTE b TO c", "", MOODS, columns=("id", "price")),
    # Partitions.
    Change("ALTER TABLE bars ATTACH PARTITION other FOR VALUES FROM (20) TO (30)", "other", PARTS),
    Change("ALTER TABLE bars DETACH PARTITION late", "'late' was detached or dropped", PARTS),
    Change("DROP TABLE late", "'late' was detached or dropped", PARTS),
    Change(
        "ALTER TABLE bars DETACH PARTITION late; DELETE FROM late; "
        "ALTER TABLE bars ATTACH PARTITION late FOR VALUES FROM (10) TO (20)",
        "'late' was detached and attached again",
        PARTS,
    ),
    Change("CREATE TABLE new PARTITION OF bars FOR VALUES FROM (30) TO (40)", "", PARTS),
    Change(
        "CREATE TABLE new PARTITION OF bars FOR VALUES FROM (30) TO (40) PARTITION BY LIST (day); "
        "CREATE TABLE new1 PARTITION OF new FOR VALUES IN (31)",
        "",
        PARTS,
    ),
    Change(
        "CREATE TABLE new (LIKE bars) PARTITION BY LIST (day); "
        "ALTER TABLE bars ATTACH PARTITION new FOR VALUES FROM (30) TO (40)",
        "'new' was attached",
        PARTS,
    ),
    Change("ALTER TABLE bars ADD COLUMN more int DEFAULT 5", "'more' was added", PARTS),
    Change("ALTER TABLE bars ALTER price TYPE float8 USING price + 1", "'price' was alt", PARTS),
    Change("TRUNCATE late", "", PARTS, is_told=False),
    Change("VACUUM FULL late", "", PARTS, is_told=False),
    Change("ALTER TABLE late REPLICA IDENTITY FULL", "'late' has another replica iden", PARTS),
]


@pytest.fixture(scope="module", params=["private", "older"])
def watched(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A database with the event trigger, of each server."""
    if request.param == "private":
        dsn = request.getfixturevalue("postgres_dsn")
    else:
        dsn = request.getfixturevalue("older_server").dsn()
    with own_database(dsn) as connection:
        assert ddl_trigger.install(connection) == ""
        connection.execute('CREATE PUBLICATION "none"')
        yield connection
        assert ddl_trigger.remove(connection)


@pytest.fixture
def schema(watched: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """An empty schema, first in the search path."""
    watched.execute("CREATE SCHEMA playing")
    watched.execute("SET search_path = playing")
    yield watched
    watched.execute("DROP SCHEMA playing CASCADE")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.statement[:60])
def test_a_change_is_told_and_judged(schema: psycopg.Connection, change: Change) -> None:
    """What the trigger tells names the table, its root or a type; what the catalog shows says
    whether rows that were copied before are still right.
    """
    for statement in change.made.strip().split(";\n"):
        schema.execute(statement.encode())
    before = read_shape(schema, "bars")

    with slot_by_sql(schema, ["none"]) as slot:
        for statement in change.statement.split("; "):
            schema.execute(statement.encode())
        told = [ddl_trigger.parse_message(one) for one in slot.messages("ngb.ddl")]

    made = [leaf for one in told for leaf in one.made]
    try:
        after = read_shape(schema, "bars")
        reason = copy_reason(before, after, change.columns, made=made)
    except QueryError as error:
        reason = error.what
    oids = frozenset((before.oid, *before.leaves))
    assert any(one.concerns(oids) for one in told) == change.is_told
    assert_reason(reason, change.reason)


def assert_reason(reason: str, expected: str) -> None:
    """A regular expression that is found; empty for none at all."""
    assert bool(reason) == bool(expected), reason
    assert re.search(expected, reason), reason
