"""A folder of the user's own files as demo data: whatever tables are there are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from neural_gpu_bus.benchmarks.data.sources import SourceTables
from neural_gpu_bus.benchmarks.data.table_files import ENDINGS, find_files, read_table
from neural_gpu_bus.errors import BadFileError, BadParameterError

#: Untyped: the stubs of pyarrow.compute refuse plain Python values, which it takes.
pc: Any = pyarrow.compute

#: What a file of each name must have.
NEEDED = {
    "daily_prices": ("date", "asset", "price"),
    "factors": ("date",),
    "trades": ("instrument_id", "ts", "price", "size"),
    "bars": ("instrument_id", "bar_type", "ts", "open", "high", "low", "close"),
}


def read(folder: Path) -> SourceTables:
    """The tables that are there, each narrowed to what the demo shows; the others are ``missing``.

    Raises BadParameterError for a folder with none of them, BadFileError for a bad file.
    """
    files = find_files(folder, tuple(NEEDED))
    if not files:
        raise BadParameterError(
            f"{str(folder)!r} holds none of {', '.join(NEEDED)} as {', '.join(ENDINGS)}",
            hint="give a folder with at least one of these files, or leave --data out",
            parameter="data",
        )
    narrow = {
        "daily_prices": _one_panel,
        "factors": _one_model,
        "trades": _one_feed,
        "bars": _two_series,
    }
    tables = {}
    for name, path in files.items():
        table = read_table(path)
        _require_columns(table, NEEDED[name], path)
        tables[name] = narrow[name](table)
        if not tables[name].num_rows:
            raise BadFileError(
                f"{path} has no rows that the demo could use",
                hint="docs/reference/data-files.md says what each table holds",
                file=str(path),
            )
    missing = {name: f"{folder} has no {name} file" for name in NEEDED if name not in tables}
    notes = tuple(_note(name, path, tables[name]) for name, path in files.items())
    return SourceTables(tables=tables, notes=notes, missing=missing)


def _note(name: str, path: Path, table: pa.Table) -> str:
    sides = ""
    if name == "trades":
        given = "aggressor_side" in table.column_names
        sides = "; sides as the file gives them" if given else "; sides by the tick rule"
    return f"{name}: {path}, {table.num_rows:,} rows used{sides}."


def _require_columns(table: pa.Table, needed: tuple[str, ...], path: Path) -> None:
    lacking = [name for name in needed if name not in table.column_names]
    if lacking:
        raise BadFileError(
            f"{path} lacks column {lacking[0]!r}; it has {', '.join(table.column_names)}",
            hint=f"it needs at least {', '.join(needed)}",
            file=str(path),
            column=lacking[0],
        )


def _one_panel(table: pa.Table) -> pa.Table:
    """The panel (and field) with most rows; without such a column all rows are one panel."""
    for name in ("panel", "field"):
        if name not in table.column_names:
            table = table.append_column(name, pa.array(["all"] * table.num_rows))
        table = table.filter(pc.equal(table[name], _most_frequent(table[name])))
    kept = table.select(["date", "asset", "price", "panel", "field"])
    kept = kept.set_column(0, "date", kept["date"].cast(pa.date32()))
    return kept.filter(pc.is_valid(kept["price"]))


def _one_model(table: pa.Table) -> pa.Table:
    """Float columns of the model and frequency whose rows without holes are most, by date."""
    labels = [name for name in ("model", "freq") if name in table.column_names]
    candidates = [table]
    for name in labels:
        candidates = [
            part.filter(pc.equal(part[name], value))
            for part in candidates
            for value in pc.unique(part[name]).to_pylist()
        ]
    wide = [_without_empty_columns(part) for part in candidates]
    best = max(wide, key=lambda part: part.drop_null().num_rows * (part.num_columns - 1))
    best = best.set_column(0, "date", best["date"].cast(pa.date32()))
    return best.drop_null().sort_by("date")


def _without_empty_columns(table: pa.Table) -> pa.Table:
    floats = [
        name
        for name in table.column_names
        if pa.types.is_floating(table.schema.field(name).type)
        and table[name].null_count < table.num_rows
    ]
    return table.select(["date", *floats])


def _one_feed(table: pa.Table) -> pa.Table:
    """The instrument with most trades, in feed order, numbered; sides only where all are known."""
    feed = table.filter(pc.equal(table["instrument_id"], _most_frequent(table["instrument_id"])))
    columns: dict[str, Any] = {
        "instrument_id": feed["instrument_id"],
        "seq": pa.array(np.arange(feed.num_rows, dtype=np.int64)),
        "ts": _exact_time(feed["ts"]),
        "price": feed["price"].cast(pa.float64()),
        "size": feed["size"].cast(pa.float64()),
    }
    if "aggressor_side" in feed.column_names:
        known = pc.is_in(feed["aggressor_side"], pa.array(["BUY", "SELL"]))
        if pc.all(known).as_py():
            columns["aggressor_side"] = feed["aggressor_side"]
    return pa.table(columns)


def _exact_time(ts: Any) -> Any:
    """Microseconds, which PostgreSQL holds; nanoseconds stay where a value would be bent."""
    try:
        return ts.cast(pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid:
        return ts


def _two_series(table: pa.Table) -> pa.Table:
    """The longest series of bars, and the longest of those that know their volume."""
    if "volume" not in table.column_names:
        table = table.append_column("volume", pa.nulls(table.num_rows, pa.float64()))
    counted = table.group_by(["instrument_id", "bar_type"]).aggregate(
        [("close", "count"), ("volume", "sum")]
    )
    series = sorted(counted.to_pylist(), key=lambda row: -row["close_count"])
    with_volume = [row for row in series if row["volume_sum"]]
    kept = series[:1] + with_volume[:1]
    chosen = pc.or_(*(_is_series(table, row) for row in (kept * 2)[:2]))
    names = ["instrument_id", "bar_type", "ts", "open", "high", "low", "close", "volume"]
    return table.filter(chosen).select(names).sort_by("ts")


def _is_series(table: pa.Table, row: dict[str, Any]) -> Any:
    return pc.and_(
        pc.equal(table["instrument_id"], row["instrument_id"]),
        pc.equal(table["bar_type"], row["bar_type"]),
    )


def _most_frequent(column: Any) -> Any:
    counts = sorted(pc.value_counts(column).to_pylist(), key=lambda item: -item["counts"])
    return counts[0]["values"] if counts else None
