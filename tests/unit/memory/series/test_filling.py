"""A first copy in batches: whatever the order they come in, a partition holds its rows in order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory.series import SeriesGroup, arenas, filling
from neural_gpu_bus.memory.series.series import Series
from neural_gpu_bus.memory.series.writer import SeriesWriter

SCHEMA = pa.schema(
    [("k", pa.string()), ("ts", pa.int64()), ("x", pa.float64()), ("note", pa.string())]
)
NAMES = SCHEMA.names
ROWS, BATCH_ROWS = 4_000, 250


@pytest.fixture
def group(memory_folder: Path) -> SeriesGroup:
    return SeriesGroup.create(memory_folder, "g")


def rows_of(numbers: list[int]) -> pa.Table:
    """Five partitions; some moments twice, some notes NULL."""
    return pa.table(
        {
            "k": [f"key {number % 5}" for number in numbers],
            "ts": [number // 10 for number in numbers],
            "x": [float(number) for number in numbers],
            "note": [None if number % 7 == 0 else "n" * (number % 11) for number in numbers],
        },
        SCHEMA,
    )


def filled(
    writer: SeriesWriter, name: str, numbers: list[int], expected: int | None = None
) -> filling.Filling:
    found = writer.editor(name).filling()
    for first in range(0, len(numbers), BATCH_ROWS):
        batch = rows_of(numbers[first : first + BATCH_ROWS])
        found.add(found.coded(batch, NAMES), expected)
    found.finish()
    return found


def held(series: Series) -> list[dict[str, Any]]:
    """Partition by partition; each is in order."""
    rows = []
    for key in series.partitions():
        table = series.frame(**key).arrow()
        moments = table["ts"].to_numpy()
        assert (np.diff(moments) >= 0).all()
        rows += table.to_pylist()
    return sorted(rows, key=lambda row: row["x"])


def shifted(numbers: list[int]) -> list[int]:
    """A few rows come 300 places late."""
    late = [number for number in numbers if number % 50 == 0]
    rest = [number for number in numbers if number % 50]
    for number in late:
        rest.insert(min(number + 300, len(rest)), number)
    return rest


ORDERS = {
    "as they are ordered": list(range(ROWS)),
    "a few late": shifted(list(range(ROWS))),
    "backwards": list(range(ROWS))[::-1],
    "by partition": sorted(range(ROWS), key=lambda number: (number % 5, number)),
    "at random": random.Random(3).sample(range(ROWS), ROWS),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("expected", [None, 10 * ROWS])
@pytest.mark.parametrize("known_after", [500, 1 << 20])
def test_rows_in_any_order(
    group: SeriesGroup,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    expected: int | None,
    known_after: int,
) -> None:
    monkeypatch.setattr(filling, "KNOWN_AFTER_ROWS", known_after)
    monkeypatch.setattr(filling, "ROWS_A_TURN", 700)
    series = group.series("s", SCHEMA, ["k"], "ts", chunk_rows_max=256, overlap_rows=16)
    with group.writer() as writer:
        assert filled(writer, "s", ORDERS[order], expected).rows == ROWS
        writer.publish()
        assert held(series) == rows_of(list(range(ROWS))).to_pylist()


def test_room_is_made_for_what_is_expected(group: SeriesGroup) -> None:
    group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as writer:
        filled(writer, "s", ORDERS["as they are ordered"], ROWS)
        assert writer.statistics.grown_rows == 0
        assert writer._states["s"].slots["capacity"].sum() < filling.ROOM_MAX * ROWS


def test_no_more_room_is_made_than_that_where_rows_stand_by_partition(group: SeriesGroup) -> None:
    group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as writer:
        filled(writer, "s", ORDERS["by partition"], ROWS)
        assert writer._states["s"].slots["capacity"].sum() <= filling.ROOM_LEFT_MAX * ROWS


def test_room_for_what_did_not_come_is_given_back(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as writer:
        filled(writer, "s", ORDERS["as they are ordered"], 20 * ROWS)
        assert writer._states["s"].slots["capacity"].sum() <= filling.ROOM_LEFT_MAX * ROWS
        writer.publish()
        assert held(series) == rows_of(list(range(ROWS))).to_pylist()


def test_pages_that_were_made_ahead_are_used_and_the_others_go(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as writer:
        assert writer.room_ahead.make(3 << 20, lambda: True) >= 3 << 20
        made = writer.statistics.arenas
        writer.publish()  # nothing lies in them yet
        filled(writer, "s", ORDERS["as they are ordered"], ROWS)
        assert writer.statistics.arenas == made
        writer.room_ahead.drop()
        writer.publish()
        assert writer.statistics.arenas == 1
        assert held(series) == rows_of(list(range(ROWS))).to_pylist()


def test_room_that_is_not_there_is_not_made_ahead(
    group: SeriesGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as writer:
        refused = SharedMemoryFullError("no room", hint="none", wanted_bytes=1)
        monkeypatch.setattr(arenas, "allocate", Mock(side_effect=refused))
        before = writer.statistics.arena_bytes
        assert writer.room_ahead.make(1 << 30, lambda: True) == 0
        assert writer.room_ahead.make(1 << 30, lambda: False) == 0
        assert writer.statistics.arena_bytes == before


def test_without_order_or_key_rows_stay_as_they_came(group: SeriesGroup) -> None:
    series = group.series("s", SCHEMA, (), None)
    with group.writer() as writer:
        filled(writer, "s", ORDERS["at random"])
        writer.publish()
        assert series.frame().arrow()["x"].to_pylist() == ORDERS["at random"]


def test_a_batch_that_has_no_room_adds_nothing(
    group: SeriesGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    group.series("s", SCHEMA, ["k"], "ts")
    with group.writer() as writer:
        found = writer.editor("s").filling()
        found.add(found.coded(rows_of(list(range(100))), NAMES))

        def refused(nbytes: int) -> None:
            raise SharedMemoryFullError("no room", hint="none", wanted_bytes=nbytes)

        monkeypatch.setattr(writer._arenas, "_claim", refused)
        with pytest.raises(SharedMemoryFullError, match="no room"):
            found.add(found.coded(rows_of(list(range(100, 200_000))), NAMES))
        assert writer.editor("s").rows == 100
