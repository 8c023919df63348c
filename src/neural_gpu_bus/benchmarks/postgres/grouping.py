"""Question: a grouping over resident columns, beside DuckDB and Polars on the same columns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.memory.answers import Answer, Part
from neural_gpu_bus.benchmarks.postgres.comparing import in_order, require_same
from neural_gpu_bus.benchmarks.postgres.contest import Step, in_turns, median_s
from neural_gpu_bus.benchmarks.postgres.goals import at_least, at_most
from neural_gpu_bus.benchmarks.removal import remove_datasets

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.postgres.ground import PostgresGround

#: Issue 4.
_RIVALS, _ONCE = 5.0, 4.0
GROUPS, SEED = 50, 11
VALUES = ("open", "high", "low", "close")
OPERATIONS = ("mean", "std", "min", "max", "sum")
NAME = "ngb_bench/grouped"
OURS, DUCKDB, POLARS, ONCE = "plane.aggregate", "DuckDB", "Polars", "reading the columns once"
#: The answer's columns: which group, how many, then each operation of each value.
NAMES = ("key", "count", *(f"{value}_{name}" for value in VALUES for name in OPERATIONS))


def made_up(rows: int) -> pa.Table:
    """A dictionary key of 50 values and four floats."""
    random = np.random.default_rng(SEED)
    codes = random.integers(0, GROUPS, rows).astype(np.int32)
    names = pa.array([f"I{number:02d}" for number in range(GROUPS)])
    key = pa.DictionaryArray.from_arrays(codes, names)
    values: dict[str, Any] = {name: random.normal(100, 1, rows) for name in VALUES}
    return pa.table({"key": key, **values})


def group_by(ground: PostgresGround, closing: ExitStack) -> Answer:
    """Count, mean, standard deviation, least, greatest and sum of four columns by a key."""
    question = (
        f"{ground.sizes.rows:,} resident rows by {GROUPS} keys: count, and mean, std, min, max and "
        "sum of 4 columns"
    )
    closing.callback(remove_datasets, ground.plane, [NAME])
    frame = ground.plane.put(NAME, made_up(ground.sizes.rows))
    table = frame.arrow()
    ways: dict[str, Callable[[], Any]] = {}
    ours = our_way(ground, frame)
    skipped = {} if ours else {OURS: "this version has no plane.aggregate"}
    if ours is not None:
        ways[OURS] = ours
    ways |= {DUCKDB: _duckdb(closing, table), POLARS: _polars(table)}
    _require_equal(ways)
    steps = [Step(name, "ours" if name == OURS else "rival", run) for name, run in ways.items()]
    steps.append(Step(ONCE, "limit", _read_once(table)))
    lines = list(in_turns(ground, steps, ground.sizes.repeats_short))
    rivals = [found for name in (DUCKDB, POLARS) if (found := median_s(lines, name))]
    ours_s = median_s(lines, OURS)
    goals = [
        at_least("beside the better of DuckDB and Polars", ours_s, min(rivals), _RIVALS),
        at_most("beside reading the columns once", ours_s, median_s(lines, ONCE), _ONCE),
    ]
    notes = [
        "all on the same Arrow buffers in shared memory, the key as a dictionary: DuckDB's ENUM, "
        "Polars' Categorical",
        "reading once: the sum of every float column and of the key's codes, on one thread (numpy)",
    ]
    return Answer("group", question, [Part("", lines)], goals, notes, skipped)


def our_way(ground: PostgresGround, frame: Any) -> Callable[[], Any] | None:
    """``plane.aggregate`` where this version has it."""
    aggregate: Any = getattr(ground.plane, "aggregate", None)
    if aggregate is None:
        return None
    operations = {name: list(VALUES) for name in OPERATIONS}

    def run() -> Any:
        return aggregate(frame, by="key", count=True, **operations)

    return run


def _duckdb(closing: ExitStack, table: pa.Table) -> Callable[[], Any]:
    import duckdb

    connection = closing.enter_context(duckdb.connect())
    connection.register("resident", table)
    sql = {"mean": "avg", "std": "stddev_samp"}
    named = ", ".join(
        f"{sql.get(name, name)}({value}) AS {value}_{name}"
        for value in VALUES
        for name in OPERATIONS
    )
    statement = f"SELECT key, count(*) AS count, {named} FROM resident GROUP BY key"  # noqa: S608
    return lambda: connection.execute(statement).to_arrow_table()


def _polars(table: pa.Table) -> Callable[[], Any]:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table)
    named = [
        getattr(pl.col(value), name)().alias(f"{value}_{name}")
        for value in VALUES
        for name in OPERATIONS
    ]
    return lambda: frame.group_by("key").agg(pl.len().alias("count"), *named)


def _read_once(table: pa.Table) -> Callable[[], Any]:
    columns = [table[name].chunk(0).to_numpy() for name in VALUES]
    key: Any = table["key"].chunk(0)
    codes = key.indices.to_numpy()
    return lambda: [column.sum() for column in columns] + [codes.sum()]


def _require_equal(ways: dict[str, Callable[[], Any]]) -> None:
    first = None
    for name, run in ways.items():
        found = _columns(run())
        if first is None:
            first = name, in_order(found, "key")
        else:
            require_same("group", first, name, found, "key")


def _columns(found: Any) -> dict[str, Any]:
    """Keys as their numbers, whatever each has for a dictionary."""
    if hasattr(found, "to_arrow"):
        found = found.to_arrow()
    elif not hasattr(found, "column_names"):
        found = found.arrow()
    keys = [float(text[1:]) for text in found["key"].cast(pa.string()).to_pylist()]
    return {"key": keys, **{name: found[name] for name in NAMES[1:]}}
