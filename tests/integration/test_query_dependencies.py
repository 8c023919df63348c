"""What results depend on, as the server reads the statement: every kind of table and function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_stores import Playground
from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.errors import BadParameterError, QueryTimeoutError
from neural_gpu_bus.stores.postgres.dependencies import dependencies as asking
from neural_gpu_bus.stores.postgres.dependencies.dependencies import DependencyReader
from neural_gpu_bus.stores.postgres.dependencies.dependency_records import Dependencies
from neural_gpu_bus.stores.postgres.dependencies.identity import ask_identity
from own_server import own_server, standby_of


@contextmanager
def lending(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    yield connection


def asked(playground: Playground, sql: str, params: Any = None) -> Dependencies:
    return reader(playground.connection).dependencies(sql, params)


def reader(connection: psycopg.Connection) -> DependencyReader:
    return DependencyReader(lambda: lending(connection), "here")


def names(playground: Playground, found: Dependencies) -> set[str]:
    prefix = f"{playground.schema}."
    return {relation.name.removeprefix(prefix) for relation in found.relations}


@pytest.fixture
def market(playground: Playground) -> Playground:
    playground.run(
        "CREATE TABLE bars (id int, at timestamptz, close float8); "
        "CREATE TABLE desks (desk int, name text); "
        "CREATE VIEW newest AS SELECT id, max(at) AS at FROM bars GROUP BY id; "
        "CREATE VIEW shown AS SELECT n.*, d.name FROM newest n JOIN desks d ON d.desk = n.id"
    )
    return playground


def test_a_plain_table(market: Playground) -> None:
    found = asked(market, "SELECT avg(close) FROM bars WHERE id = %(id)s;", {"id": 7})

    assert names(market, found) == {"bars"}
    assert found.functions == ()
    assert found.not_kept == () == found.not_live
    assert found.fingerprint


def test_views_in_views_and_subqueries(market: Playground) -> None:
    found = asked(
        market, "WITH w AS (SELECT 1 AS id) SELECT * FROM w WHERE id IN (SELECT id FROM shown)"
    )

    assert names(market, found) == {"shown", "newest", "bars", "desks"}
    assert {one.kind for one in found.relations} == {"table", "view"}
    assert found.not_kept == () == found.not_live


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT random() AS x", "random() is VOLATILE"),
        ("SELECT clock_timestamp() AS x", "clock_timestamp() is VOLATILE"),
        ("SELECT close FROM bars LIMIT (random() * 10)::int", "random() is VOLATILE"),
        ("SELECT close FROM bars ORDER BY random()", "random() is VOLATILE"),
        ("SELECT nextval('counter') AS x", "nextval(regclass) is VOLATILE"),
        ("SELECT * FROM bars FOR UPDATE", "it locks rows"),
        ("SELECT * FROM bars TABLESAMPLE system (10)", "it draws a sample anew"),
        ("SELECT own_volatile(1) AS x", "own_volatile(integer) is VOLATILE; declare it STABLE"),
        ("SELECT own_sum(id) AS x FROM bars", "own_step(integer,integer) is VOLATILE"),
        ("SELECT id <#> 1 AS x FROM bars", "own_operator(integer,integer) is VOLATILE"),
        ("SELECT * FROM through_a_view", "random() is VOLATILE"),
        ("SELECT * FROM passing", "passing is temporary"),
        ("DELETE FROM bars RETURNING *", "only the rows of a SELECT"),
        ("WITH gone AS (DELETE FROM bars RETURNING *) SELECT * FROM gone", "data-modifying"),
        ("SHOW work_mem", "only the rows of a SELECT"),
        ("SELECT * FROM missing", 'relation "missing" does not exist'),
        ("SELECT 1 AS a; SELECT 2 AS b", "only the rows of a SELECT"),
        ("SELECT id, close AS id FROM bars", "two columns are named 'id'"),
        ("SELECT FROM bars", "it has no columns"),
        ("SELECT 1 AS a) AS x, (SELECT 2 AS b", "syntax error"),
        ("SELECT 1::checked AS x", "own_volatile(integer) is VOLATILE"),
        ("SELECT name::checked_twice AS x FROM desks", "own_volatile(integer) is VOLATILE"),
        ("SELECT (id::text || '0')::int::checked_twice::text AS x FROM bars", "own_volatile"),
    ],
)
def test_what_is_never_kept(market: Playground, sql: str, why: str) -> None:
    market.run(
        "CREATE SEQUENCE counter; CREATE TEMP TABLE passing (id int); "
        "CREATE FUNCTION own_volatile(x int) RETURNS int LANGUAGE sql AS 'SELECT x'; "
        "CREATE FUNCTION own_step(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b'; "
        "CREATE AGGREGATE own_sum (int) (SFUNC = own_step, STYPE = int, INITCOND = '0'); "
        "CREATE FUNCTION own_operator(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a'; "
        "CREATE OPERATOR <#> (LEFTARG = int, RIGHTARG = int, FUNCTION = own_operator); "
        "CREATE DOMAIN checked AS int CHECK (own_volatile(VALUE) > 0); "
        "CREATE DOMAIN checked_twice AS checked CHECK (VALUE < 9); "
        "CREATE VIEW through_a_view AS SELECT id, random() AS r FROM bars"
    )

    found = asked(market, sql)

    assert any(why in reason for reason in found.not_kept), found.not_kept
    assert market.rows("SELECT count(*) FROM bars") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT * FROM bars WHERE at > now()", "now() is STABLE"),
        ("SELECT * FROM bars WHERE at::date = current_date", "it tells the time"),
        ("SELECT * FROM bars WHERE at > 'today'", "the word 'today'"),
        ("SELECT name::timestamptz AS at FROM desks", "timestamptz_in(cstring,oid,integer)"),
        ("SELECT desk::text::timestamptz AS at FROM desks", "timestamptz_in(cstring,oid,integer)"),
        ("SELECT opaque(1) AS x", "opaque(integer) is STABLE and written in plpgsql"),
        ("SELECT texted(1) AS x", "texted(integer) is STABLE and written in sql"),
        ("SELECT * FROM counted", "counted is a materialized view"),
        ("SELECT last_value FROM counter", "counter is a sequence"),
        ("SELECT * FROM quick", "quick is unlogged"),
        ("SELECT relname FROM pg_class", "pg_catalog.pg_class is PostgreSQL's own"),
    ],
)
def test_what_is_kept_for_a_time_and_never_live(market: Playground, sql: str, why: str) -> None:
    market.run(
        "CREATE SEQUENCE counter; CREATE UNLOGGED TABLE quick (id int); "
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM bars; "
        "CREATE FUNCTION opaque(x int) RETURNS bigint STABLE LANGUAGE plpgsql AS "
        "'BEGIN RETURN (SELECT count(*) FROM bars WHERE id = x); END'; "
        "CREATE FUNCTION texted(x int) RETURNS bigint STABLE LANGUAGE sql AS "
        "'SELECT count(*) FROM bars WHERE id = x'"
    )

    found = asked(market, sql)

    assert found.not_kept == ()
    assert any(why in reason for reason in found.not_live), found.not_live


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT at::date AS day, avg(close) FROM bars GROUP BY 1",
        "SELECT date_trunc('hour', at) AS hour FROM bars WHERE at > date '2026-01-01'",
        "SELECT id, close - lag(close) OVER (PARTITION BY id ORDER BY at) AS step FROM bars",
        "SELECT * FROM generate_series(1, 3) AS id JOIN bars USING (id)",
        "SELECT session_user AS who, count(*) FROM bars",
        "SELECT id::positive AS id FROM bars",
        "SELECT * FROM bars TABLESAMPLE system (10) REPEATABLE (1)",
    ],
)
def test_what_can_be_live(market: Playground, sql: str) -> None:
    market.run("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    found = asked(market, sql)

    assert found.not_kept == () == found.not_live
    assert names(market, found) == {"bars"}


def test_partitions_and_children_count(playground: Playground) -> None:
    playground.run(
        "CREATE TABLE bars (id int, close float8) PARTITION BY LIST (id); "
        "CREATE TABLE bars_1 PARTITION OF bars FOR VALUES IN (1) PARTITION BY LIST (close); "
        "CREATE TABLE bars_1_1 PARTITION OF bars_1 FOR VALUES IN (1.5); "
        "CREATE TABLE bars_2 PARTITION OF bars FOR VALUES IN (2)"
    )

    found = asked(playground, "SELECT * FROM bars WHERE id = 2")

    assert names(playground, found) == {"bars", "bars_1", "bars_1_1", "bars_2"}


def test_a_parsed_function_is_followed(market: Playground) -> None:
    market.run(
        "CREATE FUNCTION parsed(x int) RETURNS bigint STABLE LANGUAGE sql "
        "BEGIN ATOMIC SELECT count(*) FROM shown WHERE id = x; END"
    )

    found = asked(market, "SELECT parsed(%s) AS x", [1])

    assert names(market, found) == {"shown", "newest", "bars", "desks"}
    assert found.not_live == ()
    assert [(one.name, one.volatility) for one in found.functions] == [
        ("parsed(integer)", "stable")
    ]


def test_row_security_is_followed(market: Playground) -> None:
    market.run(
        "CREATE TABLE allowed (id int); ALTER TABLE bars ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY own ON bars USING (id IN (SELECT id FROM allowed) "
        "AND current_setting('app.tenant', true) IS NULL)"
    )

    found = asked(market, "SELECT * FROM bars")

    assert names(market, found) == {"bars", "allowed"}
    assert any("current_setting(text,boolean) is STABLE" in why for why in found.not_live)


def test_the_types_of_values_choose_the_function(market: Playground) -> None:
    market.run(
        "CREATE FUNCTION f(x int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'; "
        "CREATE FUNCTION f(x text) RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 2'"
    )

    by_number, by_text = (
        asked(market, "SELECT f(%s) AS x", [1]),
        asked(market, "SELECT f(%s::text) AS x", ["1"]),
    )

    assert by_number.not_kept == ()
    assert by_text.not_kept == ("f(text) is VOLATILE; declare it STABLE if it only reads",)


def test_nothing_is_left_behind(market: Playground) -> None:
    asked(market, "SELECT * FROM bars")
    asked(market, "SELECT * FROM missing")

    status = market.connection.info.transaction_status

    assert status == psycopg.pq.TransactionStatus.IDLE
    assert market.rows("SELECT count(*) FROM pg_class WHERE relname = 'ngb_dependencies'") == [(0,)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE bars ADD COLUMN volume float8",
        "CREATE OR REPLACE VIEW newest AS SELECT id, min(at) AS at FROM bars GROUP BY id",
        "CREATE OR REPLACE FUNCTION f(x int) RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 2'",
        "DROP VIEW shown",
    ],
)
def test_a_changed_catalog_is_seen(market: Playground, change: str) -> None:
    market.run("CREATE FUNCTION f(x int) RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'")
    asking_reader = reader(market.connection)
    known = asking_reader.dependencies("SELECT *, f(1) AS one FROM shown")

    before = asking_reader.still_holds(known)
    market.run("INSERT INTO bars VALUES (1, now(), 1)")
    untouched = asking_reader.still_holds(known)
    market.run(change)

    assert (before, untouched) == (True, True)
    assert not asking_reader.still_holds(known)


@pytest.fixture
def reader_without_temp(market: Playground) -> Iterator[Playground]:
    """As a user who may make no temporary view: as on a standby, words are all there is."""
    role, schema = f"{market.schema}_reader", market.schema
    (database,) = market.rows("SELECT quote_ident(current_database())")[0]
    market.run(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}; "
        "CREATE FUNCTION drawn(x int) RETURNS int LANGUAGE sql AS 'SELECT x'; "
        "CREATE FUNCTION opaque(x int) RETURNS int STABLE LANGUAGE plpgsql "
        "AS 'BEGIN RETURN 1; END'; "
        f"CREATE VIEW drawing AS SELECT drawn(id) FROM bars; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}; "
        f"REVOKE TEMP ON DATABASE {database} FROM PUBLIC; SET SESSION AUTHORIZATION {role}"
    )
    try:
        yield market
    finally:
        market.run("RESET SESSION AUTHORIZATION")
        market.run(f"GRANT TEMP ON DATABASE {database} TO PUBLIC")
        market.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_without_a_view_all_counts_that_words_could_name(reader_without_temp: Playground) -> None:
    found = asked(reader_without_temp, "SELECT s.*, opaque(1) FROM shown AS s WHERE id = %s", [1])

    assert names(reader_without_temp, found) == {"shown", "newest", "bars", "desks"}
    assert [one.name for one in found.functions] == ["opaque(integer)"]
    assert found.not_kept == ()
    assert "known by possible names alone (missing right: GRANT TEMP" in found.not_live[0]
    assert reader(reader_without_temp.connection).still_holds(found)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT drawn(1) AS x", "drawn(integer) is VOLATILE"),
        ('SELECT "drawn"(1) AS x', "drawn(integer) is VOLATILE"),
        ("SELECT * FROM drawing", "drawn(integer) is VOLATILE"),
        ("SELECT id FROM bars LIMIT RANDOM() * 3", "random() is VOLATILE"),
        ("SELECT id FROM bars TABLESAMPLE system (1)", "the word 'tablesample'"),
        ("SELECT id FROM bars FOR UPDATE", "the word 'update'"),
        ("DELETE FROM bars RETURNING id", "only the rows of a SELECT"),
        ("WITH gone AS (DELETE FROM bars RETURNING id) SELECT * FROM gone", "the word 'delete'"),
        ('SELECT U&"dr\\0061wn"(1) AS x', "spells a name by numbers"),
    ],
)
def test_without_a_view_what_could_be_volatile_is_not_kept(
    reader_without_temp: Playground, sql: str, why: str
) -> None:
    found = asked(reader_without_temp, sql)

    assert any(why in reason for reason in found.not_kept), found.not_kept


def test_a_table_that_is_being_altered_is_not_waited_for(
    market: Playground, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_TIMEOUT_S", 0.05)
    with psycopg.connect(postgres_dsn) as other:
        other.execute(f"LOCK TABLE {market.schema}.bars".encode())

        with pytest.raises(QueryTimeoutError, match="stopped the statement"):
            asked(market, "SELECT * FROM bars")


def test_parameters_that_do_not_fit_are_told(market: Playground) -> None:
    with pytest.raises(BadParameterError, match="parameters do not fit"):
        asked(market, "SELECT %(a)s AS x", {"b": 1})


def test_an_identity_tells_users_and_settings_apart(market: Playground, postgres_dsn: str) -> None:
    def identity(**parts: str) -> str:
        with psycopg.connect(make_conninfo(postgres_dsn, **parts), autocommit=True) as one:
            return ask_identity(lambda: lending(one), postgres_address(postgres_dsn)).text

    plain = identity()

    assert identity() == plain
    assert identity(options=f"-c search_path={market.schema}") != plain
    assert identity(options="-c TimeZone=Asia/Tokyo") != plain
    assert identity(dbname="template1") != plain


def test_an_older_server_is_read_alike(existing_playground: Playground) -> None:
    playground = existing_playground
    playground.run(
        "CREATE TABLE bars (id int, at timestamptz); ALTER TABLE bars ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY own ON bars USING (id > 0); CREATE VIEW shown AS SELECT * FROM bars; "
        "CREATE FUNCTION parsed() RETURNS bigint STABLE LANGUAGE sql "
        "BEGIN ATOMIC SELECT count(*) FROM shown; END"
    )

    found = asked(playground, "SELECT id, parsed(), at > current_date FROM shown ORDER BY random()")

    assert names(playground, found) == {"shown", "bars"}
    assert found.not_kept == ("random() is VOLATILE",)
    assert found.not_live[0].startswith("it tells the time")
    assert not reader(playground.connection).dependencies("SELECT * FROM shown").not_live


def test_a_standby_is_asked_by_words() -> None:
    with own_server() as primary:
        primary.run("CREATE TABLE bars (id int)")
        primary.run("CREATE VIEW shown AS SELECT id FROM bars")
        with (
            standby_of(primary) as standby,
            psycopg.connect(standby.dsn(), autocommit=True, prepare_threshold=None) as connection,
        ):
            asking_reader = reader(connection)
            kept = asking_reader.dependencies("SELECT max(id) FROM shown")
            not_kept = asking_reader.dependencies("SELECT max(id) FROM shown LIMIT random()")

            assert {one.name for one in kept.relations} == {"public.shown", "public.bars"}
            assert kept.not_kept == ()
            assert "the server is a standby" in kept.not_live[0]
            assert "random() is VOLATILE" in not_kept.not_kept
            assert asking_reader.still_holds(kept)
            assert ask_identity(lambda: lending(connection), "there").plain_texts
