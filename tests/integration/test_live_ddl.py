"""Definitions that change under live tables: rows are as SELECT says, or it is said why not.

One case each, on a plain table and on a partitioned one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg
import pytest

from fix_servers import wait_until
from live_oracle_home import LiveHome, live_home, live_server
from live_oracle_tables import multiset
from neural_gpu_bus.errors import StaleError
from neural_gpu_bus.live.live_table import LiveTable

pytestmark = pytest.mark.slow

WAIT_S = 30.0
_numbers = count()


@pytest.fixture(scope="module")
def home() -> Iterator[LiveHome]:
    with live_server() as server, live_home(server) as made:
        # Where nothing is live the process ends, and a new one takes seconds to come.
        server.run("CREATE TABLE stays (id int8 PRIMARY KEY)")
        made.plane.live("stays", timeout_s=WAIT_S)
        yield made


class Followed:
    """A table of some hundred rows that is live."""

    def __init__(self, home: LiveHome, name: str) -> None:
        self.home, self.name = home, name
        self.live: LiveTable = home.plane.live(name, key=["kind"], order_by="ts", timeout_s=WAIT_S)

    def run(self, *statements: str) -> None:
        """All in one transaction, with the table's name for ``{t}``."""
        with psycopg.connect(self.home.server.dsn()) as connection:
            for statement in statements:
                connection.execute(statement.format(t=self.name).encode())

    def assert_same(self) -> None:
        """Names and rows, at the end of the WAL."""
        position = self.home.position()
        self.live.wait_for(position, WAIT_S)
        with psycopg.connect(self.home.server.dsn()) as connection:
            cursor = connection.execute(f"SELECT * FROM {self.name}".encode())
            rows = cursor.fetchall()
            names = [column.name for column in cursor.description or ()]
        found = self.live.arrow()
        assert found.column_names == names
        columns = [column.to_pylist() for column in found.columns]
        assert multiset(list(zip(*columns, strict=True))) == multiset(rows)


@pytest.fixture(params=["plain", "partitioned"])
def table(request: pytest.FixtureRequest, home: LiveHome) -> Iterator[Followed]:
    name = f"{request.param}_{next(_numbers)}"
    text = (
        f"CREATE TABLE {name} (id int8 PRIMARY KEY, kind text NOT NULL, ts int8 NOT NULL, "
        "money numeric(12, 3), word varchar(20), wide text)"
    )
    home.server.run(text + (" PARTITION BY RANGE (id)" if request.param != "plain" else ""))
    for number in range(3 if request.param != "plain" else 0):
        home.server.run(
            f"CREATE TABLE {name}_{number} PARTITION OF {name} "
            f"FOR VALUES FROM ({number * 100}) TO ({number * 100 + 100})"
        )
    home.server.run(f"ALTER TABLE {name} ALTER wide SET STORAGE EXTERNAL")
    home.server.run(
        f"INSERT INTO {name} SELECT g, 'k' || g % 3, g / 2, g * 0.125, 'w' || g, "
        "CASE WHEN g % 10 = 0 THEN repeat(md5(g::text), 200) END FROM generate_series(0, 299) g"
    )
    made = Followed(home, name)
    yield made
    home.plane.drop_live(name)
    home.server.run(f"DROP TABLE IF EXISTS {name}")


#: Changes of a definition; each alone, and with rows that change before and after.
CASES = {
    "a column with a default": "ALTER TABLE {t} ADD added int4 DEFAULT 7",
    "a column with a default of its own each": (
        "ALTER TABLE {t} ADD added float8 DEFAULT random()"
    ),
    "a column without": "ALTER TABLE {t} ADD added text",
    "a generated column": "ALTER TABLE {t} ADD added int8 GENERATED ALWAYS AS (id * 2) STORED",
    "another type": "ALTER TABLE {t} ALTER ts TYPE int4",
    "another type, converted": "ALTER TABLE {t} ALTER money TYPE text USING 'm' || money",
    "more digits": "ALTER TABLE {t} ALTER money TYPE numeric(14, 4)",
    "a longer text": "ALTER TABLE {t} ALTER word TYPE varchar(40)",
    "another name": "ALTER TABLE {t} RENAME word TO renamed",
    "names changed about": (
        "ALTER TABLE {t} RENAME word TO other; ALTER TABLE {t} RENAME wide TO word; "
        "ALTER TABLE {t} RENAME other TO wide"
    ),
    "a dropped column": "ALTER TABLE {t} DROP word",
    "the same column, dropped and added": (
        "ALTER TABLE {t} DROP word; ALTER TABLE {t} ADD word varchar(20)"
    ),
    "the same column with a default": (
        "ALTER TABLE {t} DROP word, ADD word varchar(20) DEFAULT 'new'"
    ),
    "no change of meaning": "ALTER TABLE {t} ALTER word SET STATISTICS 10",
    "another default": "ALTER TABLE {t} ALTER word SET DEFAULT 'later'",
    "REPLICA IDENTITY FULL": "ALTER TABLE {t} REPLICA IDENTITY FULL",
    "all rows gone": "TRUNCATE {t}",
}
_CHANGES = (
    "UPDATE {t} SET ts = ts + 1, kind = 'k9' WHERE id % 7 = 0",
    "DELETE FROM {t} WHERE id % 11 = 0",
    "INSERT INTO {t} (id, kind, ts) VALUES (99, 'k0', 5), (250, 'k1', 6) ON CONFLICT (id) "
    "DO UPDATE SET ts = {t}.ts + 3",
)


