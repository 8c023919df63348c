"""A table as a plain dict, and the changes that PostgreSQL would send of it, as lists of values."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.live.definitions import LiveDefinition
from neural_gpu_bus.stores.postgres.replication.pgoutput import Truncated
from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    ColumnShape,
    RelationShape,
    TableShape,
)

OID = 4711
#: In place of a value that the server does not send because it did not change.
UNCHANGED = object()
#: Longer texts are stored out of line.
INLINE_CHARACTERS_MAX = 6

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("instrument", pa.string()),
        ("venue", pa.int16()),
        ("ts", pa.timestamp("us")),
        ("price", pa.float64()),
        ("note", pa.string()),
        ("is_open", pa.bool_()),
        ("day", pa.date32()),
    ]
)
Row = dict[str, Any]


@dataclass(frozen=True)
class PlainRelation:
    oid: int
    columns: tuple[str, ...]


@dataclass(eq=False)
class PlainChanges:
    """``buffer``: tuples as lists of values; positions are numbers of these."""

    relation: PlainRelation
    buffer: list[list[Any]]
    kinds: Any
    new_at: Any
    old_at: Any


class PlainTuples:
    """See ``applying.tuples.Tuples``; every value by itself."""

    def few(self, names: Sequence[str]) -> None:
        """Never: the general way."""

    def joined(self, several: Sequence[PlainChanges]) -> PlainChanges:
        buffer: list[list[Any]] = []
        new, old = [], []
        for each in several:
            shift = len(buffer)
            buffer += each.buffer
            new.append(np.where(each.new_at < 0, -1, each.new_at + shift))
            old.append(np.where(each.old_at < 0, -1, each.old_at + shift))
        kinds = np.concatenate([each.kinds for each in several])
        return PlainChanges(
            several[0].relation, buffer, kinds, np.concatenate(new), np.concatenate(old)
        )

    def rows(
        self, changes: PlainChanges, which: str, rows: Any, names: Sequence[str]
    ) -> tuple[pa.Table, Any]:
        tuples = [changes.buffer[at] for at in self._at(changes, which)[rows].tolist()]
        places = [changes.relation.columns.index(name) for name in names]
        marks = np.array(
            [[found[place] is UNCHANGED for place in places] for found in tuples], np.uint8
        ).reshape(len(tuples), len(places))
        arrays = [
            pa.array(
                [None if found[place] is UNCHANGED else found[place] for found in tuples],
                SCHEMA.field(name).type,
            )
            for name, place in zip(names, places, strict=True)
        ]
        return pa.table(arrays, names=list(names)), marks if marks.any() else None

    def hashes(self, changes: PlainChanges, which: str, rows: Any, names: Sequence[str]) -> Any:
        places = [changes.relation.columns.index(name) for name in names]
        found = np.zeros((len(rows), 2), np.uint64)
        for number, row in enumerate(rows.tolist()):
            values = list(changes.buffer[int(self._at(changes, which)[row])])
            for place in places:
                if values[place] is UNCHANGED:
                    values[place] = changes.buffer[int(changes.old_at[row])][place]
            told = repr([values[place] for place in places])
            # Few bits in the second half: hashes that differ in the first alone are kept apart.
            found[number] = hash(told) & (2**64 - 1), hash(told) & 3
        return found

    @staticmethod
    def _at(changes: PlainChanges, which: str) -> Any:
        return changes.new_at if which == "new" else changes.old_at


@dataclass
class PlainTable:
    """Rows as they are now, and the changes that led here since they were taken last."""

    identity: str
    identity_columns: tuple[str, ...]
    random: random.Random
    rows: list[Row] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    _next_id: int = 1
    _open: list[tuple[int, list[Any] | None, list[Any] | None]] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(SCHEMA.names)

    def shape(self) -> TableShape:
        columns = tuple(
            ColumnShape(place + 1, name, 25, -1, "any", True)
            for place, name in enumerate(self.names)
        )
        relation = RelationShape(
            OID, "public", "t", "r", "p", OID, self.identity, self.identity_columns
        )
        identity = self.names if self.identity == "f" else self.identity_columns
        return TableShape(OID, "public", "t", columns, self.identity, identity, False, (relation,))

    def insert(self, row: Row) -> None:
        if self.identity != "f" and self._key(row) in {self._key(held) for held in self.rows}:
            return  # the server refuses it
        self.rows.append(row)
        self._tell("I", None, list(row.values()))

    def update(self, at: int, new: Row) -> None:
        old, key = self.rows[at], self._key(new)
        others = {self._key(held) for place, held in enumerate(self.rows) if place != at}
        if self.identity != "f" and key in others:
            return
        sent = [
            UNCHANGED if self._is_out_of_line(old[name]) and old[name] == new[name] else new[name]
            for name in self.names
        ]
        told: list[Any] | None = None
        if self.identity == "f":
            told = list(old.values())
        elif key != self._key(old) or any(self._is_out_of_line(value) for value in key):
            told = self._key_tuple(old)
        self.rows[at] = new
        self._tell("U", told, sent)

    def delete(self, at: int) -> None:
        old = self.rows.pop(at)
        self._tell("D", list(old.values()) if self.identity == "f" else self._key_tuple(old), None)

    def truncate(self) -> None:
        self.rows.clear()
        self.close_step()
        self.steps.append(Truncated((OID,), False, False))

    def close_step(self) -> None:
        """What came until here is one object of the stream, over bytes of its own."""
        if not self._open:
            return
        buffer: list[list[Any]] = []
        positions = []
        for _, old, new in self._open:
            places = []
            for told in (new, old):
                places.append(-1 if told is None else len(buffer))
                if told is not None:
                    buffer.append(told)
            positions.append(places)
        new_at, old_at = np.array(positions, np.int64).T
        kinds = np.array([kind for kind, _, _ in self._open], np.uint8)
        relation = PlainRelation(OID, self.names)
        self.steps.append(PlainChanges(relation, buffer, kinds, new_at.copy(), old_at.copy()))
        self._open = []

    def take_steps(self) -> list[Any]:
        self.close_step()
        steps, self.steps = self.steps, []
        return steps

    def _tell(self, kind: str, old: list[Any] | None, new: list[Any] | None) -> None:
        self._open.append((ord(kind), old, new))
        if self.random.random() < 0.1:
            self.close_step()

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.identity_columns)

    def _key_tuple(self, row: Row) -> list[Any]:
        return [row[name] if name in self.identity_columns else None for name in self.names]

    @staticmethod
    def _is_out_of_line(value: Any) -> bool:
        return isinstance(value, str) and len(value) > INLINE_CHARACTERS_MAX


def plain_definition(key: Sequence[str], order_by: str | None, **more: Any) -> LiveDefinition:
    return LiveDefinition("t", "t", tuple(key), order_by, **more)


def as_arrow(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


def counted(rows: Sequence[Row]) -> Counter[str]:
    """Rows without their order."""
    return Counter(repr(sorted(row.items())) for row in rows)
