"""Upserts of many rows: tried by MERGE, and in order where that does not go; both give the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from fix_stores import Playground
from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.postgres.writing import merging

ROWS = merging.TRIED_ROWS_MIN + 500

#: Notes the statement that each row is written by.
WATCH = """
CREATE TABLE statements (text text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO {schema}.statements VALUES (current_query()); RETURN NULL; END $$;
CREATE TRIGGER watch AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION {schema}.watch()
"""


def half_there(playground: Playground, columns: str) -> str:
    """A table with the even half of the keys, every second of them as it will be given."""
    playground.run("DROP TABLE IF EXISTS t")
    playground.run(f"CREATE TABLE t ({columns})")
    for part in (0, 1) if "PARTITION" in columns else ():
        where = f"FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
        playground.run(f"CREATE TABLE t{part} PARTITION OF t {where}")
    playground.run(
        f"INSERT INTO t SELECT 'n' || i, timestamptz '2026-01-01 UTC' + i * interval '1 s', "
        f"i + (i % 4) / 2, 'kept' FROM generate_series(0, {ROWS - 1}, 2) i"
    )
    return playground.table("t")


def given(order: slice | np.ndarray = slice(None)) -> pa.Table:
    number = np.arange(ROWS)[order]
    day = np.datetime64("2026-01-01", "us").astype(np.int64)
    moments = pa.array(number * 1_000_000 + day).cast(pa.timestamp("us", "UTC"))
    return pa.table({"k": [f"n{i}" for i in number], "at": moments, "v": number.astype(float)})


KEYS = {
    "a text and a time": "k text, at timestamptz, v float8, note text, PRIMARY KEY (k, at)",
    "a text": "k text UNIQUE, at timestamptz, v float8, note text",
    "of a partitioned table": "k text, at timestamptz, v float8, note text, "
    "PRIMARY KEY (k)) PARTITION BY HASH (k",
}


@pytest.mark.parametrize("columns", KEYS.values(), ids=KEYS)
def test_merge_and_ordered_insert_leave_the_same(
    playground: Playground, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for way, tried_rows_min in {"merge": 1, "ordered": ROWS + 1}.items():
        monkeypatch.setattr(merging, "TRIED_ROWS_MIN", tried_rows_min)
        name = half_there(playground, columns)
        before = playground.rows("SELECT sum(xmin::text::int8) FROM t WHERE v = substr(k, 2)::int")
        key = ["k", "at"] if "(k, at)" in columns else ["k"]
        receipt = playground.writer.store(name, given(), key=key, mode="upsert")
        assert receipt.rows == ROWS
        untouched = "SELECT sum(xmin::text::int8) FROM t WHERE mod(substr(k, 2)::int, 4) = 0"
        assert playground.rows(untouched) == before
        found[way] = playground.rows("SELECT k, at, v, note FROM t ORDER BY at")

    assert found["merge"] == found["ordered"]
    assert [row[2] for row in found["merge"]] == list(range(ROWS))
    assert [row[3] for row in found["merge"]] == ["kept", None] * (ROWS // 2)


def test_many_rows_are_merged_and_few_inserted_in_order(playground: Playground) -> None:
    name = half_there(playground, KEYS["a text"])
    playground.run(WATCH.format(schema=playground.schema))

    playground.writer.store(name, given(), key=["k"], mode="upsert")
    playground.writer.store(name, given(slice(10)), key=["k"], mode="upsert")

    statements = [text for (text,) in playground.rows("SELECT text FROM statements")]
    assert [text.split()[0] for text in statements] == ["MERGE", "INSERT"]


def test_rows_in_no_order_are_merged_in_order(playground: Playground) -> None:
    shuffled = np.random.default_rng(3).permutation(ROWS)
    found = []
    for order, sorted_first in ((slice(None), False), (shuffled, True)):
        name = half_there(playground, KEYS["a text"])
        playground.run("DROP TABLE IF EXISTS statements; DROP FUNCTION IF EXISTS watch")
        playground.run(WATCH.format(schema=playground.schema))

        playground.writer.store(name, given(order), key=["k"], mode="upsert")

        [(statement,)] = playground.rows("SELECT text FROM statements")
        assert statement.startswith("MERGE")
        assert ("ORDER BY" in statement) is sorted_first
        found.append(playground.rows("SELECT k, at, v, note FROM t ORDER BY at"))
        playground.run("DROP TABLE t")

    assert found[0] == found[1]


def test_a_key_that_comes_in_between_is_updated(playground: Playground) -> None:
    """The other session has inserted it and commits while the upsert waits."""
    name = half_there(playground, KEYS["a text"])
    playground.run("BEGIN")
    playground.run("INSERT INTO t (k, v) VALUES ('n1', -1), ('n7', -7)")

    with ThreadPoolExecutor() as threads:
        storing = threads.submit(playground.writer.store, name, given(), key=["k"], mode="upsert")
        _wait_for_ordered_insert(playground)
        playground.run("COMMIT")
        assert storing.result(30).rows == ROWS

    assert playground.rows("SELECT count(*), sum(v)::int8 FROM t") == [
        (ROWS, ROWS * (ROWS - 1) // 2)
    ]


def _wait_for_ordered_insert(playground: Playground) -> None:
    """Until the upsert has given up MERGE and waits for the other session's key."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        f"AND query LIKE 'INSERT INTO \"{playground.schema}\"%'"
    )
    playground.run("SET statement_timeout = '30s'")
    playground.run(
        f"DO $$ BEGIN WHILE ({waiting}) = 0 LOOP PERFORM pg_stat_clear_snapshot(); "
        "PERFORM pg_sleep(0.01); END LOOP; END $$"
    )