#: Each is a second or two; the others are for long runs.
_ALWAYS = {
    "a column with a default",
    "another type",
    "names changed about",
    "the same column, dropped and added",
    "all rows gone",
    "one more, that has rows",
    "one detached and put back",
}


def _cases(cases: Iterable[str]) -> list[Any]:
    return [one if one in _ALWAYS else pytest.param(one, marks=pytest.mark.soak) for one in cases]


@pytest.mark.parametrize("case", _cases(CASES))
def test_a_definition_changes(table: Followed, case: str) -> None:
    if case == "REPLICA IDENTITY FULL" and table.name.startswith("partitioned"):
        pytest.skip("refused, and said: new partitions do not inherit it")
    table.run(CASES[case])
    table.assert_same()
    table.run(*_CHANGES)
    table.assert_same()


@pytest.mark.parametrize("case", ["a column with a default", "another type", "all rows gone"])
def test_a_definition_changes_amid_changes(table: Followed, case: str) -> None:
    table.run(*_CHANGES, CASES[case], *_CHANGES)
    table.assert_same()


def test_a_change_that_is_taken_back_is_none(table: Followed) -> None:
    table.run(_CHANGES[0], "SAVEPOINT here", CASES["another name"], "ROLLBACK TO here", _CHANGES[1])
    table.assert_same()


def test_a_table_is_written_anew(table: Followed) -> None:
    with psycopg.connect(table.home.server.dsn(), autocommit=True) as connection:
        connection.execute(f"VACUUM FULL {table.name}".encode())
    table.run(*_CHANGES)
    table.assert_same()


def test_a_table_is_dropped_and_made_again(home: LiveHome, table: Followed) -> None:
    if table.name.startswith("partitioned"):
        statements: Sequence[str] = (
            "DROP TABLE {t}",
            "CREATE TABLE {t} (id int8 PRIMARY KEY, kind text NOT NULL, ts int8 NOT NULL) "
            "PARTITION BY RANGE (id)",
            "CREATE TABLE {t}_0 PARTITION OF {t} DEFAULT",
        )
    else:
        statements = (
            "DROP TABLE {t}",
            "CREATE TABLE {t} (id int8 PRIMARY KEY, kind text NOT NULL, ts int8 NOT NULL)",
        )
    table.run(*statements, "INSERT INTO {t} VALUES (1, 'a', 1), (2, 'b', 2)")
    table.assert_same()
    table.run("UPDATE {t} SET ts = 5")
    table.assert_same()


def test_a_table_that_is_gone_is_said_to_be(home: LiveHome, table: Followed) -> None:
    table.run("ALTER TABLE {t} RENAME TO {t}_elsewhere")
    wait_until(lambda: table.live.state.state == "failed", "that it is said", WAIT_S)
    assert table.live.as_of.stale
    assert table.live.rows() == 300
    table.run("ALTER TABLE {t}_elsewhere RENAME TO {t}", "DELETE FROM {t} WHERE id = 5")
    table.live.wait_live(WAIT_S)  # tried again by itself
    table.assert_same()


def test_schemas_change_names(home: LiveHome) -> None:
    """As whoever makes tables anew beside the old ones does; a partition comes with a schema."""
    for schema in ("old", "next"):
        columns = "id int8 PRIMARY KEY, kind text NOT NULL, ts int8 NOT NULL"
        text = f"CREATE TABLE {schema}.swapped ({columns}) PARTITION BY RANGE (id)"
        home.server.run(f"CREATE SCHEMA {schema}")
        home.server.run(text)
        home.server.run(f"CREATE TABLE {schema}.one PARTITION OF {schema}.swapped DEFAULT")
        home.server.run(f"INSERT INTO {schema}.swapped VALUES (1, '{schema}', 1)")
    table = Followed(home, "old.swapped")
    table.run("ALTER SCHEMA old RENAME TO away", "ALTER SCHEMA next RENAME TO old")
    table.assert_same()
    table.run("DROP TABLE old.one")
    table.run("CREATE SCHEMA late CREATE TABLE one PARTITION OF old.swapped DEFAULT")
    table.run("INSERT INTO {t} VALUES (5, 'k', 5)")
    table.assert_same()
    home.plane.drop_live(table.name)
    home.server.run("DROP SCHEMA old, away, late CASCADE")


