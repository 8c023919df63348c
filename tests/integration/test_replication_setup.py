"""Publications and what they need, on real servers: the producer's statements go on working."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from fix_replication import dsn_of, plain_role
from neural_gpu_bus.errors import (
    BadParameterError,
    QueryError,
    QueryTimeoutError,
    ReplicationRefusedError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.replication.append_only import change_counts
from neural_gpu_bus.stores.postgres.replication.preflight import TableWanted, preflight
from neural_gpu_bus.stores.postgres.replication.publications import (
    add_table,
    drop_harmful,
    drop_others,
    drop_publications,
    drop_table,
    ensure_publications,
    membership_of,
    memberships,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.table_catalog import check_columns, read_shape
from neural_gpu_bus.stores.postgres.replication.told import Waits
from own_server import own_server
from stream_by_sql import Seen, slot_by_sql

NAMES = publication_names("setup")
PARTS = """
CREATE TABLE bars (id int, day int, price float8, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10);
CREATE TABLE late (price float8, gone int, day int NOT NULL, id int NOT NULL);
ALTER TABLE late DROP COLUMN gone;
ALTER TABLE bars ATTACH PARTITION late FOR VALUES FROM (10) TO (20)
"""


def run(connection: psycopg.Connection, statements: str) -> None:
    for statement in statements.strip().split(";\n"):
        connection.execute(statement.encode())


@pytest.fixture
def published(each_database: psycopg.Connection) -> psycopg.Connection:
    """A database with both publications."""
    ensure_publications(each_database, NAMES)
    return each_database


# ---- publications


def test_a_table_comes_in_and_out(published: psycopg.Connection) -> None:
    published.execute('CREATE TABLE "Bars, all" (id int PRIMARY KEY, price float8)')
    ensure_publications(published, NAMES)
    shape = read_shape(published, "Bars, all")

    made = add_table(published, NAMES, shape)
    again = add_table(published, NAMES, shape)

    assert made == again == membership_of(memberships(published, NAMES), shape)
    assert (made.lacking, made.where, made.publication) == ("", "", NAMES.changes)
    drop_table(published, NAMES, shape.oid)
    drop_table(published, NAMES, shape.oid)
    assert memberships(published, NAMES) == {}
    drop_publications(published, NAMES)
    drop_publications(published, NAMES)
    drop_table(published, NAMES, shape.oid)


def test_what_is_not_wanted_any_more_is_taken_out(published: psycopg.Connection) -> None:
    run(published, PARTS)
    published.execute("CREATE TABLE older (id int PRIMARY KEY)")
    shapes = [read_shape(published, name) for name in ("bars", "early", "older")]
    for shape in shapes:
        add_table(published, NAMES, shape)

    drop_others(published, NAMES, {shapes[0].oid, shapes[1].oid})

    assert memberships(published, NAMES).keys() == {shapes[0].oid, shapes[1].oid}


#: Tables whose updates cannot be published, and what is said to be run.
WITHOUT_IDENTITY = {
    "CREATE TABLE bars (id int NOT NULL, day int)": "REPLICA IDENTITY FULL;",
    "CREATE TABLE bars (id int PRIMARY KEY DEFERRABLE, day int);\n"
    "CREATE TABLE bars_identity (id int)": 'REPLICA IDENTITY USING INDEX "bars_identity1";',
    "CREATE TABLE bars (id int NOT NULL, day int NOT NULL UNIQUE);\n"
    "CREATE UNIQUE INDEX a ON bars (id) WHERE id > 0;\n"
    "CREATE UNIQUE INDEX b ON bars (abs(id))": 'USING INDEX "bars_day_key";',
    "CREATE TABLE bars (id int PRIMARY KEY, day int);\n"
    "ALTER TABLE bars REPLICA IDENTITY NOTHING": "REPLICA IDENTITY DEFAULT;",
    "CREATE TABLE bars (id int, day int NOT NULL);\nCREATE UNIQUE INDEX u ON bars (day);\n"
    "ALTER TABLE bars REPLICA IDENTITY USING INDEX u;\nDROP INDEX u": "REPLICA IDENTITY FULL;",
    "CREATE TABLE bars (id int, day int, PRIMARY KEY (id, day) DEFERRABLE) "
    "PARTITION BY RANGE (day);\n"
    "CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10);\n"
    "ALTER TABLE early REPLICA IDENTITY FULL": 'ADD PRIMARY KEY ("id", "day");',
    "CREATE TABLE bars (id int NOT NULL, day int NOT NULL, UNIQUE (id, day)) "
    "PARTITION BY RANGE (day);\n"
    "CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10);\n"
    "ALTER TABLE bars REPLICA IDENTITY FULL": 'ADD PRIMARY KEY ("id", "day");',
    "CREATE TABLE bars (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);\n"
    "CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10);\n"
    "CREATE TABLE \"the 'late'\" PARTITION OF bars FOR VALUES FROM (10) TO (20);\n"
    "ALTER TABLE early REPLICA IDENTITY NOTHING;\n"
    "ALTER TABLE \"the 'late'\" REPLICA IDENTITY FULL;\n"
    "ALTER TABLE bars REPLICA IDENTITY NOTHING": '"early" REPLICA IDENTITY DEFAULT;',
    "CREATE TABLE bars (id int NOT NULL, day int) PARTITION BY RANGE (day);\n"
    "CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10)": "",
    "CREATE TABLE bars (id int PRIMARY KEY, day int) PARTITION BY RANGE (id);\n"
    "CREATE TABLE early PARTITION OF bars FOR VALUES FROM (0) TO (10);\n"
    "ALTER TABLE bars DROP CONSTRAINT bars_pkey, ADD UNIQUE (id);\n"
    "ALTER TABLE bars ALTER id SET NOT NULL;\nALTER TABLE early ADD PRIMARY KEY (day, id)": "",
}


def test_a_table_without_identity_is_refused_and_what_is_said_to_be_run_helps(
    published: psycopg.Connection,
) -> None:
    """By the refusal of set-up and by the look before it; the producer's UPDATE works meanwhile."""

    def refused(name: str) -> ReplicationRefusedError:
        with pytest.raises(ReplicationRefusedError, match="table refused") as found:
            add_table(published, NAMES, read_shape(published, name))
        return found.value

    def looked_at(name: str) -> ReplicationRefusedError:
        with pytest.raises(ReplicationRefusedError, match="table looked_at") as found:
            preflight(published, [TableWanted(name)], NAMES).check()
        return found.value

    for number, (statements, way) in enumerate(WITHOUT_IDENTITY.items()):
        told = (refused, looked_at)[number % 2]
        schema = f"{told.__name__}{number}"
        run(published, f"CREATE SCHEMA {schema};\nSET search_path TO {schema}")
        run(published, f"{statements};\nINSERT INTO bars VALUES (1, 1)")
        error = told(f"{schema}.bars")
        published.execute("UPDATE bars SET id = 2")
        _check_way_out(published, f"{schema}.bars", error, way)


