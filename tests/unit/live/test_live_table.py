"""A live table as its readers see it: rows, positions, changes, versions."""

from __future__ import annotations

import math
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.descriptors import ErrorRecord, StoreReceipt
from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    DatasetNotFoundError,
    StaleError,
)
from neural_gpu_bus.live.live_table import LiveTable, live_snapshot
from neural_gpu_bus.live.shared import LiveState, LiveView, TableState
from neural_gpu_bus.live.versions import Mark
from neural_gpu_bus.memory.series import SeriesGroup

SCHEMA = pa.schema([("id", pa.int64()), ("ts", pa.int64()), ("price", pa.float64())])
NOW_NS = 10**12


class Followed:
    """A process that follows tables, played by the test: the writer of the group and its state."""

    def __init__(self, memory: Path) -> None:
        (memory / "series").mkdir()
        (memory / "live").mkdir()
        self.now_ns = NOW_NS
        self.group = SeriesGroup.create(memory / "series", "live")
        self.state = LiveState(memory, clock_ns=self.clock)
        self.writer = self.group.writer()
        self.view = LiveView(memory, clock_ns=self.clock)
        self.lsn = 0

    def clock(self) -> int:
        return self.now_ns

    def make(self, version: str) -> None:
        self.group.series(version, SCHEMA, ["id"], "ts")

    def step(self, version: str, *rows: tuple[int, int, float]) -> int:
        """One transaction, published."""
        self.lsn += 0x10
        if rows:
            names = SCHEMA.names
            given = {name: [row[at] for row in rows] for at, name in enumerate(names)}
            self.writer.append(version, pa.table(given, schema=SCHEMA))
        generation = self.writer.publish(self.lsn, self.lsn * 1000)
        self.state.applied(self.lsn, self.lsn * 1000)
        self.state.confirmed(self.now_ns)
        self.state.beat(self.lsn)
        return generation

    def live(self, name: str, version: str) -> None:
        self.state.set_table(TableState(name, version, "live"))

    def table(self, name: str) -> LiveTable:
        return LiveTable(name, self.view, self.group.series)

    def close(self) -> None:
        self.writer.close()
        self.state.close()


@pytest.fixture
def followed(memory_folder: Path) -> Iterator[Followed]:
    found = Followed(memory_folder)
    yield found
    found.close()


@pytest.fixture
def bars(followed: Followed) -> LiveTable:
    followed.make("bars/1")
    followed.step("bars/1", (1, 10, 1.5), (1, 20, 2.5), (2, 10, 7.0))
    followed.live("bars", "bars/1")
    return followed.table("bars")


def prices(frame: Any) -> list[float]:
    found: list[float] = frame["price"].tolist()
    return found


def test_rows_are_those_of_the_series(bars: LiveTable) -> None:
    assert prices(bars.last(1, id=1)) == [2.5]
    assert prices(bars.last(10, id=1)) == [1.5, 2.5]
    assert prices(bars.between(0, 15, id=1)) == [1.5]
    assert prices(bars.frame(id=2)) == [7.0]
    assert bars.arrow().column("price").to_pylist() == [1.5, 2.5, 7.0]
    assert bars.arrow(id=2).num_rows == 1
    assert (bars.rows(), bars.rows(id=1)) == (3, 2)
    assert bars.partitions() == [{"id": 1}, {"id": 2}]
    assert (bars.key, bars.order_by, bars.schema.names) == (("id",), "ts", SCHEMA.names)
    assert repr(bars) == "<LiveTable 'bars', live>"


def test_last_is_never_a_copy(bars: LiveTable) -> None:
    one, other = bars.last(2, id=1)["price"], bars.last(2, id=1)["price"]

    assert one.ctypes.data == other.ctypes.data
    assert not one.flags.writeable


def test_each_look_sees_what_is_published(bars: LiveTable, followed: Followed) -> None:
    before = bars.last(1, id=1)
    followed.step("bars/1", (1, 30, 3.5))

    assert prices(bars.last(1, id=1)) == [3.5]
    assert prices(before) == [2.5]
    assert bars.last(1, id=1).as_of.lsn == "0/20"
    assert bars.as_of.lsn == 0x20
    assert bars.as_of.committed_ns == 0x20 * 1000


def test_a_partition_that_is_not_there_is_told(bars: LiveTable) -> None:
    with pytest.raises(DatasetNotFoundError, match="no partition id=9"):
        bars.last(1, id=9)


