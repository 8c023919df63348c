"""Every type that is read can be live: equal to a plain read, value by value, whatever changed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest

import neural_gpu_bus as ngb
from fix_servers import wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.errors import BadValueError

pytestmark = pytest.mark.slow

#: Type, and values that its column takes one after the other.
TYPES = {
    "numbers": ("int4[]", ["'{1,NULL,3}'", "'{}'", "'{7}'"]),
    "texts": ("text[]", ["'{a,NULL,\"\"}'", "'{b}'", "'{}'"]),
    "wide": ("text[]", ["ARRAY(SELECT md5(g::text) FROM generate_series(1, 400) g)", "'{x}'"]),
    "flags": ("bool[]", ["'{t,f,NULL}'", "'{f}'"]),
    "amounts": ("numeric(8,2)[]", ["'{1.25,NULL}'", "'{-3}'"]),
    "square": ("int8[][]", ["'{{1,2},{3,NULL}}'", "'{}'", "'{{5},{6}}'"]),
    "moods": ("mood[]", ["'{ok,NULL,bad}'", "'{bad}'"]),
    "leg": ("leg", ["ROW(1, 'x', '{1.5,NULL}', 'ok')", "ROW(NULL, NULL, NULL, NULL)"]),
    "legs": ("leg[]", ["ARRAY[ROW(1, 'x', '{}', 'bad')::leg, NULL]", "'{}'"]),
    "span": ("int4range", ["'[1,5)'", "'empty'", "'(,7]'"]),
    "during": ("tstzrange", ["'[2024-01-01 10:00+00,)'", "'empty'"]),
    "spans": ("nummultirange", ["'{[1,2),(3.5,]}'", "'{}'"]),
    "took": ("interval", ["'1 mon -2 days 00:00:03.5'", "'-1 us'"]),
    "tooks": ("interval[]", ["'{1 day,NULL}'", "'{}'"]),
    "at": ("timetz", ["'12:00:00.5+02'", "'23:59-01'"]),
    "place": ("point", ["'(1,2)'", "'(-0,3.5)'"]),
    "way": ("path", ["'((1,2),(3,4))'", "'[(1,2)]'"]),
    "area": ("polygon", ["'((1,2),(3,4),(5,6))'"]),
    "ids": ("int2vector", ["'1 2'", "''"]),
    "documents": ("jsonb[]", ["ARRAY['{\"a\": 1}'::jsonb, NULL]"]),
    "bits": ("varbit", ["B'101'", "B''"]),
    "host": ("inet", ["'10.0.0.1'"]),
    "id16": ("uuid", ["'00000000-0000-0000-0000-000000000001'"]),
    "wideness": ("numeric(60,3)", ["1234567890123456789012345.125"]),
    "mood": ("mood", ["'ok'", "'bad'"]),
    "row_at": ("tid", ["'(3,4)'"]),
}
#: Computed when it is read, so that no stream has it.
VIRTUAL = "doubled"
ROWS = 40


def value(name: str, row: int, step: int) -> str:
    kind, values = TYPES[name]
    which = (row * 7 + len(name) + step) % (len(values) + 1)
    return "NULL" if which == len(values) else f"({values[which]})::{kind}"


def values(row: int, step: int) -> str:
    return ", ".join([str(row), f"'k{row % 3}'", *(value(name, row, step) for name in TYPES)])


@pytest.fixture(scope="module")
def plane(private_servers: embedded.Attachment) -> Iterator[ngb.DataPlane]:
    with ngb.open(home=private_servers.settings.home) as opened:
        yield opened


@pytest.fixture(scope="module")
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        opened.execute("CREATE TYPE mood AS ENUM ('bad', 'ok')")
        opened.execute("CREATE TYPE leg AS (id int8, name text, parts float8[], mood mood)")
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in TYPES.items())
        opened.execute(
            f"CREATE TABLE all_types (id int8 PRIMARY KEY, k text NOT NULL, {columns}, "
            f"{VIRTUAL} int8 GENERATED ALWAYS AS (id * 2) VIRTUAL);"
            "ALTER TABLE all_types ALTER wide SET STORAGE EXTERNAL".encode()
        )
        yield opened
        opened.execute("DROP TABLE all_types; DROP TYPE leg; DROP TYPE mood")


def run(connection: psycopg.Connection[Any], statement: str) -> None:
    connection.execute(statement.encode())


def plain(plane: ngb.DataPlane) -> list[dict[str, Any]]:
    rows = plane.table("all_types").arrow().drop_columns(VIRTUAL).to_pylist()
    return sorted(rows, key=lambda row: row["id"])


def told(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: row["id"])


@pytest.mark.parametrize("how", ["stream", "trigger"])
def test_a_table_of_all_types_follows_every_commit(
    plane: ngb.DataPlane, connection: psycopg.Connection[Any], how: str
) -> None:
    run(connection, "TRUNCATE all_types")
    for row in range(ROWS):
        run(connection, f"INSERT INTO all_types VALUES ({values(row, 0)})")
    live = plane.live("all_types", key=["k"], how=how, timeout_s=60)

    def is_equal() -> bool:
        return repr(told(live.arrow())) == repr(plain(plane))

    try:
        assert told(live.arrow()) == plain(plane)
        if how == "stream":
            assert f"not send them: '{VIRTUAL}'" in str(plane.live_states()["all_types"].notices)
        several = ", ".join(f"({values(row, 1)})" for row in range(ROWS, ROWS + 200))
        run(connection, f"INSERT INTO all_types VALUES {several}")
        wait_until(is_equal, "rows that came")
        # An update of another column: the wide array is not sent.
        run(connection, "UPDATE all_types SET numbers = '{9,9}', span = '[5,6)' WHERE id % 2 = 0")
        for name in TYPES:
            run(connection, f"UPDATE all_types SET {name} = {value(name, 3, 2)} WHERE id % 5 = 3")
        run(connection, "DELETE FROM all_types WHERE id % 7 = 1")
        run(connection, "UPDATE all_types SET k = 'moved', id = id + 1000 WHERE id % 11 = 5")
        wait_until(is_equal, "rows that changed")
        of_key = sorted(live.frame(k="k1").arrow().to_pylist(), key=lambda row: row["id"])
        assert of_key == [row for row in plain(plane) if row["k"] == "k1"]
        assert (
            live.last(3, k="k1").arrow().to_pylist() == live.frame(k="k1").arrow().to_pylist()[-3:]
        )
        assert live.last(3, k="k1")["numbers"].tolist() == [
            row["numbers"] for row in live.last(3, k="k1").arrow().to_pylist()
        ]
        assert pickle.loads(pickle.dumps(live.last(3, k="k1")))["legs"] is not None
    finally:
        plane.drop_live("all_types")


def test_moments_without_end_stop_a_table_and_say_the_ways_out(
    plane: ngb.DataPlane, connection: psycopg.Connection[Any]
) -> None:
    run(connection, "CREATE TABLE moments (id int PRIMARY KEY, ts timestamptz)")
    run(connection, "ALTER TABLE moments REPLICA IDENTITY FULL")
    run(connection, "INSERT INTO moments VALUES (1, '2024-01-01 00:00+00')")
    live = plane.live("moments", timeout_s=30)
    try:
        run(connection, "INSERT INTO moments VALUES (2, 'infinity')")
        wait_until(lambda: plane.live_states()["moments"].state == "failed", "its failure")
        error = plane.live_states()["moments"].error
        assert error is not None
        assert "'ts'" in error.what
        assert "infinite" in error.what
        assert "where='isfinite(ts)', with REPLICA IDENTITY FULL" in error.hint
        assert live.as_of.stale  # what there is is no more told to be fresh
        run(connection, "UPDATE moments SET ts = '2025-01-01 00:00+00' WHERE id = 2")
        wait_until(lambda: live.rows() == 2, "the next attempt")
        plane.drop_live("moments")

        live = plane.live("moments", where="isfinite(ts)", timeout_s=30)
        run(connection, "INSERT INTO moments VALUES (3, '-infinity'), (4, '2026-01-01 00:00+00')")
        run(connection, "UPDATE moments SET ts = 'infinity' WHERE id = 1")
        wait_until(lambda: sorted(live.arrow()["id"].to_pylist()) == [2, 4], "rows that may come")
    finally:
        plane.drop_live("moments")
    with pytest.raises(BadValueError, match=r"where='isfinite\(ts\)'; or"):
        plane.live("moments", how="trigger", timeout_s=30)
    run(connection, "DROP TABLE moments")


def test_arrays_of_more_dimensions_come_by_a_copy_and_mixed_ones_are_refused(
    plane: ngb.DataPlane, connection: psycopg.Connection[Any]
) -> None:
    run(connection, "CREATE TABLE depths (id int PRIMARY KEY, x int[])")
    live = plane.live("depths", timeout_s=30)
    try:
        run(connection, "INSERT INTO depths VALUES (1, NULL), (2, '{}'), (3, '{{1,2},{3,4}}')")
        wait_until(lambda: live.rows() == 3, "rows of two dimensions")
        rows = sorted(live.arrow().to_pylist(), key=lambda row: row["id"])
        assert [row["x"] for row in rows] == [None, [], [[1, 2], [3, 4]]]
        asked = "SELECT sum(len(x)) AS n, sum(x[1][2]) AS m FROM depths"
        assert plane.sql(asked).arrow().to_pylist() == [{"n": 2, "m": 2}]
        run(connection, "INSERT INTO depths VALUES (4, '{5}')")
        wait_until(lambda: plane.live_states()["depths"].state == "failed", "its failure")
        error = plane.live_states()["depths"].error
        assert error is not None
        assert "columns=" in error.hint
        run(connection, "DELETE FROM depths WHERE id = 3")
        wait_until(lambda: [5] in live.arrow()["x"].to_pylist(), "rows of one dimension")
    finally:
        plane.drop_live("depths")
        run(connection, "DROP TABLE depths")
