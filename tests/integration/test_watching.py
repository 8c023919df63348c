"""A watched workload on real servers: each commit's figures arrive in PostgreSQL and Redis, equal
to the workload run by hand over SELECT's rows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import neural_gpu_bus as ngb
from fix_servers import wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.errors import (
    BadParameterError,
    ClosedError,
    DatasetNotFoundError,
    StaleError,
)
from neural_gpu_bus.workloads import check_params, find

pytestmark = pytest.mark.slow

Run = Callable[..., list[tuple[Any, ...]]]
#: Long; a run that is due comes within a few milliseconds.
SOON_S = 30.0
RISK = ("desk", "value", "value_at_risk", "expected_shortfall", "observations")


@pytest.fixture(scope="module")
def plane(private_servers: embedded.Attachment) -> Iterator[ngb.DataPlane]:
    with ngb.open(home=private_servers.settings.home) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(plane: ngb.DataPlane) -> Iterator[Run]:
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:

        def executed(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        yield executed


class Desks:
    """Bars of three assets, positions in them, and where the risk of these goes."""

    def __init__(self, plane: ngb.DataPlane, run: Run) -> None:
        own = uuid.uuid4().hex[:8]
        self.plane, self.run = plane, run
        self.bars, self.positions, self.risk = f"bars_{own}", f"positions_{own}", f"risk_{own}"
        self.calls, self.redis_key, self.topic = f"calls_{own}", f"risk:{own}", f"watched-{own}"
        run(
            f"CREATE TABLE {self.bars} (instrument_id text NOT NULL, ts date NOT NULL, "
            "close float8 NOT NULL, PRIMARY KEY (instrument_id, ts))"
        )
        run(
            f"INSERT INTO {self.bars} SELECT 'A' || a, '2026-01-01'::date + d, "
            "100 + 10 * a + (d * (7 + a)) % 13 FROM generate_series(1, 3) a, "
            "generate_series(0, 99) d"
        )
        run(
            f"CREATE TABLE {self.positions} (desk text NOT NULL, asset text NOT NULL, "
            "quantity float8 NOT NULL, PRIMARY KEY (desk, asset))"
        )
        run(f"INSERT INTO {self.positions} VALUES ('fx', 'A1', 100), ('rates', 'A2', -50)")
        run(f"CREATE TABLE {self.calls} (id int PRIMARY KEY)")
        plane.live(self.bars, key=["instrument_id"], order_by="ts", timeout_s=30)
        plane.live(self.positions, timeout_s=30)

    def watch(self, **given: Any) -> ngb.Watch:
        columns = {"date": "ts", "asset": "instrument_id", "price": "close"}
        inputs = {
            "positions": self.positions,
            "prices": ngb.LiveInput(self.bars, columns=columns),
        }
        named = {"name": f"risk of {self.positions}", "inputs": inputs}
        return self.plane.watch("risk.portfolio", **{**named, **given})

    def everywhere(self) -> dict[str, Any]:
        return {
            "store": self.risk,
            "key": ["desk"],
            "publish": self.redis_key,
            "topic": self.topic,
        }

    def by_hand(self, **params: Any) -> dict[str, list[Any]]:
        """Over what SELECT gives now."""
        workload = find("risk.portfolio")
        inputs = {
            "positions": self.plane.query(f"SELECT * FROM {self.positions}"),
            "prices": self.plane.query(
                f"SELECT ts AS date, instrument_id AS asset, close AS price FROM {self.bars}"
            ),
        }
        shared = {name: self.plane.memory.share(frame.arrow()) for name, frame in inputs.items()}
        checked = check_params(workload, params)
        arrays = workload.prepare(shared, checked)
        return columns(workload.table(workload.kernels.cpu(arrays, checked), checked))

    def drop(self) -> None:
        for name in (self.bars, self.positions):
            self.plane.drop_live(name)
        self.run(f"DROP TABLE {self.bars}, {self.positions}, {self.calls}")
        self.run(f"DROP TABLE IF EXISTS {self.risk}, {self.risk}_once, {self.risk}_told")


@pytest.fixture(scope="module")
def desks(plane: ngb.DataPlane, run: Run) -> Iterator[Desks]:
    made = Desks(plane, run)
    yield made
    made.drop()


def result(watch: ngb.Watch) -> ngb.WatchRun:
    """The next run, which did not fail."""
    found = watch.next(SOON_S)
    assert found is not None
    if found.error is not None:
        raise found.error
    return found


def columns(rows: Any) -> dict[str, list[Any]]:
    found = rows.to_pydict()
    order = sorted(range(len(found["desk"])), key=found["desk"].__getitem__)
    return {name: [found[name][at] for at in order] for name in RISK}


def until_equal(watch: ngb.Watch, expected: dict[str, list[Any]]) -> ngb.WatchRun:
    """The first run over what is there now; one before may have begun earlier."""
    for _ in range(100):
        found = result(watch)
        if columns(found.frame.arrow()) == expected:
            return found
    pytest.fail("no run has seen the last commit")


def test_a_commit_of_a_position_is_a_new_figure_in_both_stores(desks: Desks) -> None:
    with desks.watch(
        every_change_of=[desks.positions, desks.bars],
        params={"confidence": 0.9},
        **desks.everywhere(),
    ) as watch:
        first = result(watch)
        assert columns(first.frame.arrow()) == desks.by_hand(confidence=0.9)
        for statement in (
            f"INSERT INTO {desks.positions} VALUES ('fx', 'A3', 10)",
            f"UPDATE {desks.positions} SET quantity = 75 WHERE desk = 'fx' AND asset = 'A1'",
            f"UPDATE {desks.bars} SET close = close * 1.5 WHERE ts = '2026-02-01'",
        ):
            desks.run(statement)
            expected = desks.by_hand(confidence=0.9)
            found = until_equal(watch, expected)

            told = found.frame.as_of
            assert told.lsn
            assert told.committed_ns is not None
            assert found.behind_s is not None
            stored = desks.plane.query(f"SELECT * FROM {desks.risk}").arrow()
            assert columns(stored) == expected
            assert set(stored["as_of_lsn"].to_pylist()) == {told.lsn}
            published = desks.plane.redis.read(desks.redis_key)
            assert columns(published) == expected
            assert set(published["as_of_lsn"].to_pylist()) == {told.lsn}
            event = desks.plane.engine_logic.read(desks.topic)[-1]
            assert event.type == "WatchRun"
            assert event.payload["lsn"] == told.lsn
            assert event.payload["redis_key"] == desks.redis_key
        counted = watch.statistics()
        assert counted.failed == 0
        assert counted.last_lsn == found.frame.as_of.lsn
        assert counted.changes >= 3
    assert watch.next(0) is None


def test_a_burst_ends_in_a_run_that_saw_its_end(desks: Desks) -> None:
    with desks.watch() as watch:
        result(watch)

        def burst() -> None:
            dsn = desks.plane.addresses.postgres_dsn.get_secret_value()
            with psycopg.connect(dsn, autocommit=True) as connection:
                for step in range(200):
                    statement = f"UPDATE {desks.positions} SET quantity = %s WHERE asset = 'A1'"
                    connection.execute(statement.encode(), (step,))

        writer = threading.Thread(target=burst)
        writer.start()
        seen = [result(watch)]
        writer.join()
        seen.append(until_equal(watch, desks.by_hand()))
        assert watch.statistics().changes <= 200
        positions = [one.frame.as_of.generation for one in seen]
        assert positions == sorted(positions)


def test_an_input_may_be_made_of_several_tables_or_stay(desks: Desks) -> None:
    """One position for all of them, and for a function that is given them."""
    prices = desks.plane.query(
        f"SELECT ts AS date, instrument_id AS asset, close AS price FROM {desks.bars}"
    )
    given = {
        "positions": lambda moment: moment[desks.positions].frame(),
        "prices": ngb.LiveInput(
            desks.bars,
            columns={"date": "ts", "asset": "instrument_id", "price": "close"},
            last=1000,
        ),
    }
    with (
        desks.watch(inputs=given, every_change_of=desks.positions) as watch,
        desks.watch(inputs={"positions": desks.positions, "prices": prices}) as other,
    ):
        assert "of positions" in repr(other)
        expected = desks.by_hand()
        until_equal(watch, expected)
        until_equal(other, expected)


def test_a_result_is_stored_once_for_its_position_after_a_restart(desks: Desks) -> None:
    given = {"store": f"{desks.risk}_once"}
    with desks.watch(**given) as watch:
        first = result(watch)
    assert not first.receipt.repeated
    with desks.watch(**given) as again:
        second = result(again)
    same = second.frame.as_of.lsn == first.frame.as_of.lsn
    assert second.receipt.repeated == same
    with desks.watch(params={"confidence": 0.5}, **given) as other:
        assert not result(other).receipt.repeated


def test_a_run_that_fails_is_told_and_the_next_is_right(desks: Desks) -> None:
    with desks.watch(**desks.everywhere()) as watch:
        result(watch)
        before = desks.by_hand()
        desks.run(f"INSERT INTO {desks.positions} VALUES ('fx', 'no price', 1)")
        failed = watch.next(SOON_S)
        assert isinstance(failed.error, BadParameterError)
        assert failed.frame is None
        assert "no row for 1 held asset" in watch.statistics().error
        stored = desks.plane.query(f"SELECT * FROM {desks.risk}").arrow()
        assert columns(stored) == before == columns(desks.plane.redis.read(desks.redis_key))

        desks.run(f"DELETE FROM {desks.positions} WHERE asset = 'no price'")
        while (found := watch.next(SOON_S)).error is not None:
            assert isinstance(found.error, BadParameterError)
        assert columns(found.frame.arrow()) == desks.by_hand()
        assert watch.statistics().error == ""


def test_a_table_that_is_dropped_ends_it(desks: Desks) -> None:
    """Also one that only says when, and one that no change is waited for of."""
    desks.plane.live(desks.calls, timeout_s=30)
    ended: list[Any] = []
    threads = threading.active_count()
    everything = [desks.positions, desks.calls]
    with (
        desks.watch(every_change_of=everything) as watch,
        desks.watch(every_change_of=everything) as other,
    ):
        assert watch.next(SOON_S) is not None
        other.start(ended.append)
        wait_until(lambda: ended, "the first run")
        with pytest.raises(ClosedError, match="a thread of its own"):
            other.next(0)
        desks.plane.drop_live(desks.calls)
        with pytest.raises(DatasetNotFoundError, match="there is no live table"):
            list(watch)  # until it ends
        assert watch.is_closed
        assert list(watch) == []
        wait_until(lambda: other.is_closed, "the other's end")
        assert isinstance(other.error, DatasetNotFoundError)
    assert threading.active_count() == threads


def test_a_table_followed_by_triggers_is_watched_alone(desks: Desks) -> None:
    desks.run(f"INSERT INTO {desks.calls} VALUES (1), (2)")
    held = {"desk": ["fx"], "asset": ["A"], "quantity": [1.0]}

    def prices(moment: Any) -> dict[str, Any]:
        ids = sorted(moment[desks.calls].frame()["id"].tolist())
        return {"date": ids, "price": ids, "asset": ["A"] * len(ids)}

    given = {"positions": held, "prices": prices}
    desks.plane.live(desks.calls, how="trigger", poll_s=0.1, timeout_s=30)
    try:
        with pytest.raises(BadParameterError, match="is followed by trigger, at no position"):
            desks.watch(every_change_of=[desks.calls, desks.positions], inputs=given)
        with desks.watch(every_change_of=desks.calls, inputs=given) as watch:
            assert result(watch).frame["value"].tolist() == [2.0, 2.0]
            desks.run(f"INSERT INTO {desks.calls} VALUES (3)")
            while result(watch).frame["value"].tolist() != [3.0, 3.0]:
                pass
    finally:
        desks.plane.drop_live(desks.calls)


def test_closing_ends_the_thread_that_waits(desks: Desks) -> None:
    seen: list[ngb.WatchRun] = []
    watch = desks.watch(at_most_every_s=3600).start(seen.append)
    wait_until(lambda: seen, "the first run")
    desks.run(f"UPDATE {desks.positions} SET quantity = 1")
    thread = next(one for one in threading.enumerate() if one.name == f"ngb watch {watch.name}")
    watch.close()
    assert not thread.is_alive()
    assert len(seen) == 1  # an hour has not passed


def test_stale_inputs_are_told_once_and_fresh_ones_run_again(desks: Desks) -> None:
    pid = desks.plane.live_view.progress().pid
    with desks.watch(max_lag_s=1.0) as watch:
        until_fresh(watch)
        os.kill(pid, signal.SIGSTOP)
        try:
            while (found := watch.next(SOON_S)) is None or found.error is None:
                pass
            assert isinstance(found.error, StaleError)
            assert watch.next(0.6) is None
        finally:
            os.kill(pid, signal.SIGCONT)
        assert columns(until_fresh(watch).frame.arrow()) == desks.by_hand()


def until_fresh(watch: ngb.Watch) -> ngb.WatchRun:
    """On a busy machine inputs may be behind for a moment."""
    while True:
        found = watch.next(SOON_S)
        assert found is not None
        if not isinstance(found.error, StaleError):
            return found


def test_the_command_prints_each_run_until_ctrl_c(desks: Desks, tmp_path: Path) -> None:
    names = {"date": "ts", "asset": "instrument_id", "price": "close"}
    arguments = [
        *("watch", "risk.portfolio", f"positions={desks.positions}", f"prices={desks.bars}"),
        *(f"--column=prices.{name}={own}" for name, own in names.items()),
        *("--json", "--store", f"{desks.risk}_told", "--key", "desk", "confidence=0.5"),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "neural_gpu_bus", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=to_environment(desks.plane.settings, os.environ),
    ) as command:
        try:
            assert command.stdout is not None
            assert json.loads(command.stdout.readline())["number"] == 1
            desks.run(f"UPDATE {desks.positions} SET quantity = quantity + 1")
            expected = desks.by_hand(confidence=0.5)["value"]
            for line in command.stdout:
                found = json.loads(line)
                if sorted(row["value"] for row in found["rows"]) == sorted(expected):
                    break
            stored = desks.run(f"SELECT DISTINCT as_of_lsn FROM {desks.risk}_told")
            assert stored == [(found["lsn"],)]
            command.send_signal(signal.SIGINT)
            assert command.wait(SOON_S) == 0
        finally:
            command.kill()


def test_what_cannot_be_watched_is_refused(desks: Desks) -> None:
    with pytest.raises(DatasetNotFoundError, match="no live table 'nowhere'"):
        desks.watch(every_change_of=["nowhere"])
    with pytest.raises(BadParameterError, match="each run would be a change"):
        desks.watch(store=f"public.{desks.positions}")
    with pytest.raises(BadParameterError, match="comes from nowhere"):
        desks.watch(inputs={"positions": desks.positions}, every_change_of=desks.bars)
    with pytest.raises(BadParameterError, match="has no input 'price'"):
        desks.watch(inputs={"price": desks.bars})
    with pytest.raises(BadParameterError, match="has no parameter 'confidense'"):
        desks.watch(params={"confidense": 0.9})
    with pytest.raises(BadParameterError, match="key and mode are of a table"):
        desks.watch(key=["desk"])