def _check_way_out(
    published: psycopg.Connection, name: str, error: ReplicationRefusedError, way: str
) -> None:
    ((_, said),) = error.facts["missing"]
    if not way:
        assert said == ""
        assert "a primary key, with the columns that it is partitioned by: " in error.hint
        add_table(published, NAMES, read_shape(published, name), append_only=True)
        return
    assert said.endswith(way) or f"{way} " in said
    assert said in error.hint
    script = error.hint if error.hint.startswith("run:\n") else said
    published.execute(script.removeprefix("run:\n").encode())
    found = preflight(published, [TableWanted(name)], NAMES)
    assert found.missing == ()
    add_table(published, NAMES, found.shapes[0])
    published.execute("UPDATE bars SET id = 3")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE bars DROP CONSTRAINT bars_pkey",
        "ALTER TABLE bars REPLICA IDENTITY NOTHING",
        "ALTER TABLE bars DROP CONSTRAINT bars_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
    ],
)
def test_a_table_that_lost_its_identity_is_taken_out(
    published: psycopg.Connection, statement: str
) -> None:
    run(published, "CREATE TABLE bars (id int PRIMARY KEY);\nINSERT INTO bars VALUES (1)")
    add_table(published, NAMES, read_shape(published, "bars"))
    published.execute(statement.encode())

    with pytest.raises(ReplicationRefusedError, match="UPDATE and DELETE would fail"):
        add_table(published, NAMES, read_shape(published, "bars"))

    published.execute("UPDATE bars SET id = 2")


