"""How live tables stand, put together from what was declared and what is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa

from neural_gpu_bus.live.definitions import live_definition
from neural_gpu_bus.live.looking import look_at_live
from neural_gpu_bus.live.shared import LiveState, LiveView, TableState
from neural_gpu_bus.memory.series import SeriesGroup

SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.float64())])


def test_declared_and_told_are_put_together(memory_folder: Path) -> None:
    (memory_folder / "live").mkdir()
    view = LiveView(memory_folder)
    declared = {name: live_definition(name) for name in ("bars", "new")}
    assert [one.state for one in look_at_live(view, declared).tables] == [None, None]
    group = SeriesGroup.create(memory_folder, "live")
    group.series("bars/1", SCHEMA, ["id"])
    with LiveState(memory_folder) as state, group.writer() as writer:
        writer.append("bars/1", {"id": [1, 1, 2], "x": [0.0, 0.0, 0.0]})
        writer.publish(0x10)
        state.set_source("app at localhost")
        state.set_tables([TableState("bars", "bars/1", "live"), TableState("old", "?", "live")])
        state.beat(0x20)
        state.applied(0x10)

        found = look_at_live(view, declared, group.series)

    bars, new, old = found.tables
    assert (bars.rows, bars.partitions) == (3, 2)
    assert bars.as_of is not None
    assert bars.as_of.lsn == 0x10
    assert (new.definition, new.state, new.rows) == (declared["new"], None, None)
    assert (old.definition, old.rows) == (None, None)
    assert (found.source, found.received_lsn, found.applied_lsn) == ("app at localhost", 32, 16)
    told = msgspec.json.decode(msgspec.json.encode(found))
    assert told["tables"][0]["as_of"]["lag_s"] is None