def test_a_table_that_is_not_live_is_told(bars: LiveTable, followed: Followed) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no live table 'bar'\nhint: did you mean 'ba"):
        followed.table("bar").last(1, id=1)
    kept = bars.last(1, id=1)
    followed.state.drop_table("bars")

    with pytest.raises(DatasetNotFoundError, match="there is no live table 'bars'"):
        bars.last(1, id=1)
    assert prices(kept) == [2.5]
    assert repr(bars) == "<LiveTable 'bars', dropped>"


def test_before_its_first_copy_is_whole_there_is_nothing_to_see(followed: Followed) -> None:
    followed.state.set_table(TableState("bars", "bars/1", "waiting", detail="pid 42 runs"))
    bars = followed.table("bars")
    with pytest.raises(StaleError, match="has no rows as of now: it is waiting: pid 42 runs"):
        bars.last(1, id=1)
    followed.state.set_table(TableState("bars", state="copying"))
    followed.state.count("bars", rows_copied=1000, rows_expected=5000)

    with pytest.raises(StaleError, match="it is copying; 1,000 of about 5,000 rows are copied"):
        bars.snapshot()
    with pytest.raises(StaleError, match="was not live in 0 s: it is copying"):
        bars.wait_live(0)


def test_why_a_table_failed_is_told(followed: Followed) -> None:
    error = ErrorRecord("QueryError", "permission denied for table bars", "GRANT SELECT")
    followed.state.set_table(TableState("bars", state="failed", error=error))

    with pytest.raises(StaleError, match=r"\(permission denied for table bars\)\nhint: GRANT SEL"):
        followed.table("bars").rows()
    with pytest.raises(StaleError, match="permission denied"):
        followed.table("bars").wait_for("0/10", 5)


# ---- versions


def test_readers_go_over_to_a_new_version_by_themselves(
    bars: LiveTable, followed: Followed
) -> None:
    held = bars.last(2, id=1)
    followed.make("bars/2")
    followed.state.set_table(TableState("bars", "bars/2", "copying anew", detail="altered"))
    followed.step("bars/2", (1, 10, 100.0))
    assert prices(bars.last(2, id=1)) == [1.5, 2.5]

    followed.live("bars", "bars/2")
    assert prices(bars.last(2, id=1)) == [100.0]
    followed.writer.truncate("bars/1")
    followed.step("bars/2")
    assert prices(bars.last(2, id=1)) == [100.0]
    assert prices(held) == [1.5, 2.5]


def test_a_version_emptied_during_a_look_is_not_taken(bars: LiveTable, followed: Followed) -> None:
    """Between finding the version and looking at it the writer gives another and empties this."""
    current = bars._resolved()

    def last_of(rows: int, key: dict[str, Any]) -> Any:
        followed.make("bars/2")
        followed.step("bars/2", (1, 10, 100.0))
        followed.live("bars", "bars/2")
        followed.writer.truncate("bars/1")
        followed.step("bars/2")
        return current.series.last_of(rows, key)

    bars._current = current._replace(last_of=last_of)

    assert prices(bars.last(2, id=1)) == [100.0]


def test_rows_of_a_table_copied_anew_are_as_of_where_it_stopped(
    bars: LiveTable, followed: Followed
) -> None:
    followed.state.set_table(TableState("bars", "bars/2", "copying anew", detail="altered"))
    followed.make("bars/2")
    followed.step("bars/2", (1, 10, 100.0))

    moment = bars.last(1, id=1).as_of
    assert (moment.lsn, moment.committed_ns) == ("0/10", 0x10 * 1000)
    assert bars.snapshot().as_of.lsn == "0/10"
    assert bars.as_of.lsn == 0x10
    assert bars.as_of.stale == "it is copying anew: altered"
    assert bars.state.detail == "altered"


def test_what_is_told_besides_opens_nothing_anew(bars: LiveTable, followed: Followed) -> None:
    before = bars._resolved()
    followed.state.set_table(TableState("trades", state="copying"))

    assert prices(bars.last(1, id=1)) == [2.5]
    assert bars._resolved().series is before.series
    assert bars._resolved().epoch == before.epoch + 1


