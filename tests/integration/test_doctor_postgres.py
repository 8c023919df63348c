"""The doctor's advice is true: what it says to run, run, makes the plan and its verdict good."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fix_postgres_extras import PoolMode, pgbouncer
from fix_stores import own_database
from neural_gpu_bus.errors import NotRunningError, ServerUnreachableError
from neural_gpu_bus.settings import Settings
from neural_gpu_bus.sql_text import quoted_name
from neural_gpu_bus.status.postgres_doctor import PostgresReport, examine_postgres
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.query_classes import build_query_classes
from own_server import OwnServer

INSTRUMENTS, BARS_EACH = 30, 1000
#: The columns and types that NautilusTrader gives its bars; prices and times are digits.
MAKE_BARS = """
CREATE TYPE bar_aggregation AS ENUM ('MINUTE', 'HOUR');
CREATE TYPE price_type AS ENUM ('BID', 'ASK', 'MID', 'LAST');
CREATE TYPE aggregation_source AS ENUM ('EXTERNAL', 'INTERNAL');
CREATE TABLE bar (
    id bigserial PRIMARY KEY, instrument_id text NOT NULL, step int NOT NULL,
    bar_aggregation bar_aggregation NOT NULL, price_type price_type NOT NULL,
    aggregation_source aggregation_source NOT NULL, open text NOT NULL, high text NOT NULL,
    low text NOT NULL, close text NOT NULL, volume text NOT NULL, ts_event text NOT NULL,
    ts_init text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now());
INSERT INTO bar (instrument_id, step, bar_aggregation, price_type, aggregation_source, open, high,
                 low, close, volume, ts_event, ts_init)
SELECT 'I' || i || '.SIM', 1, kind::bar_aggregation, 'LAST', 'EXTERNAL', '1.10000', '1.20000',
       '1.00000', '1.15000', '1000', (1700000000000000000 + m * 60000000000)::text,
       (1700000000000000000 + m * 60000000000)::text
FROM generate_series(1, %d) m, unnest(ARRAY['MINUTE', 'HOUR']) kind, generate_series(1, %d) i;
ANALYZE bar;
"""
LAST = """
SELECT ts_event, open, high, low, close, volume FROM bar
WHERE instrument_id = 'I7.SIM' AND bar_aggregation = 'MINUTE' AND step = 1 AND price_type = 'LAST'
  AND aggregation_source = 'EXTERNAL' ORDER BY ts_event DESC LIMIT 100