def test_what_harms_the_producer_or_the_stream_is_taken_out(
    published: psycopg.Connection,
) -> None:
    for name in ("good", "keyless", "deadly", "growing"):
        run(published, f"CREATE TABLE {name} (id int PRIMARY KEY);\nINSERT INTO {name} VALUES (1)")
        shape = read_shape(published, name)
        add_table(published, NAMES, shape, append_only=name == "growing")
    for name in ("keyless", "growing"):
        published.execute(f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey".encode())
    published.execute("ALTER TABLE deadly ADD COLUMN rights aclitem[]")

    shapes = {
        name: read_shape(published, name) for name in ("good", "keyless", "deadly", "growing")
    }
    for shape in shapes.values():
        drop_harmful(published, NAMES, shape)

    assert memberships(published, NAMES).keys() == {shapes["good"].oid, shapes["growing"].oid}
    run(published, "UPDATE keyless SET id = 2;\nUPDATE growing SET id = 2")


def test_a_table_that_only_grows_is_published_without_updates(
    published: psycopg.Connection,
) -> None:
    published.execute("CREATE TABLE bars (id int)")
    shape = read_shape(published, "bars")
    made = add_table(published, NAMES, shape, append_only=True)
    before = change_counts(published, shape)

    with slot_by_sql(published, NAMES.both) as slot:
        run(
            published,
            "INSERT INTO bars VALUES (1);\nUPDATE bars SET id = 2;\nDELETE FROM bars;\n"
            "TRUNCATE bars",
        )
        kinds = [one.kind for one in slot.rows()]
    published.execute("SELECT pg_stat_force_next_flush()" if is_new(published) else "SELECT 1")

    assert (made.append_only, made.publication) == (True, NAMES.growing)
    assert kinds == ["I", "T"]
    assert change_counts(published, shape).changed_since(before).startswith("1 rows were updated")
    assert add_table(published, NAMES, shape, append_only=True) == made


def is_new(connection: psycopg.Connection) -> bool:
    return connection.info.server_version >= 150_000


def test_a_table_goes_from_one_publication_into_the_other(published: psycopg.Connection) -> None:
    published.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    shape = read_shape(published, "bars")
    before = add_table(published, NAMES, shape, append_only=True)

    after = add_table(published, NAMES, shape)

    assert (before.publication, after.publication) == NAMES.both[::-1]
    assert memberships(published, NAMES) == {shape.oid: after}


# ---- row filters


def test_a_filter_of_identity_columns_turns_updates_into_inserts_and_deletes(
    published: psycopg.Connection,
) -> None:
    published.execute("CREATE TABLE bars (id int PRIMARY KEY, note text)")
    shape = read_shape(published, "bars")
    made = add_table(published, NAMES, shape, where="id > 5 -- a comment")
    again = add_table(published, NAMES, shape, where="(id>5)")

    with slot_by_sql(published, NAMES.both) as slot:
        published.execute("INSERT INTO bars VALUES (1), (7)")
        published.execute("UPDATE bars SET id = id + 5 WHERE id = 1")
        published.execute("UPDATE bars SET id = 0 WHERE id = 7")
        kinds = [one.kind for one in slot.rows()]

    assert kinds == ["I", "I", "D"]
    assert made == again
    assert add_table(published, NAMES, shape, where="id > 6").token != made.token
    assert add_table(published, NAMES, shape).where == ""


def test_a_filter_must_not_make_the_producers_update_fail(published: psycopg.Connection) -> None:
    run(
        published,
        "CREATE TABLE bars (id int PRIMARY KEY, price int);\nINSERT INTO bars VALUES (1, 2)",
    )
    with pytest.raises(ReplicationRefusedError, match="column 'price', which is not in") as refused:
        add_table(published, NAMES, read_shape(published, "bars"), where="price > 0")
    published.execute("UPDATE bars SET price = 3")

    assert 'ALTER TABLE "public"."bars" REPLICA IDENTITY FULL;' in refused.value.hint
    published.execute("ALTER TABLE bars REPLICA IDENTITY FULL")
    add_table(published, NAMES, read_shape(published, "bars"), where="price > 0")
    published.execute("UPDATE bars SET price = 4")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("id >", "syntax error"),
        ("missing > 1", "does not exist"),
        ("id > (SELECT 1)", "Only columns, constants"),
        ("id > random()", "mutable"),
        ("xmin = '1'", "System columns"),
        ("id", "must be type boolean"),
    ],
)
def test_what_can_be_no_filter_is_refused(
    published: psycopg.Connection, where: str, why: str
) -> None:
    published.execute("CREATE TABLE bars (id int PRIMARY KEY)")

    with pytest.raises(BadParameterError, match=why):
        add_table(published, NAMES, read_shape(published, "bars"), where=where)

    assert memberships(published, NAMES) == {}