def test_a_memory_made_anew_under_a_reader_is_seen(
    bars: LiveTable, followed: Followed, memory_folder: Path
) -> None:
    """Its state may have the same epoch as the one that was removed."""
    assert prices(bars.last(1, id=1)) == [2.5]
    followed.close()
    shutil.rmtree(memory_folder / "live")
    shutil.rmtree(memory_folder / "series")
    anew = Followed(memory_folder)
    anew.now_ns = followed.now_ns = NOW_NS + 10**9
    anew.make("bars/9")
    anew.step("bars/9", (1, 10, 99.0))
    anew.live("bars", "bars/9")
    bars._open_series = anew.group.series

    assert prices(bars.last(1, max_lag_s=0.5, id=1)) == [99.0]
    assert prices(bars.last(1, id=1)) == [99.0]
    anew.close()


def test_a_table_cannot_be_pickled_and_its_frames_can(bars: LiveTable) -> None:
    with pytest.raises(BadParameterError, match="live table 'bars' cannot be pickled"):
        pickle.dumps(bars)

    assert prices(pickle.loads(pickle.dumps(bars.last(2, id=1)))) == [1.5, 2.5]


# ---- how old it may be


def test_who_asks_for_a_bound_gets_it_or_an_error(bars: LiveTable, followed: Followed) -> None:
    assert prices(bars.last(1, max_lag_s=0.5, id=1)) == [2.5]
    followed.now_ns += 600_000_000
    assert prices(bars.last(1, max_lag_s=1, id=1)) == [2.5]

    for look in (
        lambda: bars.last(1, max_lag_s=0.5, id=1),
        lambda: bars.between(0, 1, max_lag_s=0.5, id=1),
        lambda: bars.frame(max_lag_s=0.5, id=1),
        lambda: bars.arrow(max_lag_s=0.5),
        lambda: bars.rows(max_lag_s=0.5),
        lambda: bars.partitions(max_lag_s=0.5),
        lambda: bars.snapshot(max_lag_s=0.5),
    ):
        with pytest.raises(StaleError, match=r"up to 0.600 s old, 0.5 s were asked for") as told:
            look()
        assert (told.value.table, told.value.lag_s, told.value.max_lag_s) == ("bars", 0.6, 0.5)
    for wrong in (-1, math.nan, "x", True):
        with pytest.raises(BadParameterError, match="max_lag_s is "):
            bars.last(1, max_lag_s=wrong, id=1)  # type: ignore[arg-type]


def test_a_bound_is_not_met_by_what_the_next_writer_confirms(
    bars: LiveTable, followed: Followed, memory_folder: Path
) -> None:
    """Its words are fresh, and the table is not yet its own."""
    assert prices(bars.last(1, max_lag_s=1, id=1)) == [2.5]
    followed.now_ns += 5_000_000_000
    followed.close()
    followed.state = LiveState(memory_folder, clock_ns=followed.clock)
    followed.writer = followed.group.writer()
    followed.state.confirmed(followed.now_ns)

    with pytest.raises(StaleError, match=r"up to 5.000 s old, 1 s were asked for: it is stale"):
        bars.last(1, max_lag_s=1, id=1)


def test_a_dead_writers_table_stays_readable_and_grows_old(
    bars: LiveTable, followed: Followed, memory_folder: Path
) -> None:
    followed.close()
    followed.now_ns += 3_000_000_000

    assert prices(bars.last(1, id=1)) == [2.5]
    assert bars.as_of.lag_s == 3
    assert bars.as_of.stale.startswith("no process follows PostgreSQL: the home's keeper")
    with pytest.raises(StaleError, match="no process follows PostgreSQL"):
        bars.last(1, max_lag_s=2, id=1)
    followed.state = LiveState(memory_folder, clock_ns=followed.clock)
    followed.writer = followed.group.writer()
    assert bars.as_of.stale.startswith("it is stale: the process that followed it ended")
    assert bars.as_of.lag_s == 3
    assert prices(bars.last(1, id=1)) == [2.5]
    followed.make("bars/2")
    followed.step("bars/2", (1, 10, 50.0))
    assert bars.as_of.lag_s == 3
    followed.live("bars", "bars/2")

    assert prices(bars.last(1, max_lag_s=2, id=1)) == [50.0]
    assert bars.as_of.stale == ""


def test_a_moment_is_of_one_state_of_the_table(bars: LiveTable, followed: Followed) -> None:
    """It ceases to be live between finding its state and looking at how far the stream is."""
    progress = followed.view.progress

    def overtaken() -> Any:
        followed.view.progress = progress  # type: ignore[method-assign]
        followed.state.set_table(TableState("bars", "bars/2", "copying anew", detail="altered"))
        followed.state.applied(0x900)
        return progress()

    followed.view.progress = overtaken  # type: ignore[method-assign]

    found = bars.as_of
    assert (found.lsn, found.state) == (0x10, "copying anew")


