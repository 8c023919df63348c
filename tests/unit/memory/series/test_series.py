"""One process that writes and reads: types, stamps, errors, what views share."""

import gc
import os
import pickle
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ClosedError,
    DatasetEvictedError,
    DatasetNotFoundError,
    ProtocolError,
    SeriesBusyError,
    UnsupportedTypeError,
)
from neural_gpu_bus.memory.series import (
    SeriesGroup,
    directory,
    kernels,
    key_columns,
    series_bytes,
)
from neural_gpu_bus.memory.series import group as group_module
from neural_gpu_bus.memory.series import series as series_module
from neural_gpu_bus.memory.series.arenas import GONE_MAX, ArenaMaps
from neural_gpu_bus.memory.series.batches import partition_codes
from neural_gpu_bus.memory.series.budget import map_file
from neural_gpu_bus.memory.series.records import FILE_HEAD_BYTES
from neural_gpu_bus.memory.series.source import ChunkSource

SCHEMA = pa.schema([("k", pa.string()), ("ts", pa.timestamp("us", tz="UTC")), ("x", pa.float64())])


@pytest.fixture
def group(memory_folder: Path) -> SeriesGroup:
    return SeriesGroup.create(memory_folder, "g", clock_ns=lambda: 77)


def _one(key: str, moments: list[int], values: list[Any]) -> dict[str, Any]:
    ts = pa.array(moments, pa.timestamp("us", tz="UTC"))
    return {"k": [key] * len(moments), "ts": ts, "x": pa.array(values, pa.float64())}