# ---- partitions


def test_partitions_are_published_as_they_are_stored(published: psycopg.Connection) -> None:
    """Under their own OIDs, with their own order of columns; TRUNCATE of one is sent, and so are
    rows of one that was made afterwards.
    """
    run(published, PARTS)
    shape = read_shape(published, "bars")
    add_table(published, NAMES, shape)
    early, late = (read_shape(published, name).oid for name in ("early", "late"))

    with slot_by_sql(published, NAMES.both) as slot:
        published.execute("INSERT INTO bars VALUES (1, 5, 0.5), (2, 15, 1.5)")
        published.execute("UPDATE bars SET day = 16 WHERE id = 1")
        seen = slot.take()
        run(published, "TRUNCATE late;\nTRUNCATE bars")
        run(published, "CREATE TABLE new PARTITION OF bars FOR VALUES FROM (20) TO (30)")
        published.execute("INSERT INTO bars VALUES (3, 25, 1)")
        after = slot.take()

    assert shape.leaves == (early, late)
    assert [(one.kind, one.of) for one in seen if one.kind in "IUD"] == [
        ("I", early), ("I", late), ("D", early), ("I", late)
    ]  # fmt: skip
    assert columns_of(seen, late) == ["price", "day", "id"]
    truncated = [sorted(one.of) for one in after if one.kind == "T"]
    assert truncated == [[late], [early, late]]
    assert [one.of for one in after if one.kind == "I"] == [read_shape(published, "new").oid]


def columns_of(seen: list[Seen], oid: int) -> list[str]:
    (found,) = [one.new for one in seen if one.kind == "R" and one.of == oid]
    return [name for name, *_ in found]


def test_a_filter_holds_for_each_partition(published: psycopg.Connection) -> None:
    run(published, PARTS)
    shape = read_shape(published, "bars")
    made = add_table(published, NAMES, shape, where="id > 5")
    again = add_table(published, NAMES, shape, where="id > 5")

    with slot_by_sql(published, NAMES.both) as slot:
        published.execute(
            "INSERT INTO bars VALUES (1, 5, 0.5), (7, 5, 0.5), (2, 15, 1), (8, 15, 1)"
        )
        published.execute("UPDATE bars SET day = 15 WHERE id IN (1, 7)")
        kinds = [one.kind for one in slot.rows()]
    run(published, "CREATE TABLE new PARTITION OF bars FOR VALUES FROM (20) TO (30)")
    more = read_shape(published, "bars")

    assert kinds == ["I", "I", "D", "I"]
    assert (made, made.lacking) == (again, "")
    found = membership_of(memberships(published, NAMES), more)
    assert found is not None
    assert found.lacking == "not all partitions have the row filter"
    assert add_table(published, NAMES, more, where="id > 5").lacking == ""
    drop_table(published, NAMES, more.oid)
    assert memberships(published, NAMES) == {}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("ALTER TABLE late REPLICA IDENTITY NOTHING", "partition public.late: it has REPLICA"),
        ("ALTER TABLE bars DROP CONSTRAINT bars_pkey", "no primary key"),
        ("ALTER TABLE bars REPLICA IDENTITY FULL", "not inherited by new partitions"),
        (
            "CREATE UNIQUE INDEX u ON late (day);\nALTER TABLE late REPLICA IDENTITY USING INDEX u",
            "identity of other columns [(]day[)]",
        ),
    ],
)
def test_partitions_with_an_identity_of_their_own(
    published: psycopg.Connection, statement: str, why: str
) -> None:
    run(published, PARTS)
    run(published, statement)

    with pytest.raises(ReplicationRefusedError, match=why):
        add_table(published, NAMES, read_shape(published, "bars"))

    run(published, "INSERT INTO bars VALUES (1, 5, 1), (1, 15, 1);\nUPDATE bars SET price = 2")


