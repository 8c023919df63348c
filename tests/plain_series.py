"""A series as plain lists: what every way to write and read it has to agree with."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("instrument", pa.string()),
        pa.field("ts", pa.timestamp("us"), nullable=False),
        ("venue", pa.int32()),
        ("price", pa.float64()),
        ("side", pa.bool_()),
        ("note", pa.string()),
        ("size", pa.int16()),
        ("span", pa.struct([("lower", pa.int64()), ("note", pa.string())])),
        ("levels", pa.list_(pa.struct([("price", pa.float32()), ("tags", pa.list_(pa.string()))]))),
    ]
)
KEY = ("instrument", "venue")


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _told(row: Row, on: list[str]) -> tuple[Any, ...]:
    """What a row is known by: of values with parts how they are written."""
    return (
        *key_of(row),
        *(row[n] if n in {"ts", "size", "note", "side"} else repr(row[n]) for n in on),
    )


class PlainSeries:
    """Rows of each partition in order; ``ordered``: by ``ts``, late rows behind equal ones."""

    def __init__(self, *, ordered: bool) -> None:
        self.ordered = ordered
        self.partitions: dict[tuple[Any, ...], list[Row]] = {}

    def copy(self) -> PlainSeries:
        found = PlainSeries(ordered=self.ordered)
        found.partitions = {key: list(rows) for key, rows in self.partitions.items()}
        return found

    def append(self, rows: list[Row]) -> None:
        for row in rows:
            held = self.partitions.setdefault(key_of(row), [])
            held.append(row)
        if self.ordered:
            for held in self.partitions.values():
                held.sort(key=lambda row: row["ts"])  # stable

    def upsert(self, rows: list[Row], on: list[str]) -> int:
        last = {_told(row, on): row for row in rows}
        replaced = self.delete(rows, on)
        self.append([row for row in rows if any(row is kept for kept in last.values())])
        return replaced

    def update(self, rows: list[Row], on: list[str], columns: list[str]) -> int:
        changed = 0
        last = {_told(row, on): row for row in rows}
        for held in self.partitions.values():
            for place, row in enumerate(held):
                new = last.get(_told(row, on))
                if new is not None:
                    held[place] = row | {name: new[name] for name in columns}
                    changed += 1
        return changed

    def delete(self, rows: list[Row], on: list[str]) -> int:
        gone = {_told(row, on) for row in rows}
        removed = 0
        for key, held in self.partitions.items():
            kept = [row for row in held if _told(row, on) not in gone]
            removed += len(held) - len(kept)
            self.partitions[key] = kept
        return removed

    def truncate(self) -> None:
        for held in self.partitions.values():
            held.clear()


def as_columns(rows: list[Row], names: list[str] | None = None) -> pa.Table:
    """Rows as the writer takes them."""
    schema = SCHEMA if names is None else pa.schema([SCHEMA.field(name) for name in names])
    return pa.Table.from_pylist([{n: row[n] for n in schema.names} for row in rows], schema)