def test_before_anything_is_confirmed_the_age_is_not_known(followed: Followed) -> None:
    followed.make("bars/1")
    followed.live("bars", "bars/1")
    bars = followed.table("bars")

    assert math.isinf(bars.as_of.lag_s)
    with pytest.raises(StaleError, match="of unknown age, 1 s were asked for"):
        bars.rows(max_lag_s=1)


# ---- positions


def test_a_position_that_is_there_is_not_waited_for(bars: LiveTable, followed: Followed) -> None:
    for lsn in ("0/10", 0x10, 0x8, StoreReceipt(1, "0/10")):
        assert bars.wait_for(lsn, 0).lsn == 0x10
    with pytest.raises(StaleError, match="did not reach 0/11 in 0 s, it shows 0/10: the stream"):
        bars.wait_for(0x11, 0)
    for nothing in ("", "0", "x/y", 0, True, None, StoreReceipt(1, "")):
        with pytest.raises(BadParameterError, match="has no WAL position"):
            bars.wait_for(nothing, 0)


def test_a_store_that_ended_with_a_page_is_not_waited_for_in_vain(
    bars: LiveTable, followed: Followed
) -> None:
    followed.state.applied(0x2000)

    assert bars.wait_for("0/2018", 0).lsn == 0x2000


def test_a_position_is_waited_for_until_it_comes(bars: LiveTable, followed: Followed) -> None:
    timer = threading.Timer(0.02, lambda: followed.step("bars/1", (1, 30, 9.0)))
    timer.start()

    assert bars.wait_for("0/20", 10).lsn == 0x20
    assert prices(bars.last(1, id=1)) == [9.0]
    timer.join()


def test_a_table_that_is_not_live_is_waited_for_though_the_stream_is_there(
    bars: LiveTable, followed: Followed
) -> None:
    followed.state.set_table(TableState("bars", "bars/2", "copying anew"))
    followed.state.applied(0x100)
    assert bars.wait_for(0x10, 0).lsn == 0x10

    with pytest.raises(StaleError, match="did not reach 0/20 in 0 s, it shows 0/10: it is copy"):
        bars.wait_for(0x20, 0)


def test_a_snapshot_is_of_a_position_while_nothing_came_after_it(
    bars: LiveTable, followed: Followed
) -> None:
    assert bars.at("0/10", 0).as_of.lsn == "0/10"
    followed.state.applied(0x1C)
    assert bars.at("0/1C", 0).as_of.lsn == "0/10"
    held = bars.snapshot()
    followed.step("bars/1", (1, 30, 3.5))

    with pytest.raises(DatasetEvictedError, match="'bars' has passed 0/10: it shows 0/20"):
        bars.at("0/10", 0)
    with pytest.raises(StaleError, match="did not reach 0/30"):
        bars.at("0/30", 0)
    assert prices(held.last(1, id=1)) == [2.5]


def test_several_tables_are_seen_as_of_one_position(bars: LiveTable, followed: Followed) -> None:
    followed.make("trades/1")
    followed.step("trades/1", (1, 10, 8.0))
    followed.live("trades", "trades/1")
    trades = followed.table("trades")

    found = live_snapshot([bars, trades])
    followed.step("trades/1", (1, 20, 9.0))

    assert {name: one.as_of.lsn for name, one in found.items()} == {
        "bars": "0/20",
        "trades": "0/20",
    }
    assert prices(found["trades"].last(1, id=1)) == [8.0]
    assert live_snapshot([]) == {}
    followed.state.set_table(TableState("bars", state="copying anew"))
    with pytest.raises(StaleError, match="'bars' has no rows as of now: it is copying anew"):
        live_snapshot([trades, bars])


# ---- changes


def test_a_change_is_of_this_table_alone(bars: LiveTable, followed: Followed) -> None:
    followed.make("trades/1")
    before = bars.mark
    followed.step("trades/1", (1, 10, 8.0))
    assert bars.wait_for_change(before, 0) is before

    followed.step("bars/1", (2, 20, 8.0), (3, 10, 1.0))
    after = bars.wait_for_change(before, 0)
    assert after > before
    change = bars.changed_since(before)
    assert (change.mark, change.partitions, change.whole) == (after, [{"id": 2}, {"id": 3}], False)
    assert bars.changed_since(after).partitions == []