@pytest.mark.parametrize("table", ["plain"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE {t}_heir () INHERITS ({t})", "ALTER TABLE {t}_alone INHERIT {t}"],
)
def test_a_table_that_others_inherit_from_is_not_live_any_more(
    table: Followed, statement: str
) -> None:
    table.run("CREATE TABLE {t}_alone (LIKE {t} INCLUDING ALL)")
    table.run(statement)
    with pytest.raises(StaleError, match="it is inherited from"):
        table.live.wait_for(table.home.position(), WAIT_S)
    table.home.server.run(f"DROP TABLE {table.name} CASCADE")
    table.home.server.run(f"DROP TABLE IF EXISTS {table.name}_alone")


@pytest.mark.parametrize("table", ["plain"], indirect=True)
def test_where_nobody_tells_of_definitions_a_table_is_as_fresh_as_the_last_look(
    table: Followed,
) -> None:
    server, live = table.home.server, table.live
    assert live.as_of.promise == ""
    server.run("ALTER EVENT TRIGGER neural_gpu_bus_ddl DISABLE")
    try:
        wait_until(lambda: live.as_of.promise, "that it is said", WAIT_S)
        assert "every 0.5 s" in live.as_of.promise
        table.run("ALTER TABLE {t} ADD more int DEFAULT 7")
        committed_s = time.monotonic()

        def is_answered() -> bool:
            """With what was committed so long ago, or not at all."""
            with suppress(StaleError):
                found = live.arrow(max_lag_s=time.monotonic() - committed_s)
                assert "more" in found.column_names
                return True
            return False

        wait_until(is_answered, "an answer", WAIT_S)
    finally:
        server.run("ALTER EVENT TRIGGER neural_gpu_bus_ddl ENABLE ALWAYS")
    wait_until(lambda: not live.as_of.promise, "that it is told again", WAIT_S)


# ---- partitions

PARTITIONS = {
    "one more": ["CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES FROM (300) TO (400)"],
    "one more, that has rows": [
        "CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL)",
        "INSERT INTO {t}_3 (id, kind, ts) VALUES (310, 'k0', 3)",
        "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES FROM (300) TO (400)",
    ],
    "one with columns in another order": [
        "CREATE TABLE {t}_3 (wide text, word varchar(20), ts int8 NOT NULL, gone int4, "
        "money numeric(12, 3), kind text NOT NULL, id int8 PRIMARY KEY)",
        "ALTER TABLE {t}_3 DROP gone",
        "INSERT INTO {t}_3 (id, kind, ts) VALUES (310, 'k0', 3)",
        "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES FROM (300) TO (400)",
    ],
    "one less": ["ALTER TABLE {t} DETACH PARTITION {t}_1"],
    "one dropped": ["DROP TABLE {t}_1"],
    "one truncated": ["TRUNCATE {t}_1"],
    "one detached and put back": [
        "ALTER TABLE {t} DETACH PARTITION {t}_1",
        "DELETE FROM {t}_1 WHERE id < 150",
        "ALTER TABLE {t} ATTACH PARTITION {t}_1 FOR VALUES FROM (100) TO (200)",
    ],
}


#: One that is made within the transaction, and what becomes of it there.
_MADE = "CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES FROM (300) TO (400)"
_OFF = "ALTER TABLE {t} DETACH PARTITION {t}_3"
_ON = "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES FROM (300) TO (400)"
_ROWS = "INSERT INTO {t}_3 (id, kind, ts) VALUES (310, 'k0', 3), (311, 'k1', 4)"
MADE_ANEW = {
    "filled": [_MADE, _OFF, _ROWS, _ON],
    "changed": [
        _MADE,
        _ROWS,
        _OFF,
        "DELETE FROM {t}_3 WHERE id = 310",
        "UPDATE {t}_3 SET ts=9",
        _ON,
    ],
    "truncated": [_MADE, _ROWS, _OFF, "TRUNCATE {t}_3", _ON],
    "in subtransactions": [
        *("SAVEPOINT a", _MADE, _OFF, _ROWS, "SAVEPOINT b", _ON, "ROLLBACK TO b", _ON),
        "RELEASE a",
    ],
    "within a tree": [
        _MADE + " PARTITION BY RANGE (id)",
        "CREATE TABLE {t}_31 PARTITION OF {t}_3 FOR VALUES FROM (300) TO (350)",
        *(_OFF, _ROWS, _ON),
    ],
}


@pytest.mark.parametrize("table", ["partitioned"], indirect=True)
def test_a_partition_that_was_made_is_put_back_with_other_rows(table: Followed) -> None:
    """All in one transaction, which writes all rows of the catalog that show it."""
    for statements in MADE_ANEW.values():
        table.run(*statements)
        table.assert_same()
        table.run("DROP TABLE {t}_3")


@pytest.mark.parametrize("table", ["partitioned"], indirect=True)
@pytest.mark.parametrize("case", _cases(PARTITIONS))
def test_partitions_change(table: Followed, case: str) -> None:
    table.run(*PARTITIONS[case])
    table.assert_same()
    changes: tuple[Any, ...] = ("UPDATE {t} SET ts = ts + 1, word = 'x'",)
    if "one more" in case or "another order" in case:
        changes += (
            "INSERT INTO {t} (id, kind, ts) VALUES (350, 'k2', 1)",
            "UPDATE {t} SET id = 351 WHERE id = 5",
        )
    table.run(*changes)
    table.assert_same()
    table.run("DELETE FROM {t} WHERE id > 220")
    table.assert_same()