# ---- what cannot be live


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("CREATE VIEW bars AS SELECT 1", "a view"),
        ("CREATE MATERIALIZED VIEW bars AS SELECT 1", "a materialized view"),
        ("CREATE TEMP TABLE bars (id int)", "temporary"),
        ("CREATE UNLOGGED TABLE bars (id int)", "unlogged"),
        ("CREATE SEQUENCE bars", "a sequence"),
        ("CREATE TABLE bars (id int);\nCREATE TABLE more () INHERITS (bars)", "inherited from"),
        (
            "CREATE TABLE bars (id int) PARTITION BY LIST (id);\n"
            "CREATE UNLOGGED TABLE one PARTITION OF bars FOR VALUES IN (1)",
            "partition public.one is unlogged",
        ),
        ("SELECT 1", "there is no table 'bars'"),
    ],
)
def test_what_has_no_changes_in_the_stream_is_refused(
    each_database: psycopg.Connection, statement: str, why: str
) -> None:
    run(each_database, statement)

    with pytest.raises(QueryError, match=why):
        read_shape(each_database, "bars")


def test_columns_that_cannot_come_are_refused_by_name(each_database: psycopg.Connection) -> None:
    each_database.execute(
        "CREATE TABLE bars (id int PRIMARY KEY, rights aclitem, twice int "
        "GENERATED ALWAYS AS (id * 2) STORED)"
    )
    shape = read_shape(each_database, "bars")

    check_columns(shape, ["id"])
    with pytest.raises(UnsupportedTypeError, match="'rights' of bars is aclitem, which has no bin"):
        check_columns(shape, None)
    with pytest.raises(QueryError, match="no column 'missing'"):
        check_columns(shape, ["missing"])
    if each_database.info.server_version < 180_000:
        with pytest.raises(UnsupportedTypeError, match=r"'twice' of bars is generated \(stored\)"):
            check_columns(shape, ["id", "twice"])
    else:
        check_columns(shape, ["id", "twice"])
        each_database.execute("ALTER TABLE bars ADD thrice int GENERATED ALWAYS AS (id * 3)")
        with pytest.raises(UnsupportedTypeError, match=r"'thrice' of bars is generated \(virtual"):
            check_columns(read_shape(each_database, "bars"), ["thrice"])


def test_a_type_that_would_end_the_stream_is_refused_whatever_is_chosen(
    each_database: psycopg.Connection,
) -> None:
    run(
        each_database,
        "CREATE TYPE held AS (a int, b aclitem);\nCREATE DOMAIN plain AS aclitem;\n"
        "CREATE TABLE bars (id int PRIMARY KEY, note plain);\n"
        "CREATE TABLE more (id int PRIMARY KEY, held held[])",
    )

    check_columns(read_shape(each_database, "bars"), ["id"])
    with pytest.raises(UnsupportedTypeError, match=r"'held' of more is held\[\], made of a type"):
        check_columns(read_shape(each_database, "more"), ["id"])


def test_generated_columns_come_with_18(database: psycopg.Connection) -> None:
    database.execute(
        "CREATE TABLE bars (id int, twice int GENERATED ALWAYS AS (id * 2) STORED, "
        "PRIMARY KEY (id, twice))"
    )
    ensure_publications(database, NAMES)
    add_table(database, NAMES, read_shape(database, "bars"))

    with slot_by_sql(database, NAMES.both) as slot:
        run(database, "INSERT INTO bars (id) VALUES (3);\nUPDATE bars SET id = 4")
        seen = slot.rows()

    assert seen[0].new == [b"\0\0\0\3", b"\0\0\0\6"]
    assert seen[1].old == seen[0].new


# ---- preflight


