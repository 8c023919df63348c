"""Any changes of any table, applied batch by batch, against a plain list of its rows."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.live.applying import tuples
from neural_gpu_bus.live.applying.applied_table import AppliedTable
from neural_gpu_bus.memory.series import SeriesGroup, appending, row_editor
from neural_gpu_bus.memory.series.series import Series
from neural_gpu_bus.memory.series.writer import SeriesWriter
from plain_live_changes import (
    SCHEMA,
    PlainTable,
    PlainTuples,
    Row,
    as_arrow,
    counted,
    plain_definition,
)

EPOCH = datetime(2024, 1, 1)  # noqa: DTZ001  as Arrow gives a column without a zone
KEYS = [(), ("instrument",), ("instrument", "venue"), ("is_open",), ("day", "instrument")]
ORDERS = [None, "ts", "id", "day", "venue"]
IDENTITIES = [
    ("d", ("id",)),
    ("d", ("instrument", "ts")),
    ("i", ("venue", "instrument", "ts")),
    ("i", ("note", "id")),
    ("f", ()),
]


@pytest.fixture(autouse=True)
def _in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What large tables do, with few rows: several turns of the writer, two threads."""
    monkeypatch.setattr(row_editor, "ROWS_A_TURN", 7)
    monkeypatch.setattr(appending, "ROWS_OF_TWO_THREADS_MIN", 5)
    monkeypatch.setattr(tuples, "JOINED_BYTES_MAX", 20)


class Changer:
    """Random rows and random changes of them, of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.key = self.random.choice(KEYS)
        self.order_by = self.random.choice([one for one in ORDERS if one not in self.key])
        identity, columns = self.random.choice(IDENTITIES)
        self.table = PlainTable(identity, columns, self.random)
        self.clock = 0
        self._next_id = 0

    def row(self) -> Row:
        chosen = self.random
        self.clock += chosen.randint(0, 3)
        self._next_id += 1
        late = chosen.choice([0, 0, 0, chosen.randint(0, 40)])
        # Of few values where rows may be equal in all columns.
        number = chosen.randint(1, 3) if self.table.identity == "f" else self._next_id
        return {
            "id": number,
            "instrument": chosen.choice(["a", "b", "ü" * 9, "d"]),
            "venue": chosen.randint(-2, 2),
            "ts": EPOCH + timedelta(microseconds=max(0, self.clock - late) % 97),
            "price": chosen.choice([None, 1.5, -2.0, 0.0]),
            "note": chosen.choice(["", "short", "long" * chosen.randint(2, 9)]),
            "is_open": chosen.choice([True, False]),
            "day": date(2024, 1, chosen.randint(1, 3)),
        }

    def change(self) -> None:
        table, kind = self.table, self.random.random()
        if kind < 0.01:
            table.truncate()
        elif kind < 0.45 or not table.rows:
            table.insert(self.row())
        elif kind < 0.6:
            table.delete(self._place())
        else:
            at = self._place()
            names = self.random.sample(SCHEMA.names, self.random.randint(1, 3))
            new = self.row()
            table.update(at, table.rows[at] | {name: new[name] for name in names})

    def _place(self) -> int:
        """Often one of the newest: rows that a batch changes several times."""
        count = len(self.table.rows)
        return self.random.choice([self.random.randrange(count), count - 1])


@contextmanager
def applied(changer: Changer, **sizes: int) -> Iterator[tuple[AppliedTable, Series, SeriesWriter]]:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="ngb-test-", dir=shared if shared.is_dir() else None))
    try:
        group = SeriesGroup.create(folder, "g", arena_bytes=(1 << 14, 1 << 16))
        series = group.series("t", SCHEMA, list(changer.key), changer.order_by, **sizes)
        definition = plain_definition(changer.key, changer.order_by)
        with group.writer() as writer:
            table = AppliedTable(writer, "t", changer.table.shape(), definition, PlainTuples())
            writer.publish()
            yield table, series, writer
    finally:
        shutil.rmtree(folder)


def check_same(series: Series, changer: Changer) -> None:
    held = series.arrow().to_pylist()
    assert counted(held) == counted(changer.table.rows)
    assert series.rows() == len(changer.table.rows) or changer.key
    if changer.order_by is not None:
        for key in series.partitions():
            order = series.arrow(**key)[changer.order_by].to_pylist()
            assert order == sorted(order)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(seed=st.integers(0, 2**32), rows_max=st.integers(4, 60), share=st.integers(0, 2))
def test_a_series_is_what_the_table_is(seed: int, rows_max: int, share: int) -> None:
    changer = Changer(seed)
    copied = [changer.row() for _ in range(changer.random.randint(0, 80))]
    for row in copied:
        changer.table.insert(row)
    changer.table.take_steps()
    sizes = {"chunk_rows_max": rows_max, "overlap_rows": rows_max * share // 4}

    with applied(changer, **sizes) as (table, series, writer):
        rows = list(changer.table.rows)
        changer.random.shuffle(rows)
        half = changer.random.randint(0, len(rows))
        for part in (rows[:half], rows[half:]):
            table.copy_rows(as_arrow(part))
        writer.publish()
        check_same(series, changer)
        for _ in range(8):
            for _ in range(changer.random.choice([1, 5, 40])):
                changer.change()
            table.apply(changer.table.take_steps())
            writer.publish()
            check_same(series, changer)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)
@given(seed=st.integers(0, 2**32), fails_at=st.integers(1, 6))
def test_a_batch_that_fails_is_applied_again_as_if_for_the_first_time(
    seed: int, fails_at: int
) -> None:
    changer = Changer(seed)
    with applied(changer, chunk_rows_max=16, overlap_rows=4) as (table, series, writer):
        for _ in range(6):
            for _ in range(30):
                changer.change()
            steps = changer.table.take_steps()
            before = series.arrow().to_pylist()
            if fails(writer, table, steps, fails_at):
                writer.discard()
                table.discarded()
                writer.publish()
                assert counted(series.arrow().to_pylist()) == counted(before)
                table.apply(steps)
            writer.publish()
            check_same(series, changer)


def fails(writer: SeriesWriter, table: AppliedTable, steps: list[Any], calls: int) -> bool:
    """Apply with memory that is full when so many extents were asked for; whether it was."""
    left = [calls]

    def no_room(nbytes: int) -> tuple[int, int]:
        left[0] -= 1
        if left[0] <= 0:
            raise SharedMemoryFullError("full", hint="", nbytes=nbytes)
        return allocate(nbytes)

    arenas = writer._arenas
    allocate = arenas.allocate
    arenas.allocate = no_room  # type: ignore[method-assign]
    try:
        table.apply(steps)
    except SharedMemoryFullError:
        return True
    finally:
        arenas.allocate = allocate  # type: ignore[method-assign]
    return False


def test_seeds_cover_every_way_to_find_rows() -> None:
    """Otherwise the tests above would pass by not looking."""
    ways = {
        (changer.table.identity, table._identity.by_index, changer.order_by is None)
        for changer in map(Changer, range(60))
        for table in [_opened(changer)]
    }

    assert {identity for identity, _, _ in ways} == {"d", "i", "f"}
    assert {by_index for _, by_index, _ in ways} == {True, False}
    assert {unordered for _, _, unordered in ways} == {True, False}


def _opened(changer: Changer) -> AppliedTable:
    with applied(changer) as (table, _, _):
        return table
