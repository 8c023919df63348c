"""Which tables a statement is shown, and what is told where they cannot be shown together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, StaleError
from neural_gpu_bus.live.live_table import LiveTable
from neural_gpu_bus.live.shared import LiveState, LiveView, TableState
from neural_gpu_bus.live.sql import LiveSql
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.series import SeriesGroup

SCHEMA = pa.schema([("id", pa.int64()), ("n", pa.int64())])
NOW_NS = 10**12
Sql = Callable[[str], Frame]


@pytest.fixture
def state(memory_folder: Path) -> LiveState:
    """Tables ``bars`` and ``Bars`` with a row each, live at 0/10."""
    (memory_folder / "series").mkdir()
    (memory_folder / "live").mkdir()
    group = SeriesGroup.create(memory_folder / "series", "live")
    made = LiveState(memory_folder, clock_ns=lambda: NOW_NS)
    with group.writer() as writer:
        for name, number in (("bars", 1), ("Bars", 2)):
            group.series(f"{name}@1", SCHEMA, ["id"], None)
            writer.append(f"{name}@1", pa.table({"id": [number], "n": [number]}, schema=SCHEMA))
        writer.publish(0x10, 1)
    made.applied(0x10, 1)
    made.confirmed(NOW_NS)
    made.beat(0x10)
    for name in ("bars", "Bars"):
        made.set_table(TableState(name, f"{name}@1", "live"))
    return made


@pytest.fixture
def sql(state: LiveState, memory_folder: Path) -> Sql:
    view = LiveView(memory_folder, clock_ns=lambda: NOW_NS)
    group = SeriesGroup.open(memory_folder / "series", "live")
    found = LiveSql(
        view.tables, lambda name: LiveTable(name, view, group.series), bytes_max=64 << 20
    )
    return lambda statement: found.answer(statement, None, max_lag_s=None, timeout_s=30)


def test_a_table_is_the_one_that_is_written(sql: Sql) -> None:
    assert sql("SELECT n FROM bars")["n"].tolist() == [1]
    assert sql('SELECT n FROM "Bars"')["n"].tolist() == [2]
    assert sql("SELECT n FROM bars").as_of.lsn == "0/10"


def test_a_name_that_could_be_two_is_refused(sql: Sql) -> None:
    with pytest.raises(BadParameterError, match="'BARS' may be 'bars' or 'Bars'"):
        sql("SELECT n FROM BARS")
    with pytest.raises(BadParameterError, match="DuckDB tells no capitals apart"):
        sql('SELECT * FROM bars a, "Bars" b')


def test_tables_at_two_positions_are_told(sql: Sql, state: LiveState) -> None:
    state.set_table(TableState("positions", "", "copying"))

    with pytest.raises(StaleError, match="not at one position") as told:
        sql("SELECT * FROM bars, positions")

    assert "bars at 0/10 (live), positions at none (copying)" in told.value.what
    assert told.value.table == "positions"
    assert sql("SELECT n FROM bars")["n"].tolist() == [1]


def test_a_table_alone_is_shown_as_of_where_it_stopped(sql: Sql, state: LiveState) -> None:
    state.set_table(TableState("bars", "", "copying anew", "ALTER TABLE"))
    state.applied(0x90, 5)

    assert sql("SELECT n FROM bars").as_of.lsn == "0/10"
