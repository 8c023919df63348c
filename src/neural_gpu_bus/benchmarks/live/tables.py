"""The table that is followed, and whether it is followed rightly."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.equality import Rows, require_equal

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround
    from neural_gpu_bus.live.live_table import LiveTable

COLUMNS = ("id", "instrument_id", "ts", "price", "size", "side")
#: Is in every transaction of a paced writer, once.
INSTRUMENT = "I1"
#: Of ``ts``: the transaction's number times this, plus the row's in it.
STEP = 1_000
#: Longest that a table takes until it has what was committed.
REACHED_S_MAX = 120.0


def make_ticks(ground: LiveGround, name: str) -> str:
    """An empty table of six columns; its name."""
    table = ground.table(name)
    ground.run(
        f"CREATE TABLE {table} (id bigserial PRIMARY KEY, instrument_id text NOT NULL, "
        "ts bigint NOT NULL, price float8, size bigint, side int)"
    )
    return table


def filled(table: str, first: int, last: int) -> str:
    """Inserts rows with those ids, of a hundred instruments in turns."""
    return (
        f"INSERT INTO {table} SELECT g, 'I' || abs(g % 100), g - 1000000000, "  # noqa: S608
        f"g * 0.5, g % 1000, g % 2 FROM generate_series({first}, {last}) g"
    )


def followed(ground: LiveGround, table: str, closing: ExitStack, name: str) -> LiveTable:
    """The table, live; dropped with the stack."""
    live = ground.plane.live(table, key=["instrument_id"], order_by="ts", name=name)
    closing.callback(ground.plane.drop_live, name)
    return live


def written_lsn(ground: LiveGround) -> str:
    """Behind everything that was committed."""
    row = ground.connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None  # noqa: S101  a SELECT of one value
    return str(row[0])


def require_live_equal(ground: LiveGround, question: str, table: str, live: LiveTable) -> None:
    """ResultsDifferError where the live table is not what SELECT says, while nobody writes."""
    live.wait_for(written_lsn(ground), timeout_s=REACHED_S_MAX)
    frame = ground.plane.query(f"SELECT {', '.join(COLUMNS)} FROM {table}")  # noqa: S608
    require_same_rows(question, "plane.live", frame.arrow(), live.arrow())


def require_same_rows(question: str, way: str, expected: pa.Table, found: pa.Table) -> None:
    """In any order. Values are looked at one by one only to tell which differ."""
    ours, theirs = _in_order(found), _in_order(expected)
    if ours.equals(theirs):
        return
    require_equal(
        _values(theirs),
        _values(ours),
        workload=question,
        way=way,
        place="its rows",
        reference="SELECT",
    )


def _in_order(rows: pa.Table) -> pa.Table:
    plain = {name: _plain(rows[name]) for name in COLUMNS}
    order = np.argsort(plain["id"].to_numpy(), kind="stable")
    return pa.table({name: column.take(order) for name, column in plain.items()})


def _plain(column: Any) -> Any:
    """In one piece, without what only stores it otherwise."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _values(rows: pa.Table) -> Rows:
    return {name: rows[name].to_numpy() for name in COLUMNS}