def test_the_last_rows_are_the_arena_s_own_bytes(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer(clock_ns=lambda: 99) as opened:
        opened.append("s", _one("a", [1, 2, 3], [1.0, 2.0, 3.0]))
        assert opened.publish("0/1A2B", 55) == 1
        first = series.last(3, k="a")
        opened.append("s", _one("a", [4], [4.0]))
        opened.publish()
    second = series.last(4, k="a")

    assert first["x"].tolist() == [1.0, 2.0, 3.0]
    assert second["x"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert first["x"].__array_interface__["data"] == second["x"].__array_interface__["data"]
    assert not second["x"].flags.writeable
    assert (first.as_of.lsn, first.as_of.committed_ns) == ("0/1A2B", 55)
    assert (first.as_of.generation, first.as_of.published_ns) == (1, 99)
    assert (second.as_of.lsn, second.as_of.committed_ns) == ("", None)
    assert "'s' k='a'" in repr(first)
    assert first.arrow()["x"].chunk(0).buffers()[1].address == second["x"].ctypes.data
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        first["x"].flags.writeable = True


def test_every_type_there_and_back(group: SeriesGroup) -> None:
    from decimal import Decimal

    columns = {
        "k": pa.array([date(2024, 2, 29)] * 3, pa.date32()),
        "bits": pa.array([True, None, False]),
        "f2": pa.array(np.array([1, 2, 3], "f2")),
        "f4": pa.array([1.5, None, 2.5], pa.float32()),
        "i8": pa.array([None, 1, -1], pa.int8()),
        "u8": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "day": pa.array([date(1969, 12, 31), None, date(2024, 1, 1)]),
        "exact": pa.array([Decimal("1.25"), None, Decimal("-3.50")], pa.decimal128(20, 2)),
        "id": pa.array([b"abc", None, b"xyz"], pa.binary(3)),
        "raw": pa.array([b"", None, b"\0\xff"], pa.large_binary()),
        "text": pa.array(["ü", None, ""], pa.large_string()),
        "none": pa.array([None] * 3, pa.int64()),
    }
    table = pa.table(columns)
    group.series("s", table.schema, ["k"])
    with group.writer() as opened:
        for _ in range(40):
            opened.append("s", table)
        opened.publish()
    found = group.series("s").frame(k=date(2024, 2, 29))

    assert found.arrow().equals(pa.concat_tables([table] * 40).combine_chunks())
    assert group.series("s").last(0, k=date(2024, 2, 29)).rows == 0


def test_rows_between_two_moments(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts", chunk_rows_max=8, overlap_rows=2)
    moments = [0, 1, 1, 1, 5, 5, 6, 7, 7, 7, 7, 8, 9, 20]
    with group.writer() as opened:
        opened.append("s", _one("a", moments, [float(at) for at in range(len(moments))]))
        opened.publish()
    for low in range(-1, 22):
        for high in range(low, 22):
            found = series.between(low, high, k="a")
            assert found["x"].tolist() == [
                at for at, moment in enumerate(moments) if low <= moment < high
            ]
    start = datetime(1970, 1, 1, 0, 0, 0, 5, tzinfo=UTC)

    assert series.between(start, np.datetime64(7, "us"), k="a").rows == 3
    with pytest.raises(BadParameterError, match="'soon' is no value of column 'ts'"):
        series.between("soon", 3, k="a")
    for nothing in (None, np.datetime64("NaT")):
        with pytest.raises(BadParameterError, match="is no value of column 'ts'"):
            series.between(0, nothing, k="a")
    for text in ("1970-01-01T00:00:00.000005Z", "1970-01-01 02:00:00.000005+02:00"):
        assert series.between(text, np.datetime64(7, "us"), k="a").rows == 3


def test_a_series_without_key_is_one_partition(group: SeriesGroup) -> None:
    series = group.series("s", pa.schema([("x", pa.int64())]))
    with group.writer() as opened:
        opened.append("s", {"x": [1, 2]})
        opened.publish()

        assert series.rows() == 2
        assert series.arrow()["x"].to_pylist() == [1, 2]
        assert series.last(1)["x"].tolist() == [2]
        assert series.partitions() == [{}]


def test_nothing_of_a_call_that_is_refused_is_added(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as opened:
        with pytest.raises(BadValueError, match="'k' has 1 NULLs"):
            opened.append("s", {**_one("a", [1, 2], [1, 2]), "k": ["a", None]})
        with pytest.raises(BadValueError, match="'ts' has 1 NULLs"):
            opened.append("s", _one("a", [1, None], [1, 2]))  # type: ignore[list-item]
        with pytest.raises(BadParameterError, match=r"where .* are wanted"):
            opened.append("s", {"k": ["a"], "x": [1.0]})
        with pytest.raises((BadValueError, UnsupportedTypeError), match="'x'"):
            opened.append("s", {**_one("a", [1], [1]), "x": ["no number"]})
        with pytest.raises(DatasetNotFoundError, match="no series 'other'"):
            opened.append("other", {})
        with pytest.raises(BadParameterError, match=r"'x' .*cannot be set|is not among"):
            opened.update("s", {"k": ["a"], "x": [1.0]})
        with pytest.raises(BadParameterError, match="'ts' cannot be set"):
            opened.update("s", _one("a", [1], [1]), on=["x"])
        with pytest.raises(BadParameterError, match="is no WAL position"):
            opened.publish("now")
        with pytest.raises(BadParameterError, match="partitions run from 3 to 3 of"):
            opened.append_to("s", np.array([3]), {"ts": [1], "x": [1.0]})
        opened.publish()
    assert series.rows() == 0
    with pytest.raises(ClosedError, match="writer is closed"):
        opened.publish()


@pytest.mark.parametrize("step", ["write_slots", "settle"])
def test_an_interrupted_publication_is_published_whole_or_forgotten(
    group: SeriesGroup, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from neural_gpu_bus.memory.series import extents, states

    def interrupted(*arguments: Any, **named: Any) -> None:
        if step == "write_slots":
            kernels.write_slots(*arguments)
        raise KeyboardInterrupt

    series = group.series("s", SCHEMA, ["k"], "ts")
    group.series("t", SCHEMA, ["k"], "ts")
    with group.writer() as opened:
        opened.append("s", _one("a", [1], [1.0]))
        opened.publish()
        opened.append("s", _one("a", [2], [2.0]))
        opened.append("t", _one("a", [2], [2.0]))  # one series alone is published in one call
        with monkeypatch.context() as patched:
            where = states if step == "write_slots" else extents.Extents
            patched.setattr(where, step, interrupted)
            with pytest.raises(KeyboardInterrupt, match=r"^$"):
                opened.publish()
        opened.discard()
        opened.append("s", _one("b", [3], [3.0]))
        opened.publish()
        expected = [1.0] if step == "write_slots" else [1.0, 2.0]

        assert series.last(9, k="a")["x"].tolist() == expected
        opened.append("s", _one("a", [4], [4.0]))
        opened.publish()
        assert series.last(9, k="a")["x"].tolist() == [*expected, 4.0]


def test_every_range_that_can_be_deleted(group: SeriesGroup) -> None:
    """Chunks that go, that shrink, and heads that repeat what went: one partition a range."""
    rows = 17
    schema = pa.schema([("low", pa.int8()), ("high", pa.int8()), ("ts", pa.int64())])
    series = group.series("s", schema, ["low", "high"], "ts", chunk_rows_max=6, overlap_rows=3)
    ranges = [(low, high) for low in range(rows) for high in range(low + 1, rows + 1)]
    with group.writer() as opened:
        for moment in range(rows):
            lows, highs = zip(*ranges, strict=True)
            opened.append("s", {"low": lows, "high": highs, "ts": [moment] * len(ranges)})
        gone = [(low, high, at) for low, high in ranges for at in range(low, high)]
        lows, highs, moments = zip(*gone, strict=True)
        assert opened.delete("s", {"low": lows, "high": highs, "ts": moments}) == len(gone)
        opened.publish()
    for low, high in ranges:
        left = [at for at in range(rows) if not low <= at < high]
        for count in range(4):
            last = series.last(count, low=low, high=high)
            assert last["ts"].tolist() == left[len(left) - min(count, len(left)) :]
            assert isinstance(last.source, ChunkSource)
        assert series.frame(low=low, high=high)["ts"].tolist() == left


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_reader_that_two_steps_overtake_looks_again(
    group: SeriesGroup, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Steps go by at the fence, which stands between a look at the clock and what it tells of."""
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as opened:

        def publish_twice() -> None:
            for _ in range(2):
                moment = opened.generation
                opened.append("s", _one("a", [moment], [float(moment)]))
                opened.append("s", _one("b", [moment], [float(moment)]))
                opened.publish(moment + 1)

        publish_twice()
        calls = []

        def fence() -> None:
            calls.append(1)
            if len(calls) == call:
                publish_twice()

        monkeypatch.setattr(series, "_fence", fence)
        frame = series.last(1, k="a")
        assert frame["x"].tolist() == [frame.as_of.generation - 1]
        assert frame.as_of.lsn == f"0/{frame.as_of.generation:X}"
        calls.clear()
        monkeypatch.setattr(series_module, "reader_fence", lambda: fence)
        snapshot = series.snapshot()
        for key in ("a", "b"):
            assert snapshot.frame(k=key)["x"].tolist() == list(range(snapshot.generation))
        assert snapshot.as_of.lsn == f"0/{snapshot.generation:X}"
        assert len(calls) >= call or call > 3


def test_the_same_series_again_and_another_of_its_name(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts")

    assert group.series("s", SCHEMA, ["k"], "ts") is series
    with pytest.raises(BadParameterError, match="'s' is there with key"):
        group.series("s", SCHEMA, ["k"])
    with pytest.raises(BadParameterError, match="cannot overlap"):
        group.series("t", SCHEMA, ["k"], chunk_rows_max=10, overlap_rows=6)
    with pytest.raises(DatasetNotFoundError, match="no partition k='x'"):
        series.last(1, k="x")
    with pytest.raises(BadParameterError, match="is not that of series"):
        series.last(1, name="x")
    for rows in (-1, 1.5, "3", True):
        with pytest.raises(BadParameterError, match=r"rows is .*: expected a whole number"):
            series.last(rows, k="x")  # type: ignore[arg-type]
    with pytest.raises(BadParameterError, match=r"key is 'ts': .*\nhint: e\.g\. key=\['ts'\]"):
        group.series("t", SCHEMA, "ts")
    with pytest.raises(DatasetNotFoundError, match="no group of series 'none'"):
        SeriesGroup.open(group.folder.parent, "none")


def test_what_a_writer_is_given_is_checked_first(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts")
    row = {"ts": pa.array([1], pa.timestamp("us", tz="UTC")), "x": [1.0]}
    with group.writer() as opened:
        number = opened.partition_ids("s", {"k": ["a"]}).tolist()
        assert opened.append_to("s", number, row) == 1
        with pytest.raises(BadParameterError, match=r"partitions are float64 of shape \(1,\)"):
            opened.append_to("s", [0.0], row)  # type: ignore[arg-type]
        for lsn in (2.5, True, b"0/1", "1/"):
            with pytest.raises(BadParameterError, match="is no WAL position"):
                opened.publish(lsn)  # type: ignore[arg-type]
        for committed in ("x", 2.5, -1):
            with pytest.raises(BadParameterError, match="committed_ns is"):
                opened.publish(1, committed)  # type: ignore[arg-type]
        assert opened.publish(np.int64(1)) == 1  # type: ignore[arg-type]
    with pytest.raises(BadParameterError, match=r"schema is a dict.*\n.*pyarrow\.schema"):
        group.series("t", {"k": pa.string()}, ["k"])  # type: ignore[arg-type]

    assert series.last(1, k="a").as_of.lsn == "0/1"
    assert repr(series) == "Series('s', key=['k'], order_by='ts', generation=1)"
    assert repr(series.snapshot()).startswith("SeriesSnapshot('s', key=['k'], ")


def test_a_pickled_series_reads_on(group: SeriesGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pickle.dumps(group.series("s", SCHEMA, ["k"], "ts"))
    with group.writer() as opened:
        opened.append("s", _one("a", [1], [1.0]))
        opened.publish()
    found = pickle.loads(packed)

    assert found.last(1, k="a")["x"].tolist() == [1.0]
    with pytest.raises(BadParameterError, match="snapshot of series 's' cannot be pickled"):
        pickle.dumps(found.snapshot())
    group.drop()
    with pytest.raises(DatasetEvictedError, match="'s' was dropped"):
        pickle.loads(packed)
    monkeypatch.setattr(series_module, "host_identity", lambda: "another")
    with pytest.raises(DatasetEvictedError, match="lies on another host"):
        pickle.loads(packed)


def test_clocks_of_groups_that_are_gone_are_let_go(memory_folder: Path) -> None:
    for number in range(3):
        made = SeriesGroup.create(memory_folder, f"g{number}")
        made.series("s", SCHEMA, ["k"])
        made.writer().close()
        assert series_bytes(memory_folder) > 0
        made.drop()
    assert series_bytes(memory_folder) == 0
    assert group_module._known[memory_folder][1] == {}


def test_a_key_s_columns_may_have_the_names_of_arguments(group: SeriesGroup) -> None:
    names = ["rows", "start", "stop", "self", "key"]
    series = group.series(
        "s", pa.schema([(name, pa.int64()) for name in [*names, "at"]]), names, order_by="at"
    )
    key: dict[str, Any] = {name: place for place, name in enumerate(names)}
    with group.writer() as opened:
        opened.append("s", {name: [value] * 3 for name, value in key.items()} | {"at": [1, 2, 3]})
        opened.publish()

    assert series.rows(**key) == 3
    assert series.last(np.int64(2), **key)["at"].tolist() == [2, 3]  # type: ignore[arg-type]
    assert series.between(1, 3, **key)["at"].tolist() == [1, 2]
    assert series.frame(**key).rows == series.arrow(**key).num_rows == 3


def test_a_foreign_file_is_refused(group: SeriesGroup) -> None:
    (group.folder / "clock").write_bytes(b"x" * 4096)
    with pytest.raises(ProtocolError, match="is no clock"):
        SeriesGroup.open(group.folder.parent, "g")
    (group.folder / "meta").write_bytes(b"x")
    with pytest.raises(ProtocolError, match="describes no series"):
        SeriesGroup(group.folder, None, map_file)


def test_waiting_ends_with_a_change_or_in_time(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"])
    assert series.wait_for_change(0, 0.001) == 0
    with group.writer() as opened:
        opened.publish()

    assert series.wait_for_change(0, 10) == 1


def test_a_dropped_group_is_gone_and_its_frames_are_not(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"])
    with group.writer() as opened:
        opened.append("s", _one("a", [1], [1.0]))
        opened.publish()
    frame, snapshot = series.last(1, k="a"), series.snapshot()
    group.drop()

    assert frame["x"].tolist() == snapshot.last(1, k="a")["x"].tolist() == [1.0]
    assert list(group.folder.parent.iterdir()) == []
    with pytest.raises(DatasetEvictedError, match="group 'g' of series was dropped"):
        group.drop()


LOOKS: list[Callable[[Any], Any]] = [
    lambda series: series.last(1, k="a"),
    lambda series: series.last(1, k="never"),
    lambda series: series.between(0, 9, k="a"),
    lambda series: series.rows(),
    lambda series: series.rows(k="a"),
    lambda series: series.frame(k="a"),
    lambda series: series.arrow(),
    lambda series: series.partitions(),
    lambda series: series.snapshot(),
    lambda series: series.as_of,
    lambda series: series.wait_for_change(series.generation, 10),
]


@pytest.mark.parametrize("is_removed", [True, False], ids=["whole", "half"])
def test_who_holds_a_series_of_a_dropped_group_is_told(
    group: SeriesGroup, memory_folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_removed: bool
) -> None:
    """Also where whoever dropped it died before the folder was away."""
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as opened:
        opened.append("s", _one("a", [1], [1.0]))
        opened.publish()
    series.last(1, k="a")
    if not is_removed:
        monkeypatch.setattr(Path, "rename", lambda *_: None)
    SeriesGroup.open(memory_folder, "g").drop()
    monkeypatch.undo()
    for look in LOOKS:
        with pytest.raises(DatasetEvictedError, match=r"'s' was dropped.*\n.*plane\.series\("):
            look(series)
    with pytest.raises(DatasetNotFoundError, match="no group of series 'g'"):
        SeriesGroup.open(memory_folder, "g")
    anew = SeriesGroup.create(memory_folder, "g")

    assert anew.series("s", SCHEMA, ["k"], "ts").rows() == 0
    assert list(memory_folder.iterdir()) == [anew.folder]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_writer_killed_before_it_counts_a_key_leaves_no_key(
    group: SeriesGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one's rows are found under their own key, by those who open it then as well."""
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as opened:
        opened.append("s", _one("a", [1], [1.0]))
        opened.publish()
    store = kernels.store_in_order

    def die(words: Any, place: int, value: int) -> None:
        if place == directory.COUNT and value == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        store(words, place, value)

    if (pid := os.fork()) == 0:
        monkeypatch.setattr(kernels, "store_in_order", die)
        group.writer().append("s", _one("never counted", [1], [1.0]))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    with group.writer() as opened:
        opened.append("s", _one("b", [10, 11], [10.0, 11.0]))
        opened.publish()

    for seen in (series, SeriesGroup.open(group.folder.parent, "g").series("s")):
        assert seen.last(9, k="b")["x"].tolist() == [10.0, 11.0]
        assert seen.partitions() == [{"k": "a"}, {"k": "b"}]
    with group.writer() as opened:
        assert opened.partition_ids("s", {"k": ["b", "a"]}).tolist() == [1, 0]


def test_keys_of_many_columns_with_many_values_each(group: SeriesGroup) -> None:
    """10,000 values in each of 5 columns make 10**20 products, of which 10,000 are there."""
    names, rows = [f"k{number}" for number in range(5)], 10_000
    chance = np.random.default_rng(1)
    keys = {name: pa.array(chance.permutation(rows)) for name in names}
    found, codes = partition_codes(list(keys.values()), rows)

    given = list(zip(*(column.to_pylist() for column in keys.values()), strict=True))
    assert [found[code] for code in codes] == given
    assert len(found) == rows


def test_booleans_of_a_view_stay_as_they_are_to_the_last_bit(group: SeriesGroup) -> None:
    series = group.series("s", pa.schema([("f", pa.bool_()), ("n", pa.bool_())]))
    for rows in range(1, 20):
        with group.writer() as opened:
            opened.append("s", {"f": [True], "n": pa.array([None], pa.bool_())})
            opened.publish()
            frame = series.last(rows)
            views = [frame.values(name) for name in ("f", "n")]
            before = [view.tobytes() for view in views]
            opened.append("s", {"f": [True] * 9, "n": [True] * 9})
            opened.discard()

        assert [view.tobytes() for view in views] == before
        assert before[0] == np.packbits(np.ones(rows, bool), bitorder="little").tobytes()
        assert before[1] == bytes(-(-rows // 8))
        assert not any(view.flags.writeable for view in views)
        assert frame.valid("n").tolist() == [False] * rows  # type: ignore[union-attr]


def test_a_thread_that_looks_while_another_maps_a_longer_directory(
    group: SeriesGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = group.series("s", SCHEMA, ["k"])
    with group.writer() as opened:
        opened.append("s", _one("0", [1], [0.0]))
        opened.publish()
        assert series.rows(k="0") == 1
        for number in range(1, 200):
            opened.append("s", _one(str(number), [1], [number]))
        opened.publish()
    view, looks = directory.view, []

    def meanwhile(array: Any) -> memoryview:
        monkeypatch.setattr(directory, "view", view)
        looks.append(series.last(1, k="150")["x"].tolist())
        looks.append(series.arrow()["x"].to_pylist())
        return view(array)

    monkeypatch.setattr(directory, "view", meanwhile)
    assert series.last(1, k="199")["x"].tolist() == [199.0]
    assert looks == [[150.0], list(range(200))]


def test_zeros_are_as_many_as_asked_for_whatever_another_thread_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Replaced(list[Any]):
        """Another thread keeps shorter ones right after these were kept."""

        def __setitem__(self, place: Any, value: Any) -> None:
            super().__setitem__(place, [np.zeros(1)] if isinstance(place, slice) else np.zeros(1))

    monkeypatch.setattr(key_columns, "_zeros", Replaced([None]))
    assert len(key_columns.zero_bytes(3_000_000)) == 3_000_000
    assert not key_columns.zero_bytes(100).any()
    assert not key_columns.zero_bytes(100).flags.writeable


def test_a_writer_that_was_forgotten_keeps_nobody_from_writing(group: SeriesGroup) -> None:
    group.series("s", SCHEMA, ["k"])
    opened = group.writer()
    opened.append("s", _one("a", [1], [1.0]))
    with pytest.raises(SeriesBusyError, match=f"being written by process {os.getpid()}"):
        group.writer()
    del opened
    gc.collect()

    with group.writer() as again:
        assert again.publish() == 1


def test_a_reader_that_looks_at_all_rows_lets_go_of_files_that_are_gone(
    memory_folder: Path,
) -> None:
    group = SeriesGroup.create(memory_folder, "g", arena_bytes=(1 << 16, 1 << 16))
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as opened:
        for step in range(40):
            if step:
                opened.delete("s", {"k": ["a"]}, on=["k"])
            opened.append("s", _one("a", list(range(1000)), [float(step)] * 1000))
            opened.publish()
            assert series.arrow()["x"].to_pylist() == [float(step)] * 1000
            there = {int(path.name) for path in (group.folder / "arenas").iterdir()}
            assert set(group._maps) <= there
    assert max(there) > 5


def test_frames_from_other_processes_keep_few_files_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "arenas").mkdir()
    maps = ArenaMaps(tmp_path, map_file)
    for number in range(1, 200):
        path = tmp_path / "arenas" / str(number)
        words = np.array([FILE_HEAD_BYTES, 1 << 14], np.int64)
        path.write_bytes(words.tobytes().ljust(1 << 14, b"\0"))
        maps.array(number)
        if number > 3:
            path.unlink()
        assert len(maps) <= 2 * 4 + GONE_MAX