def test_preflight_finds_nothing_missing_for_a_superuser(
    each_database: psycopg.Connection,
) -> None:
    each_database.execute("CREATE TABLE bars (id int PRIMARY KEY, price float8)")

    found = preflight(each_database, [TableWanted("bars")], NAMES)
    filtered = preflight(each_database, [TableWanted("bars", where="id > 3")], NAMES)

    assert found.missing == ()
    found.check()
    assert any("memory folder" in one for one in found.notices)
    (more,) = set(filtered.notices) - set(found.notices)
    assert "PostgreSQL refuses to drop the columns" in more


def test_preflight_says_what_to_run_and_it_helps(each_database: psycopg.Connection) -> None:
    """A role that may do nothing: what it says is run, until nothing is missing."""
    run(
        each_database,
        'CREATE SCHEMA "My\nMarket";\n'
        'CREATE TABLE "My\nMarket"."Bars" (id int NOT NULL, p float8);\n'
        'ALTER TABLE "My\nMarket"."Bars" ENABLE ROW LEVEL SECURITY',
    )
    where = "id > 3 -- most"
    wanted = [TableWanted("My\nMarket.Bars", where=where)]
    with plain_role(each_database) as (role, own):
        found = preflight(own, wanted, NAMES)
        said = [one.what for one in found.missing]
        with pytest.raises(ReplicationRefusedError, match="may not replicate, and") as refused:
            found.check()
        each_database.execute(refused.value.hint.removeprefix("run:\n").encode())  # as it is

        assert preflight(own, wanted, NAMES).missing == ()
        ensure_publications(own, NAMES)
        add_table(own, NAMES, read_shape(own, "My\nMarket.Bars"), where=where)
        drop_publications(own, NAMES)

    assert [part in " ".join(said) for part in ("replicate", "publications", "schema", "read")]
    assert any("row security hides rows" in one for one in said)
    assert any("does not own" in one for one in said)
    assert any("no primary key" in one for one in said)
    assert f'ALTER ROLE "{role}" REPLICATION;' in refused.value.hint
    assert f'GRANT SELECT ON "My\nMarket"."Bars" TO "{role}";' in refused.value.hint


def test_a_publication_that_an_administrator_made_does_as_well(
    each_database: psycopg.Connection,
) -> None:
    each_database.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    ensure_publications(each_database, NAMES)
    made = add_table(each_database, NAMES, read_shape(each_database, "bars"))
    with plain_role(each_database) as (role, own):
        name = sql.Identifier(role)
        each_database.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(name))
        each_database.execute(sql.SQL("GRANT SELECT ON bars TO {}").format(name))

        found = preflight(own, [TableWanted("bars")], NAMES)
        ensure_publications(own, NAMES)

        assert found.missing == ()
        assert add_table(own, NAMES, found.shapes[0]) == made


def test_a_server_that_is_not_set_up_is_told() -> None:
    settings = {"wal_level": "replica", "max_replication_slots": "0", "max_wal_senders": "0"}
    with own_server(**settings) as server:
        server.run("CREATE TABLE bars (id int PRIMARY KEY)")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            found = preflight(connection, [TableWanted("bars")], NAMES, slot_wal_bytes_max=1 << 30)

    assert [one.sql for one in found.missing] == [
        "ALTER SYSTEM SET wal_level = 'logical';",
        "ALTER SYSTEM SET max_replication_slots = 10;",
        "ALTER SYSTEM SET max_wal_senders = 10;",
    ]
    assert all(one.restart for one in found.missing)
    assert any("max_slot_wal_keep_size" in one for one in found.notices)


# ---- locks


def test_who_keeps_the_lock_is_told(database: psycopg.Connection) -> None:
    database.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    ensure_publications(database, NAMES)
    told: list[str] = []
    with psycopg.connect(dsn_of(database), application_name="a producer") as holder:
        holder.execute("LOCK TABLE bars IN SHARE MODE")
        pid, waits = holder.info.backend_pid, Waits(told.append, limit_s=1.5)

        with pytest.raises(QueryTimeoutError, match=f"pid {pid} .*a producer") as late:
            add_table(database, NAMES, read_shape(database, "bars"), waits=waits)

    assert "LOCK TABLE bars IN SHARE MODE" in told[0]
    assert "pg_terminate_backend" in late.value.hint