"""


@pytest.fixture
def bars(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with own_database(postgres_dsn) as connection:
        connection.execute((MAKE_BARS % (BARS_EACH, INSTRUMENTS)).encode())
        yield connection


def examined(connection: psycopg.Connection, postgres_dsn: str) -> PostgresReport:
    dsn = make_conninfo(postgres_dsn, dbname=connection.info.dbname)
    return examine_postgres(Settings(postgres_dsn=dsn))


def on_tables(report: PostgresReport) -> list[Advice]:
    return [one for one in report.groups["Tables"] if one.standing != "good"]


def plan(connection: psycopg.Connection) -> str:
    rows = connection.execute(f"EXPLAIN {LAST}".encode()).fetchall()
    return "\n".join(line for (line,) in rows)


def test_the_index_that_is_named_is_used(bars: psycopg.Connection, postgres_dsn: str) -> None:
    assert "Sort" in plan(bars)
    assert "Index" not in plan(bars)
    missing, as_text = on_tables(examined(bars, postgres_dsn))

    assert as_text.what == "ts_event is text"
    assert missing.subject == "bar"
    assert missing.sql[0] == (
        'CREATE INDEX CONCURRENTLY ON "public"."bar" ("instrument_id", "bar_aggregation", '
        '"ts_event" DESC) INCLUDE ("step", "price_type", "aggregation_source", "open", "high", '
        '"low", "close", "volume")'
    )
    for statement in missing.sql:
        bars.execute(statement.encode())

    assert "Index Only Scan" in plan(bars)
    assert "Sort" not in plan(bars)
    assert "Seq Scan" not in plan(bars)
    assert on_tables(examined(bars, postgres_dsn)) == [as_text]


def test_keys_statistics_and_rights(bars: psycopg.Connection, postgres_dsn: str) -> None:
    """Each statement is run, and what it was about is never said again."""
    bars.execute(
        "CREATE TABLE quotes (symbol text NOT NULL, ts timestamptz NOT NULL, bid float8 NOT NULL)"
    )
    bars.execute(
        "INSERT INTO quotes SELECT 'S' || i % 50, to_timestamp(i), i "
        "FROM generate_series(1, 20000) i"
    )
    for _ in range(3):
        found = [one for one in on_tables(examined(bars, postgres_dsn)) if one.subject == "quotes"]
        for one in found:
            for statement in one.sql:
                bars.execute(statement.encode())

    assert found == []


def test_the_private_server_lacks_nothing(postgres_dsn: str) -> None:
    with own_database(postgres_dsn) as connection:
        report = examined(connection, postgres_dsn)

    assert report.problems == 0
    assert report.groups["Tables"] == []
    assert report.tables == 0


def test_a_user_with_few_rights(bars: psycopg.Connection, postgres_dsn: str) -> None:
    name, database = "ngb_test_reader", bars.info.dbname
    bars.execute(b"DROP ROLE IF EXISTS ngb_test_reader")
    bars.execute(b"CREATE ROLE ngb_test_reader LOGIN PASSWORD 'hush hush'")
    try:
        bars.execute(sql.SQL("REVOKE TEMP ON DATABASE {} FROM PUBLIC").format(
            sql.Identifier(database)
        ))  # fmt: skip
        dsn = make_conninfo(postgres_dsn, dbname=database, user=name, password="hush hush")
        report = examine_postgres(Settings(postgres_dsn=dsn))
        rights = {one.subject: one.standing for one in report.groups["Rights"]}
        tables = on_tables(report)
        # What it says is what an administrator runs.
        for one in (*report.groups["Rights"], *tables):
            for statement in one.sql:
                allowed = statement.replace("CURRENT_USER", quoted_name(name))
                bars.execute(allowed.encode())
        after = examine_postgres(Settings(postgres_dsn=dsn))
    finally:
        bars.execute(b"DROP OWNED BY ngb_test_reader CASCADE")
        bars.execute(b"DROP ROLE ngb_test_reader")

    assert rights == {
        "temporary tables": "advice",
        "schema ngb_ledger": "advice",
        "replication": "advice",
    }
    assert [one.what for one in tables] == ["this user may not read it"]
    assert {one.standing for one in after.groups["Rights"]} == {"good"}
    assert "hush" not in msgspec.json.encode(report).decode() + repr(report)


def test_a_server_that_is_away_is_one_sentence() -> None:
    settings = Settings(postgres_dsn="host=/nowhere dbname=x password=hush")

    with pytest.raises(ServerUnreachableError, match="cannot talk to PostgreSQL") as caught:
        examine_postgres(settings)
    assert "hush" not in str(caught.value)


def test_without_any_server_the_way_to_one_is_told(tmp_path: object) -> None:
    with pytest.raises(NotRunningError, match="run") as caught:
        examine_postgres(Settings(home=tmp_path))
    assert "`ngb up`" in caught.value.hint


def test_an_older_server_is_looked_at_as_well(existing_postgres_dsn: str) -> None:
    report = examine_postgres(Settings(postgres_dsn=existing_postgres_dsn))

    found = {one.subject: one for one in report.groups["Settings"]}
    assert found["wal_level"].what == "replica"
    assert found["wal_level"].sql == ("ALTER SYSTEM SET wal_level = logical",)


def connection_of(dsn: str) -> dict[str, str]:
    report = examine_postgres(Settings(postgres_dsn=dsn))
    return {one.subject: f"{one.standing}: {one.what}" for one in report.groups["Connection"]}


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("session", "good: a pooler stands in between"),
        ("transaction", "advice: a pooler hands out server processes by transaction"),
    ],
)
def test_a_pooler_is_noticed(failing_server: OwnServer, mode: PoolMode, told: str) -> None:
    with pgbouncer(failing_server, mode) as port:
        found = connection_of(failing_server.dsn(port=port))

    assert found["pooler"].startswith(told)
    assert connection_of(failing_server.dsn())["pooler"] == "good: none"


def test_encryption_on_this_host_is_told(tls_server: OwnServer) -> None:
    encrypted = connection_of(make_conninfo(tls_server.dsn(), sslmode="require"))
    plain = connection_of(make_conninfo(tls_server.dsn(), sslmode="disable"))

    assert encrypted["encryption"] == "advice: TLS to a server on this host"
    assert plain["encryption"] == "good: none, and none needed on this host"


def test_a_pooler_takes_the_settings_of_a_class(failing_server: OwnServer) -> None:
    """SET LOCAL ends with the transaction, whoever gets the server process next."""
    settings = Settings(
        postgres_dsn=failing_server.dsn(),
        postgres_memory_bytes=16 << 30,
        postgres_connections_max=4,
    )
    classes = build_query_classes(settings)
    with (
        pgbouncer(failing_server, "transaction") as port,
        connect(failing_server.dsn(port=port), timeout_s=5) as connection,
    ):
        before = connection.execute("SHOW work_mem").fetchone()
        classes.fit(connection)
        with connection.transaction():
            connection.execute(classes["query"].set_local() + b"SELECT 1")
            within = connection.execute("SHOW work_mem").fetchone()
        after = connection.execute("SHOW work_mem").fetchone()

    assert within == ("21845kB",)
    assert before == after == ("4MB",)
    assert classes["query"].refused == set()
