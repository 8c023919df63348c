"""The state file: what its writer says is what readers see, whoever it was, however he ended."""

from __future__ import annotations

import itertools
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.errors import BadParameterError, ClosedError, ProtocolError, SeriesBusyError
from neural_gpu_bus.live.shared import LiveState, LiveView, TableState
from neural_gpu_bus.live.shared import words as layout
from neural_gpu_bus.live.shared.manifest import Manifest, read_manifest, write_manifest
from neural_gpu_bus.memory.series.clock import view


class Clock:
    """Moments of the host, moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def memory_with_live(memory_folder: Path) -> Path:
    (memory_folder / "live").mkdir()
    return memory_folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(memory_with_live: Path, clock: Clock) -> Iterator[LiveState]:
    with LiveState(memory_with_live, clock_ns=clock, wall_clock_ns=lambda: 77) as opened:
        yield opened


@pytest.fixture
def readers(memory_with_live: Path, clock: Clock) -> LiveView:
    return LiveView(memory_with_live, clock_ns=clock)


def test_a_reader_that_comes_first_sees_nothing(memory_with_live: Path, clock: Clock) -> None:
    found = LiveView(memory_with_live, clock_ns=clock)

    assert found.tables() == {}
    assert found.epoch == 0
    assert found.progress().pid == 0
    with LiveState(memory_with_live) as state:
        state.set_table(TableState("bars", "bars/1", "live"))
        assert found.tables()["bars"].state == "live"
        assert found.progress().pid == os.getpid()


def test_what_is_told_of_a_table_is_seen(state: LiveState, readers: LiveView) -> None:
    error = ErrorRecord("QueryError", "there is no bars", "make it")
    state.set_table(TableState("bars", state="waiting", detail="transaction 7 of pid 4"))
    state.set_table(TableState("trades", state="failed", error=error))

    bars, trades = readers.tables().values()

    assert (bars.state, bars.detail, bars.series, bars.since_ns) == (
        "waiting",
        "transaction 7 of pid 4",
        "",
        77,
    )
    assert trades.error == error
    assert (bars.place, trades.place) == (0, 1)


def test_telling_the_same_again_changes_no_epoch(state: LiveState, readers: LiveView) -> None:
    state.set_table(TableState("bars", state="copying"))
    epoch = readers.epoch

    state.set_table(TableState("bars", state="copying"))
    state.count("bars", rows_copied=10, rows_expected=100, bytes_copied=1000)

    assert readers.epoch == epoch
    assert readers.table("bars") == state.tables["bars"]
    found = readers.counted("bars")
    assert found is not None
    assert (found.rows_copied, found.rows_expected, found.bytes_copied) == (10, 100, 1000)


def test_readers_keep_the_version_that_was_whole(state: LiveState, readers: LiveView) -> None:
    """A copy that runs is nothing to be read, whatever is told of it."""
    state.set_table(TableState("bars", "bars/1", "copying"))
    assert readers.tables()["bars"].series == ""

    state.set_table(TableState("bars", "bars/1", "live"))
    assert readers.tables()["bars"].series == "bars/1"
    state.applied(0x50, committed_ns=5)
    state.confirmed(900)
    state.set_table(TableState("bars", "bars/2", "copying anew", detail="a column was added"))
    found = readers.tables()["bars"]
    assert (found.series, found.lsn, found.committed_ns, found.confirmed_ns) == (
        "bars/1",
        0x50,
        5,
        900,
    )

    state.applied(0x60, committed_ns=6)
    state.set_table(TableState("bars", "bars/2", "catching up"))
    assert readers.tables()["bars"].lsn == 0x50
    version = readers.tables()["bars"].version
    state.set_table(TableState("bars", "bars/2", "live"))
    found = readers.tables()["bars"]
    assert (found.series, found.lsn) == ("bars/2", 0)
    assert found.version > version


def test_what_is_live_is_as_of_the_stream(
    state: LiveState, readers: LiveView, clock: Clock
) -> None:
    state.set_table(TableState("bars", "bars/1", "live"))
    state.beat(0x77)
    state.applied(0x60, committed_ns=6)
    state.confirmed(clock.now_ns)
    clock.pass_s(0.5)

    found = readers.as_of(readers.tables()["bars"])

    assert (found.lsn, found.committed_ns, found.lag_s, found.heartbeat_s) == (0x60, 6, 0.5, 0.5)
    assert found.stale == ""
    assert not found.is_stale


def test_what_is_copied_anew_is_as_of_where_it_stopped(
    state: LiveState, readers: LiveView, clock: Clock
) -> None:
    state.set_table(TableState("bars", "bars/1", "live"))
    state.applied(0x60, committed_ns=6)
    state.confirmed(clock.now_ns)
    clock.pass_s(1)
    state.set_table(TableState("bars", "bars/2", "copying anew", detail="it was altered"))
    state.applied(0x90, committed_ns=9)
    state.confirmed(clock.now_ns)
    state.beat()

    found = readers.as_of(readers.tables()["bars"])

    assert (found.lsn, found.committed_ns, found.lag_s) == (0x60, 6, 1.0)
    assert found.stale == "it is copying anew: it was altered"


def test_a_writer_that_is_not_heard_of_is_told(
    state: LiveState, readers: LiveView, clock: Clock
) -> None:
    state.set_table(TableState("bars", "bars/1", "live"))
    table = readers.tables()["bars"]
    assert math.isinf(readers.as_of(table).lag_s)
    assert "has not been heard of" in readers.as_of(table).stale
    state.beat()
    assert readers.as_of(table).stale == (
        "PostgreSQL has not confirmed yet that nothing is missing"
    )
    state.confirmed(clock.now_ns)
    assert readers.as_of(table).stale == ""

    clock.pass_s(6)
    silent = f"process {os.getpid()}, which follows PostgreSQL, has not been heard of for 6.0 s"
    assert readers.as_of(table).stale == silent
    state.beat()
    assert readers.as_of(table).stale == (
        "PostgreSQL has not confirmed for 6.0 s that nothing is missing"
    )


def test_a_clock_that_is_another_or_set_back_makes_nothing_look_fresh(
    state: LiveState, readers: LiveView, clock: Clock
) -> None:
    state.set_table(TableState("bars", "bars/1", "live"))
    state.beat()
    state.confirmed(clock.now_ns)
    clock.pass_s(-10)
    assert math.isinf(readers.as_of(readers.tables()["bars"]).lag_s)
    clock.pass_s(10)
    assert readers.as_of(readers.tables()["bars"]).lag_s == 0

    state._store(layout.CLOCK, 1)

    found = readers.as_of(readers.tables()["bars"])
    assert math.isinf(found.lag_s)
    assert "has another clock" in found.stale


def test_there_is_one_writer(state: LiveState, memory_with_live: Path) -> None:
    with pytest.raises(SeriesBusyError, match=f"written by process {os.getpid()}"):
        LiveState(memory_with_live)


def test_the_next_writer_begins_where_nothing_is_fresh(
    state: LiveState, readers: LiveView, memory_with_live: Path, clock: Clock
) -> None:
    state.set_table(TableState("bars", "bars/1", "live"))
    state.set_table(TableState("trades", state="copying"))
    state.applied(0x60, committed_ns=6)
    state.confirmed(500)
    state.beat(0x70)
    state.close()
    assert readers.progress().pid == 0

    with LiveState(memory_with_live, clock_ns=clock) as following:
        bars, trades = readers.tables().values()
        assert (bars.state, bars.series, bars.lsn, bars.confirmed_ns) == (
            "stale",
            "bars/1",
            0x60,
            500,
        )
        assert trades.state == "starting"
        assert readers.progress().applied_lsn == 0
        assert readers.progress().confirmed_ns == 0
        following.set_table(TableState("bars", "bars/1", "live"))
        assert readers.tables()["bars"].lsn == 0


def test_a_writer_killed_before_it_said_what_it_published_is_taken_at_the_group_s_word(
    state: LiveState, readers: LiveView, memory_with_live: Path
) -> None:
    state.set_table(TableState("bars", "bars/1", "live"))
    state.applied(0x60, committed_ns=6)
    state.close()

    with LiveState(memory_with_live, published=(0x68, 7)):
        bars = readers.tables()["bars"]
        assert (bars.state, bars.lsn, bars.committed_ns) == ("stale", 0x68, 7)
        assert readers.progress().applied_lsn == 0


def test_a_closed_state_says_nothing(state: LiveState) -> None:
    state.close()
    state.close()

    with pytest.raises(ClosedError, match="this state is closed"):
        state.set_table(TableState("bars"))


def test_places_of_dropped_tables_are_given_anew_with_counters_of_0(
    state: LiveState, readers: LiveView
) -> None:
    state.set_tables([TableState("a"), TableState("b")])
    state.count("a", changes=3, transactions=1, stream_bytes=100)
    state.count("a", changes=4)
    first = readers.counted("a")
    assert first is not None
    assert (first.changes, first.transactions, first.stream_bytes) == (7, 1, 100)

    state.drop_table("a")
    state.drop_table("a")
    state.count("a", changes=1)
    state.set_table(TableState("c"))

    assert {name: table.place for name, table in readers.tables().items()} == {"b": 1, "c": 0}
    assert readers.tables()["c"].changes == 0


def test_more_tables_than_there_is_room_for_are_refused(
    state: LiveState, readers: LiveView
) -> None:
    whole = [TableState(f"t{number}", state="waiting") for number in range(layout.TABLES_MAX)]
    state.set_tables(whole)
    with pytest.raises(BadParameterError, match="513 tables cannot be live at once"):
        state.set_table(TableState("one more"))

    assert len(readers.tables()) == layout.TABLES_MAX
    assert len(state.tables) == layout.TABLES_MAX


def test_long_details_are_cut_so_that_all_fit(state: LiveState, readers: LiveView) -> None:
    error = ErrorRecord("QueryError", "w" * 5000, "h" * 5000, {"file": "x" * 9000})
    state.set_table(TableState("alone", detail="d" * 5000, error=error))
    found = readers.tables()["alone"]
    assert found.error is not None
    assert (len(found.detail), len(found.error.what), found.error.facts) == (400, 800, {})
    assert found.error.hint == "h" * 5000

    many = [TableState(f"t{n}", detail="d" * 5000, error=error) for n in range(300)]
    state.set_tables(many)

    assert len(readers.tables()["t7"].detail) == 60


def _bytes(folder: Path) -> Any:
    return layout.map_state(layout.make_state_file(folder), writable=True)


def test_a_writer_killed_within_a_manifest_leaves_the_one_before(memory_with_live: Path) -> None:
    """Whatever of the next one is written, in whatever state: the epoch says which counts."""
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    array = _bytes(memory_with_live)
    words = view(array).cast("q")
    one = Manifest(1, (TableState("bars", "bars/1", "live"),))
    write_manifest(array, one)
    words[layout.EPOCH] = 1
    for _ in range(50):
        place = layout.manifest_place(2)
        start = place.start + chance.randrange(layout.MANIFEST_BYTES - 64)
        array[start : start + 64] = chance.randrange(256)

        assert read_manifest(array, words) == one

    two = Manifest(2, (TableState("bars", "bars/2", "live"),))
    write_manifest(array, two)
    assert read_manifest(array, words) == one
    words[layout.EPOCH] = 2
    assert read_manifest(array, words) == two


def test_a_reader_overtaken_while_it_reads_takes_the_newest(memory_with_live: Path) -> None:
    array = _bytes(memory_with_live)
    made = [Manifest(epoch, (TableState(f"t{epoch}"),)) for epoch in range(1, 9)]
    steps = itertools.chain([1, 5, 5], itertools.repeat(8))

    class Words:
        """Epoch 1 is told; then the writer is seen to have gone on, twice."""

        def __getitem__(self, word: int) -> int:
            epoch = next(steps)
            for manifest in made[:epoch]:
                write_manifest(array, manifest)
            if epoch == 1:  # and while this one is read, both places are written over
                write_manifest(array, made[1])
                write_manifest(array, made[2])
            return epoch

    found: Any = read_manifest(array, Words())  # type: ignore[arg-type]

    assert found in made[4:]


def test_a_manifest_that_nobody_can_read_is_told(memory_with_live: Path) -> None:
    array = _bytes(memory_with_live)
    readers = LiveView(memory_with_live)
    view(array).cast("q")[layout.EPOCH] = 3

    with pytest.raises(ProtocolError, match="in a way this version cannot read"):
        readers.tables()
    with LiveState(memory_with_live) as state:  # the next writer says anew what there is
        assert readers.tables() == {}
        state.set_table(TableState("bars"))
        assert list(readers.tables()) == ["bars"]


def test_a_file_of_another_layout_is_replaced_and_its_readers_are_told(
    memory_with_live: Path,
) -> None:
    readers = LiveView(memory_with_live)
    array = _bytes(memory_with_live)
    array[7] = ord("0")
    with pytest.raises(ProtocolError, match="no state of live tables that this version knows"):
        LiveView(memory_with_live)
    epoch = readers.epoch

    with LiveState(memory_with_live) as state:
        state.set_table(TableState("bars"))
        assert readers.epoch == epoch + 1
        assert readers.look_again()
        assert list(readers.tables()) == ["bars"]
        assert not readers.look_again()


def test_a_file_that_is_too_short_is_told(memory_with_live: Path) -> None:
    (memory_with_live / "live" / "state").write_bytes(b"ngblive1")

    with pytest.raises(ProtocolError, match="8 bytes where"):
        LiveView(memory_with_live)


def test_nothing_that_is_told_needs_more_room(
    state: LiveState, memory_with_live: Path, readers: LiveView
) -> None:
    """A full memory must not keep anybody from telling that a table is stale."""
    path = layout.state_path(memory_with_live)
    before = path.stat()
    assert before.st_blocks * 512 >= layout.STATE_BYTES == before.st_size

    state.set_tables(TableState(f"t{n}", state="waiting", detail="d" * 400) for n in range(200))
    state.set_tables(TableState(f"t{n}", f"t{n}/1", "live") for n in range(200))
    state.begin_anew("the stream is lost")

    after = path.stat()
    assert (after.st_ino, after.st_blocks) == (before.st_ino, before.st_blocks)
    assert {table.state for table in readers.tables().values()} == {"stale"}


def test_a_state_told_is_a_plain_record(state: LiveState, readers: LiveView) -> None:
    told = state.set_table(TableState("bars", "bars/1", "live"))

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=TableState) == told
