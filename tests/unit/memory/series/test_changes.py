"""Which partitions changed since a generation: by the directory's own words, one for the whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.memory.series import SeriesGroup, directory, series_bytes
from neural_gpu_bus.memory.series.group import group_folders
from neural_gpu_bus.memory.series.records import Stamp
from neural_gpu_bus.memory.series.series import snapshots

SCHEMA = pa.schema([("k", pa.int64()), ("x", pa.float64())])


@pytest.fixture
def group(memory_folder: Path) -> SeriesGroup:
    found = SeriesGroup.create(memory_folder, "g")
    for name in ("a", "b"):
        found.series(name, SCHEMA, ["k"])
    return found


def test_partitions_that_changed_are_told(group: SeriesGroup) -> None:
    a, b = group.series("a"), group.series("b")
    assert a.changed_since(0) == (0, [])
    assert not a.has_changed(0)
    with group.writer() as writer:
        writer.append("a", {"k": [1, 2, 3], "x": [0.0, 0.0, 0.0]})
        one = writer.publish()
        writer.append("b", {"k": [7], "x": [1.0]})
        writer.append("a", {"k": [2, 9], "x": [1.0, 1.0]})
        assert a.changed_since(one) == (one, [])
        two = writer.publish()
        writer.delete("a", {"k": [3]})
        three = writer.publish()

    assert a.changed_since(0) == (three, [{"k": 1}, {"k": 2}, {"k": 3}, {"k": 9}])
    assert a.changed_since(one) == (three, [{"k": 2}, {"k": 3}, {"k": 9}])
    assert a.changed_since(two) == (three, [{"k": 3}])
    assert a.changed_since(three) == (three, [])
    assert b.changed_since(one) == (three, [{"k": 7}])
    assert [a.has_changed(since) for since in (one, two, three)] == [True, True, False]
    assert [b.has_changed(since) for since in (one, two, three)] == [True, False, False]


def test_a_change_that_was_not_published_is_none(group: SeriesGroup) -> None:
    """Its writer was killed after it told of a generation, before that was published."""
    a = group.series("a")
    with group.writer() as writer:
        writer.append("a", {"k": [1], "x": [0.0]})
        one = writer.publish()
        writer._states["a"].directory.tell_changed(one + 1)

        assert not a.has_changed(one)
        assert a.has_changed(0)
        writer.append("b", {"k": [1], "x": [0.0]})
        assert writer.publish() == one + 1
        assert a.has_changed(one)  # as far as one word knows
        assert a.changed_since(one)[1] == []


def test_without_the_word_every_slot_is_looked_at(group: SeriesGroup) -> None:
    """A group that an earlier version wrote has 0 there."""
    a = group.series("a")
    with group.writer() as writer:
        writer.append("a", {"k": [1], "x": [0.0]})
        one = writer.publish()
        writer._states["a"].directory.head[directory.CHANGED] = 0

    assert a.has_changed(0)
    assert not a.has_changed(one)


def test_a_snapshot_may_be_told_to_be_of_another_moment(group: SeriesGroup) -> None:
    with group.writer() as writer:
        writer.append("a", {"k": [1], "x": [5.0]})
        writer.publish(lsn=0x20)
    snapshot = group.series("a").snapshot()

    found = snapshot.of_stamp(Stamp(1, 0x10, 9, 3))

    assert (found.as_of.lsn, found.as_of.committed_ns) == ("0/10", 9)
    assert found.last(1, k=1)["x"].tolist() == [5.0]
    assert found.last(1, k=1).as_of.lsn == "0/10"
    assert snapshot.as_of.lsn == "0/20"


def test_an_empty_series_may_be_taken_out_of_its_group(
    group: SeriesGroup, memory_folder: Path
) -> None:
    other = SeriesGroup.open(memory_folder, "g")
    a, b, seen_elsewhere = group.series("a"), group.series("b"), other.series("a")
    with group.writer() as writer:
        writer.append("a", {"k": [1], "x": [5.0]})
        writer.append("b", {"k": [1], "x": [6.0]})
        writer.publish()
        frame, snapshot = a.last(1, k=1), a.snapshot()
        assert not writer.remove("a")
        writer.truncate("a")
        assert not writer.remove("a")
        writer.publish()
        assert a.rows(k=1) == 0
        assert seen_elsewhere.last(1, k=1).rows == 0

        assert writer.remove("a")
        assert series_bytes(memory_folder) == group.count_bytes()
        assert len(group_folders(group.folder)) == 1
        for series in (a, seen_elsewhere):
            for look in (
                lambda series=series: series.last(1, k=1),
                lambda series=series: series.last(1, k=7),
                lambda series=series: series.rows(),
                lambda series=series: series.as_of,
                lambda series=series: snapshots([b, series]),
                lambda series=series: series.wait_for_change(series.generation, 0),
            ):
                with pytest.raises(DatasetEvictedError, match="'a' was dropped"):
                    look()
        assert (frame["x"].tolist(), snapshot.frame(k=1)["x"].tolist()) == ([5.0], [5.0])
        assert other.names() == group.names() == ["b"]
        with pytest.raises(DatasetNotFoundError, match="has no series 'a'"):
            other.series("a")
        writer.append("b", {"k": [2], "x": [7.0]})
        writer.publish()
        made = group.series("a", SCHEMA, ["k"])
        writer.append("a", {"k": [3], "x": [8.0]})
        writer.publish()
    assert made.last(1, k=3)["x"].tolist() == [8.0]
    assert other.series("a").last(1, k=3)["x"].tolist() == [8.0]
    assert b.rows() == 2


def test_a_series_that_was_only_seen_and_made_anew_elsewhere_is_found(
    group: SeriesGroup, memory_folder: Path
) -> None:
    """A scan finds all of a group; this one was never opened, so nothing told that it had gone."""
    other = SeriesGroup.open(memory_folder, "g")
    assert other.names() == ["a", "b"]

    with group.writer() as writer:
        assert writer.remove("a")
        group.series("a", SCHEMA, ["k"])
        writer.append("a", {"k": [3], "x": [8.0]})
        writer.publish()

    assert other.series("a").last(1, k=3)["x"].tolist() == [8.0]


def test_series_are_made_by_several_threads_at_once(group: SeriesGroup) -> None:
    """While another one lists them: it lost some, or ended by "dictionary changed size"."""
    made = threading.Event()

    def make(first: int) -> None:
        for number in range(first, first + 40):
            group.series(f"s{number}", SCHEMA, ["k"])

    def look() -> None:
        while not made.is_set():
            group.names()

    with ThreadPoolExecutor(4) as threads:
        looks = threads.submit(look)
        makers = [threads.submit(make, first) for first in (0, 100, 200)]
        try:
            for maker in makers:
                maker.result(timeout=60)
        finally:
            made.set()
        looks.result(timeout=60)

    assert len(group.names()) == 2 + 3 * 40


def test_what_a_writer_left_that_died_while_it_took_one_out_is_swept(group: SeriesGroup) -> None:
    """It had renamed the folder, and not removed it."""
    with group.writer() as writer:
        path = group.place("a").folder
        path.rename(path.with_name(f".making-{path.name}"))
        assert group.names() == ["b"]
        assert writer.remove("b")

    assert not [one for one in group.folder.iterdir() if one.name.startswith(".making-")]
    assert group.names() == []


def test_a_writer_says_what_it_said_of_its_last_step(group: SeriesGroup) -> None:
    with group.writer() as writer:
        writer.publish(lsn="0/1A", committed_ns=5)
        assert (writer.stamp.lsn, writer.stamp.committed_ns) == (0x1A, 5)
    with group.writer() as writer:
        assert writer.stamp.lsn == 0x1A
