"""``plane.sql`` beside PostgreSQL's own answers at the same position."""

from __future__ import annotations

import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

import neural_gpu_bus as ngb
from neural_gpu_bus import embedded
from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetNotFoundError,
    QueryError,
    QueryTimeoutError,
    StaleError,
)

pytestmark = pytest.mark.slow

Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def plane(private_servers: embedded.Attachment) -> Iterator[ngb.DataPlane]:
    with ngb.open(home=private_servers.settings.home) as opened:
        yield opened


@pytest.fixture(scope="module")
def ask(plane: ngb.DataPlane) -> Iterator[Ask]:
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:

        def asked(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        yield asked


class Tables:
    """Two live tables: ``accounts`` with a balance, and what was moved between them."""

    def __init__(self, plane: ngb.DataPlane, ask: Ask) -> None:
        own = uuid.uuid4().hex[:8]
        self.schema, self.accounts, self.moves = f"Desk {own}", f"accounts_{own}", f"moves_{own}"
        self.ask = ask
        ask(
            f"CREATE TABLE {self.accounts} (id int PRIMARY KEY, desk text NOT NULL, owner text, "
            "rating numeric(12,3), opened timestamptz, balance bigint NOT NULL)"
        )
        ask(f'CREATE SCHEMA "{self.schema}"')
        ask(
            f'CREATE TABLE "{self.schema}".{self.moves} (id bigserial PRIMARY KEY, '
            "source int NOT NULL, target int NOT NULL, amount bigint NOT NULL)"
        )
        ask(
            f"INSERT INTO {self.accounts} SELECT g, 'd' || g % 3, "
            "CASE WHEN g % 7 > 0 THEN 'o' || g % 5 END, g * 1.125, "
            "'2026-01-01Z'::timestamptz + g * interval '1 hour', 1000 "
            "FROM generate_series(1, 100) g"
        )
        self.live_moves = f"{self.schema}.{self.moves}"
        plane.live(self.accounts, key=["desk"], timeout_s=30)
        plane.live(self.live_moves, timeout_s=30)

    def move(self, source: int, target: int, amount: int) -> None:
        self.ask(
            f"WITH taken AS (UPDATE {self.accounts} SET balance = balance - %s WHERE id = %s), "
            f"given AS (UPDATE {self.accounts} SET balance = balance + %s WHERE id = %s) "
            f'INSERT INTO "{self.schema}".{self.moves} (source, target, amount) '
            "VALUES (%s, %s, %s)",
            *(amount, source, amount, target, source, target, amount),
        )

    def drop(self, plane: ngb.DataPlane) -> None:
        for name in (self.accounts, self.live_moves):
            plane.drop_live(name)
        self.ask(f'DROP SCHEMA "{self.schema}" CASCADE')
        self.ask(f"DROP TABLE {self.accounts}")


@pytest.fixture(scope="module")
def tables(plane: ngb.DataPlane, ask: Ask) -> Iterator[Tables]:
    made = Tables(plane, ask)
    yield made
    made.drop(plane)


#: The same text for both; {a} and {m} are the tables.
STATEMENTS = [
    "SELECT * FROM {a} ORDER BY id",
    "SELECT owner, count(*), sum(balance) AS total FROM {a} GROUP BY owner ORDER BY owner DESC",
    "SELECT id, balance / 7 AS part, -balance / 7 AS other FROM {a} WHERE owner = 'o2' ORDER BY id",
    "SELECT a.id, m.amount FROM {a} a JOIN {m} m ON m.source = a.id ORDER BY m.id",
    "WITH rich AS (SELECT * FROM {a} WHERE balance > 1000) SELECT count(*) AS n FROM rich",
    "SELECT rating, opened FROM {a} WHERE rating > 50.5 AND opened < '2026-01-04 00:00:00Z' "
    "ORDER BY id",
    "SELECT id, rank() OVER (PARTITION BY owner ORDER BY balance, id) AS r FROM {a} ORDER BY id",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_answer_is_that_of_postgresql(
    plane: ngb.DataPlane, ask: Ask, tables: Tables, statement: str
) -> None:
    tables.move(3, 4, 17)
    lsn = ask("SELECT pg_current_wal_lsn()::text")[0][0]
    names = {"a": tables.accounts, "m": f'"{tables.schema}".{tables.moves}'}
    plane.live(tables.accounts, key=["desk"]).wait_for(lsn, timeout_s=10)

    frame = plane.sql(statement.format(**names))

    expected = ask(statement.format(**names))
    rows = [tuple(map(_plain, row.values())) for row in frame.arrow().to_pylist()]
    assert rows == [tuple(map(_plain, row)) for row in expected]
    assert frame.as_of.lsn


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value == int(value) else value


def test_all_tables_are_seen_as_of_one_position(plane: ngb.DataPlane, tables: Tables) -> None:
    """Each move adds a row to one table and changes two of the other, in one transaction."""
    ended, several = threading.Event(), threading.Event()

    def move() -> None:
        dsn = plane.addresses.postgres_dsn.get_secret_value()
        with psycopg.connect(dsn, autocommit=True) as connection:
            tables_of_thread = Tables.__new__(Tables)
            tables_of_thread.__dict__ |= tables.__dict__
            tables_of_thread.ask = lambda statement, *values: [  # type: ignore[method-assign]
                connection.execute(statement.encode(), values)
            ]
            number = 0
            while number < 300 or not several.is_set():
                tables_of_thread.move(1, 2, number)
                number += 1
        ended.set()

    mover = threading.Thread(target=move)
    mover.start()
    statement = (
        f"SELECT (SELECT sum(balance) FROM {tables.accounts} WHERE id = 2) - 1000 "
        f'- (SELECT coalesce(sum(amount), 0) FROM "{tables.schema}".{tables.moves} '
        "WHERE target = 2) AS difference"
    )
    differences, positions = set(), set()
    end_s = time.monotonic() + 60
    try:
        while not ended.is_set():
            frame = plane.sql(statement)
            differences.add(frame.arrow()["difference"][0].as_py())
            positions.add(frame.as_of.lsn)
            if len(positions) > 1 or time.monotonic() > end_s:
                several.set()  # however slow the machine: moves go on until then
    finally:
        several.set()
        mover.join()

    assert differences == {0}
    assert len(positions) > 1


def test_values_are_bound(plane: ngb.DataPlane, tables: Tables) -> None:
    by_name = plane.sql(f"SELECT id FROM {tables.accounts} WHERE id = $id", {"id": 7})
    by_place = plane.sql(f"SELECT id FROM {tables.accounts} WHERE id = ? OR id = ?", [8, 9])

    assert by_name["id"].tolist() == [7]
    assert sorted(by_place["id"].tolist()) == [8, 9]


def test_names_are_found_whatever_their_case(plane: ngb.DataPlane, tables: Tables) -> None:
    assert plane.sql(f"SELECT count(*) AS n FROM {tables.accounts.upper()}")["n"].tolist() == [100]


def test_an_answer_without_rows_and_one_without_tables(
    plane: ngb.DataPlane, tables: Tables
) -> None:
    empty = plane.sql(f"SELECT id, owner FROM {tables.accounts} WHERE id < 0")
    plain = plane.sql("SELECT n, 'x' || n AS text FROM range(3) t(n)")

    assert (empty.rows, empty["owner"].tolist()) == (0, [])
    assert plain["text"].tolist() == ["x0", "x1", "x2"]
    assert plain.as_of.lsn == ""


def test_an_answer_goes_to_another_process_by_value(plane: ngb.DataPlane, tables: Tables) -> None:
    frame = plane.sql(f"SELECT id, owner FROM {tables.accounts} ORDER BY id")[2:5]

    sent = pickle.loads(pickle.dumps(frame))

    assert sent.arrow() == frame.arrow()
    assert sent.as_of == frame.as_of


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("DELETE FROM {a}", "answers one SELECT, this is DELETE"),
        ("SELECT 1; SELECT 2", "this is SELECT and SELECT"),
        ("-- nothing", "this is no statement"),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "this is COPY"),
        ("ATTACH '/tmp/x.db'", "this is ATTACH"),
        ("SET threads = 1", "this is SET"),
        ("SELECT * FROM read_csv('/etc/passwd')", r"not what read_csv\(\) does"),
        ("SELECT * FROM enable_logging(storage='file')", r"not what enable_logging\(\) does"),
        ("SELECT * FROM query('SELECT 1')", r"not what query\(\) does"),
        ("SELECT id, id FROM {a}", "two columns are named 'id'"),
    ],
)
def test_what_is_no_select_over_live_tables_is_refused(
    plane: ngb.DataPlane, tables: Tables, statement: str, match: str
) -> None:
    with pytest.raises(BadParameterError, match=match):
        plane.sql(statement.format(a=tables.accounts))