def test_two_upserts_in_opposite_orders_never_deadlock(playground: Playground) -> None:
    """Each writes all keys again and again, from either end; a circle would end one of them."""
    name = half_there(playground, KEYS["a text"])
    both = threading.Barrier(2)

    def store(order: slice) -> int:
        table, rows = given(order), 0
        for turn in range(8):
            values = table.set_column(2, "v", pa.array(np.full(ROWS, float(turn))))
            both.wait(30)
            rows += playground.writer.store(name, values, key=["k"], mode="upsert").rows
        return rows

    with ThreadPoolExecutor() as threads:
        stored = list(threads.map(store, [slice(None), slice(None, None, -1)]))

    assert stored == [8 * ROWS, 8 * ROWS]
    assert playground.rows("SELECT count(*), min(v), max(v) FROM t") == [(ROWS, 7, 7)]


def test_a_key_twice_among_many_is_named(playground: Playground) -> None:
    name = half_there(playground, KEYS["a text"])
    twice = pa.concat_tables([given(), given(slice(7, 8))])

    with pytest.raises(BadValueError, match=rf"rows 8 and {ROWS + 1} have the same key \(k\)"):
        playground.writer.store(name, twice, key=["k"], mode="upsert")

    assert playground.rows("SELECT count(*) FROM t") == [(ROWS // 2,)]


def test_a_child_table_s_rows_are_not_the_parent_s(playground: Playground) -> None:
    name = half_there(playground, KEYS["a text"])
    playground.run("CREATE TABLE child () INHERITS (t)")
    playground.run("INSERT INTO child (k, v) VALUES ('n1', -1)")

    playground.writer.store(name, given(), key=["k"], mode="upsert")

    assert playground.rows("SELECT v FROM child") == [(-1.0,)]
    assert playground.rows("SELECT count(*) FROM ONLY t") == [(ROWS,)]


def test_the_user_s_limit_on_waiting_holds_after_the_try(playground: Playground) -> None:
    """A deferred constraint waits at the commit, under the session's own limit."""
    name = half_there(playground, KEYS["a text"])
    playground.run("CREATE TABLE limits (seen text)")
    playground.run(
        f"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO {playground.schema}.limits VALUES (current_setting('lock_timeout')); "
        "RETURN NULL; END $$"
    )
    playground.run(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION note()"
    )

    playground.writer.store(name, given(), key=["k"], mode="upsert")

    assert playground.rows("SELECT DISTINCT seen FROM limits") == [("0",)]