def test_a_frame_says_since_when(bars: LiveTable, followed: Followed) -> None:
    frame = bars.last(1, id=1)
    assert bars.wait_for_change(frame.as_of.generation, 0).generation == frame.as_of.generation
    followed.step("bars/1", (1, 30, 3.5))

    assert bars.wait_for_change(frame.as_of.generation, 0).generation == frame.as_of.generation + 1
    with pytest.raises(BadParameterError, match="since is 'now'"):
        bars.wait_for_change("now", 0)  # type: ignore[arg-type]


def test_rows_that_go_are_changes(bars: LiveTable, followed: Followed) -> None:
    before = bars.mark
    followed.writer.delete("bars/1", {"id": [2]})
    followed.step("bars/1")
    assert bars.changed_since(before).partitions == [{"id": 2}]

    before = bars.mark
    followed.writer.truncate("bars/1")
    followed.step("bars/1")
    assert bars.changed_since(before).partitions == [{"id": 1}]


def test_another_version_is_a_change_of_all(bars: LiveTable, followed: Followed) -> None:
    followed.make("bars/2")
    followed.step("bars/2", (5, 10, 1.0))
    before = bars.mark
    followed.live("bars", "bars/2")

    assert bars.wait_for_change(before, 0) != before
    change = bars.changed_since(before)
    assert (change.partitions, change.whole) == ([{"id": 5}], True)


def test_a_subscription_gives_what_changed_and_takes_bursts_together(
    bars: LiveTable, followed: Followed
) -> None:
    with bars.subscribe() as changes:
        assert changes.next(0) is None
        followed.step("bars/1", (1, 30, 3.5))
        followed.step("bars/1", (2, 30, 3.5))
        found = next(changes)
        assert found.partitions == [{"id": 1}, {"id": 2}]
        assert changes.next(0) is None
    assert list(changes) == []


def test_a_subscription_goes_on_from_a_mark(bars: LiveTable, followed: Followed) -> None:
    mark = bars.mark
    followed.step("bars/1", (1, 30, 3.5))

    with bars.subscribe(since=mark) as changes:
        assert next(changes).partitions == [{"id": 1}]
    with bars.subscribe(since=Mark(0, 0)) as changes:
        assert next(changes).whole


def test_rows_that_only_the_word_knows_of_are_no_change(
    bars: LiveTable, followed: Followed
) -> None:
    """A writer died after it told of a step that another one then published without them."""
    with bars.subscribe() as changes:
        followed.writer._states["bars/1"].directory.tell_changed(followed.writer.generation + 1)
        followed.step("bars/1")
        assert changes.next(0) is None
        followed.step("bars/1", (1, 30, 3.5))
        assert next(changes).partitions == [{"id": 1}]


def test_a_subscription_ends_with_its_table(bars: LiveTable, followed: Followed) -> None:
    changes = bars.subscribe()
    followed.state.drop_table("bars")

    assert list(changes) == []
    assert changes.is_closed


def test_a_callback_has_a_thread_until_it_is_closed(bars: LiveTable, followed: Followed) -> None:
    called = threading.Event()
    found: list[Any] = []

    def callback(change: Any) -> None:
        found.append(change)
        called.set()

    changes = bars.subscribe(callback)
    followed.step("bars/1", (2, 30, 3.5))
    assert called.wait(10)
    changes.close()

    assert found[0].partitions == [{"id": 2}]
    assert not [one for one in threading.enumerate() if one.name == "ngb live bars"]


def test_what_a_callback_raises_ends_it_and_is_told(
    bars: LiveTable, followed: Followed, capsys: pytest.CaptureFixture[str]
) -> None:
    def callback(change: Any) -> None:
        raise ValueError(change.partitions)

    changes = bars.subscribe(callback)
    followed.step("bars/1", (2, 30, 3.5))
    assert changes._thread is not None
    changes._thread.join(10)

    assert changes.is_closed
    assert isinstance(changes.error, ValueError)
    assert "live_callback_failed" in capsys.readouterr().out
    with pytest.raises(ValueError, match="id"):
        changes.close()
    changes.close()  # told once


def test_run_calls_in_the_callers_own_thread(bars: LiveTable, followed: Followed) -> None:
    seen = []

    def callback(change: Any) -> None:
        seen.append(threading.current_thread())
        if len(seen) == 2:
            changes.close()
        else:
            followed.step("bars/1", (2, 40, 3.5))

    changes = bars.subscribe()
    followed.step("bars/1", (2, 30, 3.5))
    changes.run(callback)

    assert seen == [threading.current_thread()] * 2