@pytest.mark.parametrize("name", ["'/etc/passwd'", "statement", "tables", "pg_class_of_mine"])
def test_an_unknown_name_is_told(plane: ngb.DataPlane, tables: Tables, name: str) -> None:
    with pytest.raises(DatasetNotFoundError, match="there is no live table"):
        plane.sql(f"SELECT * FROM {name}")


def test_a_mistyped_name_has_a_hint(plane: ngb.DataPlane, tables: Tables) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"did you mean '{tables.accounts}'"):
        plane.sql(f"SELECT * FROM {tables.accounts}s")


def test_bad_sql_is_told_in_duckdbs_words(plane: ngb.DataPlane, tables: Tables) -> None:
    with pytest.raises(QueryError, match='syntax error at or near "FROM"'):
        plane.sql(f"SELECT GROUP FROM {tables.accounts}")
    with pytest.raises(QueryError, match='Referenced column "idd" not found'):
        plane.sql(f"SELECT idd FROM {tables.accounts}")
    with pytest.raises(QueryError, match="Values were not provided"):
        plane.sql(f"SELECT id FROM {tables.accounts} WHERE id = $id")


def test_a_long_statement_is_cancelled(plane: ngb.DataPlane) -> None:
    statement = "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE hash(a.range) = 1"
    with pytest.raises(QueryTimeoutError, match=r"did not finish the statement in 0\.2 s"):
        plane.sql(statement, timeout_s=0.2)


def test_a_bound_that_is_not_met(plane: ngb.DataPlane, tables: Tables) -> None:
    with pytest.raises(StaleError, match="0 s were asked for"):
        plane.sql(f"SELECT count(*) FROM {tables.accounts}", max_lag_s=0)
