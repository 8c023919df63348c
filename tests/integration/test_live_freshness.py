"""``freshness="live"``: no result is older than what any live table showed before; others stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

import neural_gpu_bus as ngb
from fix_servers import wait_until
from live_oracle_home import LiveHome, live_home, live_server
from neural_gpu_bus.errors import BadParameterError, QueryTimeoutError, StaleError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.changes.changes_view import ChangesView
from neural_gpu_bus.live.mirror.followed_tables import UNUSED_S_MAX
from neural_gpu_bus.live.shared.words import CONFIRMED_NS
from neural_gpu_bus.live_tables import live_table
from own_server import OwnServer

pytestmark = pytest.mark.slow

WAIT_S = 30.0
TABLES = ("first", "second", "third")
#: Of no home that a busy host holds up: a test must not depend on how late its stream is.
LAG_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with live_server() as made:
        for table in TABLES:
            made.run(f"CREATE TABLE {table} (id int8 PRIMARY KEY, n int8 NOT NULL)")
            made.run(f"INSERT INTO {table} VALUES (1, 0)")
        yield made


@pytest.fixture(scope="module")
def home(server: OwnServer) -> Iterator[LiveHome]:
    with live_home(server) as made:
        made.plane.live("first", timeout_s=WAIT_S)
        for table in TABLES:
            wait_followed(made, f"SELECT n FROM {table}")
        yield made


def live(home: LiveHome, sql: str, **other: Any) -> list[tuple[Any, ...]]:
    found = home.plane.query(sql, freshness="live", max_lag_s=LAG_S, **other)
    columns = [column.to_pylist() for column in found.arrow().columns]
    return list(zip(*columns, strict=True))


def loads(home: LiveHome) -> int:
    """Results that were read, kept or not."""
    counted = home.plane.query_cache.statistics()
    return counted.loads + counted.not_kept


def wait_told(home: LiveHome) -> None:
    """Until all that was committed by now is told of, or no stream tells anything."""
    now_ns = host_clock_ns()
    view = home.plane.live_view

    def told() -> bool:
        view.look_again()
        return view.words[CONFIRMED_NS] == 0 or view.words[CONFIRMED_NS] >= now_ns

    wait_until(told, "the stream", WAIT_S)


def wait_followed(home: LiveHome, sql: str) -> None:
    """Until its result is answered from memory."""

    def kept() -> bool:
        live(home, sql)
        before = loads(home)
        live(home, sql)
        return loads(home) == before

    wait_until(kept, f"{sql!r} from memory", WAIT_S)


def assert_follows(home: LiveHome, sql: str, *statements: str) -> None:
    """Each statement changes the result, which is kept before and after."""
    for statement in statements:
        wait_followed(home, sql)
        home.server.run(statement)
        wait_told(home)
        assert live(home, sql) == home.server.run(sql), statement


def test_nobody_gets_less_than_he_saw_in_a_live_table(home: LiveHome) -> None:
    """Three writers count up; readers compare what a live table shows with a query after it."""
    end_s, wrong, asked = time.monotonic() + 1.2, [], [0]
    first = home.plane.live("first")

    def write(table: str) -> None:
        with psycopg.connect(home.server.dsn(), autocommit=True) as writer:
            while time.monotonic() < end_s:
                writer.execute(f"UPDATE {table} SET n = n + 1")
                time.sleep(0.002)

    def read(plane: ngb.DataPlane) -> None:
        mine = plane.live("first")
        seen_both = 0
        while time.monotonic() < end_s:
            seen = int(mine.last(1)["n"][0])
            one = plane.query("SELECT n FROM first", freshness="live")["n"][0]
            both = plane.query("SELECT f.n AS f, s.n AS s FROM first f, second s", freshness="live")
            if one < seen or both["f"][0] < seen or both["s"][0] < seen_both:
                wrong.append((seen, one, both["f"][0], both["s"][0], seen_both))
            seen_both = both["s"][0]
            asked[0] += 1

    with ExitStack() as opened:
        planes = [home.plane, opened.enter_context(ngb.open(**home.settings))]
        threads = [threading.Thread(target=write, args=[table]) for table in TABLES]
        threads += [threading.Thread(target=read, args=[plane]) for plane in planes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert asked[0] > 0
    receipt = home.plane.store("first", {"id": [2], "n": [7]})
    first.wait_for(receipt, WAIT_S)
    assert live(home, "SELECT count(*) AS n FROM first") == [(2,)]


def test_what_was_not_touched_stays(home: LiveHome) -> None:
    sql = "SELECT n FROM third WHERE id = 1"
    wait_followed(home, sql)
    before = loads(home)
    for _ in range(5):
        home.server.run("UPDATE first SET n = n + 1; UPDATE second SET n = n + 1")
        wait_told(home)
        assert live(home, sql) == home.server.run(sql)
    assert loads(home) == before
    assert "from memory: nothing it reads changed" in home.plane.explain_cache(sql).live
    home.server.run("UPDATE third SET n = n + 1")
    wait_told(home)
    assert "its tables were changed since it was read" in home.plane.explain_cache(sql).live
    assert live(home, sql) == home.server.run(sql)
    assert loads(home) == before + 1


def test_a_commit_that_is_told_and_not_shown_yet_is_waited_for(home: LiveHome) -> None:
    """It waits for a standby: live tables have it, and no new statement sees it."""
    server, table = home.server, home.plane.live("first")
    sql = "SELECT n FROM first WHERE id = 1"
    wait_followed(home, sql)
    ((before,),) = server.run(sql)
    with _no_standby_answers(server):
        writer = threading.Thread(target=server.run, args=["UPDATE first SET n = n + 1"])
        writer.start()
        wait_until(lambda: before + 1 in table.frame()["n"].tolist(), "the commit, live", WAIT_S)
        assert server.run(sql) == [(before,)]
        with pytest.raises(QueryTimeoutError, match="committed what live tables show already"):
            live(home, sql, timeout_s=0.3)
    writer.join()
    assert live(home, sql) == [(before + 1,)]


@contextmanager
def _no_standby_answers(server: OwnServer) -> Iterator[None]:
    def names(text: str) -> None:
        server.run(f"ALTER SYSTEM SET synchronous_standby_names = '{text}'")
        server.run("SELECT pg_reload_conf()")
        wait_until(lambda: server.run("SHOW synchronous_standby_names") == [(text,)], "the setting")

    names("nobody")
    try:
        yield
    finally:
        names("")


def test_an_open_transaction_keeps_nobody(home: LiveHome) -> None:
    sql = "SELECT n FROM second"
    with psycopg.connect(home.server.dsn()) as writer:
        writer.execute("UPDATE third SET n = n + 1")  # it has a number, and goes on
        assert_follows(home, sql, "UPDATE second SET n = n + 1", "UPDATE second SET n = n + 1")
        writer.execute("UPDATE second SET n = n + 100")
        assert live(home, sql) == home.server.run(sql)
        writer.commit()
    wait_told(home)
    assert live(home, sql) == home.server.run(sql)


def test_definitions_count_as_changes(home: LiveHome) -> None:
    server = home.server
    server.run(
        "CREATE TABLE moving (id int8 PRIMARY KEY, word text); "
        "INSERT INTO moving VALUES (1, 'a'), (2, 'b'); "
        "CREATE VIEW seen AS SELECT id, word FROM moving WHERE id = 1; "
        "CREATE TABLE parted (id int8 PRIMARY KEY) PARTITION BY RANGE (id); "
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10); "
        "CREATE TABLE high (id int8 PRIMARY KEY); INSERT INTO high VALUES (12)"
    )
    assert_follows(
        home,
        "SELECT * FROM moving ORDER BY id",
        "ALTER TABLE moving ADD COLUMN more int DEFAULT 5",
        "ALTER TABLE moving RENAME COLUMN word TO said",
        "UPDATE moving SET said = 'c' WHERE id = 1",
        "TRUNCATE moving",
    )
    assert_follows(
        home,
        "SELECT id FROM parted ORDER BY id",
        "INSERT INTO parted VALUES (1)",
        "ALTER TABLE parted ATTACH PARTITION high FOR VALUES FROM (10) TO (20)",
        "INSERT INTO high VALUES (13)",
        "CREATE TABLE top PARTITION OF parted FOR VALUES FROM (20) TO (30)",
        "INSERT INTO top VALUES (25)",
        "TRUNCATE low",
        "ALTER TABLE parted DETACH PARTITION high",
    )
    names = [name for name in home.plane.live_states() if "parted" in name or "low" in name]
    assert names == ["changes of public.parted"]


def test_a_view_that_is_another_is_noticed_within_a_second(home: LiveHome) -> None:
    server = home.server
    server.run("CREATE OR REPLACE VIEW of_two AS SELECT n FROM second WHERE id = 1")
    sql = "SELECT * FROM of_two"
    assert_follows(home, sql, "UPDATE second SET n = n + 1")
    server.run("CREATE OR REPLACE VIEW of_two AS SELECT n + 1000000 AS n FROM third WHERE id = 1")
    wait_until(lambda: live(home, sql) == server.run(sql), "the other view", WAIT_S)
    assert_follows(home, sql, "UPDATE third SET n = n + 1")


def test_a_view_that_became_another_while_it_was_read(home: LiveHome) -> None:
    plane, server, sql = home.plane, home.server, "SELECT n FROM turning"
    server.run("CREATE VIEW turning AS SELECT n FROM second WHERE id = 1")
    wait_followed(home, sql)
    server.run("UPDATE second SET n = n + 1")
    wait_told(home)

    def read(reserve: Any, timeout_s: float | None) -> Any:
        server.run("CREATE OR REPLACE VIEW turning AS SELECT n - 5000000 AS n FROM third")
        return plane.database.query(sql, reserve=reserve, timeout_s=timeout_s)

    plane.query_cache.load(read, sql, freshness="live", max_lag_s=LAG_S)
    server.run("UPDATE third SET n = n + 1")
    wait_told(home)
    assert live(home, sql) == server.run(sql)


def test_a_table_that_gets_a_child_is_live_no_more(home: LiveHome) -> None:
    server, sql = home.server, "SELECT id FROM parent ORDER BY id"
    server.run("CREATE TABLE parent (id int8 PRIMARY KEY)")
    assert_follows(home, sql, "INSERT INTO parent VALUES (1)")
    server.run("CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)")
    server.run("INSERT INTO child VALUES (2)")
    wait_told(home)
    for inheriting in (sql, "SELECT id FROM ONLY parent"):
        with pytest.raises(BadParameterError, match=r"public.parent is inherited from \(INHERITS"):
            live(home, inheriting)
    assert_follows(home, "SELECT id FROM child", "INSERT INTO child VALUES (3)")


def test_a_publication_that_lost_the_table(home: LiveHome) -> None:
    server, sql = home.server, "SELECT n FROM second"
    wait_followed(home, sql)
    found = server.run(
        "SELECT pubname FROM pg_publication_tables WHERE tablename = 'second' LIMIT 1"
    )
    assert_follows(
        home,
        sql,
        f'ALTER PUBLICATION "{found[0][0]}" DROP TABLE second; UPDATE second SET n = n + 1',
        "UPDATE second SET n = n + 1",
    )


def test_a_stream_that_ended(home: LiveHome) -> None:
    server, sql = home.server, "SELECT n FROM second"
    wait_followed(home, sql)
    for name in ("state", "changes-1"):  # as `ngb down` and `ngb up` leave it
        (home.plane.memory.folder / "live" / name).unlink()
    home.kill()
    server.run("UPDATE second SET n = n + 1")
    wanted = server.run(sql)
    # By itself as late as was said at most; then read each time, until somebody follows again.
    rows = home.plane.query(sql, freshness="live", max_lag_s=1e-6)["n"].tolist()
    assert rows == [wanted[0][0]]
    assert_follows(home, sql, "UPDATE second SET n = n + 1")


def test_a_table_that_nobody_asks_about_is_forgotten(home: LiveHome) -> None:
    home.server.run("CREATE TABLE rare (id int8 PRIMARY KEY)")
    sql, name = "SELECT count(*) AS n FROM rare", "changes of public.rare"
    wait_followed(home, sql)
    with pytest.raises(StaleError, match="it is live for its changes alone: no rows are kept"):
        live_table(home.plane, name).frame()
    changes = ChangesView(home.plane.memory.folder)
    ((oid,),) = home.server.run("SELECT 'rare'::regclass::oid::int8")
    changes.use(changes.covering()[oid], host_clock_ns() - int(1.1e9 * UNUSED_S_MAX))
    wait_until(lambda: name not in home.plane.live_states(), "its end", WAIT_S)
    assert name not in home.plane.live_definitions.all()
    home.server.run("INSERT INTO rare VALUES (1)")
    assert live(home, sql) == [(1,)]
    home.plane.drop_live(name)


def test_what_cannot_be_live_says_why(home: LiveHome) -> None:
    server = home.server
    server.run(
        "CREATE TABLE filtered (id int8 PRIMARY KEY); CREATE UNLOGGED TABLE loose (id int8); "
        "CREATE TABLE keyless (id int8)"
    )
    home.plane.live("filtered", where="id > 5", timeout_s=WAIT_S)
    refused = {
        "SELECT * FROM filtered": "live as 'filtered' with a filter",
        "SELECT now() AS t, n FROM first": "now.. is STABLE",
        "SELECT random() AS r FROM first": "random.. is VOLATILE",
        "SELECT * FROM loose": "unlogged",
    }
    for sql, why in refused.items():
        with pytest.raises(BadParameterError, match=why):
            live(home, sql)
    with pytest.raises(BadParameterError, match="max_lag_s is given and freshness is 60"):
        home.plane.query("SELECT 1 AS x", freshness=60, max_lag_s=1)

    def refuses() -> bool:
        try:
            live(home, "SELECT * FROM keyless")
        except ngb.errors.ReplicationRefusedError as error:
            return "REPLICA IDENTITY" in str(error)
        return False

    wait_until(refuses, "what a table without a key lacks", WAIT_S)
    home.plane.drop_live("changes of public.keyless")


def test_a_declared_filter_goes_before_what_a_query_asked_for(home: LiveHome) -> None:
    home.server.run("CREATE TABLE wanted (id int8 PRIMARY KEY); INSERT INTO wanted VALUES (1), (9)")
    sql = "SELECT id FROM wanted ORDER BY id"
    wait_followed(home, sql)
    table = home.plane.live("wanted", where="id > 5", timeout_s=WAIT_S)
    home.server.run("INSERT INTO wanted VALUES (2), (10)")
    wait_until(lambda: sorted(table.frame()["id"].tolist()) == [9, 10], "its rows", WAIT_S)
    with pytest.raises(BadParameterError, match="live as 'wanted' with a filter"):
        live(home, sql)
