"""COPY BINARY written one value at a time with ``struct``: slow, and plain enough to believe."""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa

EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def numeric(value: Decimal | int) -> bytes:
    """Digits from the text, four at a time on both sides of the point."""
    sign, digits, exponent = Decimal(value).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)) + "0" * max(exponent, 0)
    shown = max(-exponent, 0)
    whole, part = (text[:-shown], text[-shown:]) if shown else (text, "")
    whole, part = part_of(whole.rjust(shown and 1, "0")), part + "0" * (-len(part) % 4)
    if len(text) < shown:
        part = text.rjust(shown, "0")
        part += "0" * (-len(part) % 4)
    groups = [int(group) for group in re.findall("....", whole + part)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        del groups[0]
        weight -= 1
    while groups and groups[-1] == 0:
        del groups[-1]
    if not groups:
        weight = sign = 0
    head = struct.pack(">hhHh", len(groups), weight, sign and 0x4000, shown)
    return head + b"".join(struct.pack(">h", group) for group in groups)


def part_of(whole: str) -> str:
    """With zeros before it up to whole groups of four."""
    return "0" * (-len(whole) % 4) + whole


def interval(value: Any) -> bytes:
    if isinstance(value, dt.timedelta):
        return struct.pack(">qii", value // MICROSECOND, 0, 0)
    return struct.pack(">qii", value.nanoseconds // 1000, value.days, value.months)


OIDS = {"int4": 23, "int8": 20, "float8": 701, "text": 25, "numeric": 1700, "date": 1082}


def array(value: list[Any], kind: str) -> bytes:
    """One dimension, or two."""
    two = any(isinstance(item, list) for item in value)
    shape = [len(value), len(value[0])] if two else [len(value)]
    items = [item for inner in value for item in inner] if two else value
    if not items:
        return struct.pack(">iii", 0, 0, OIDS[kind])
    out = struct.pack(">iii", len(shape), None in items, OIDS[kind])
    out += b"".join(struct.pack(">ii", length, 1) for length in shape)
    return out + b"".join(cell(item, kind) for item in items)


def hstore(value: list[tuple[str, str | None]]) -> bytes:
    pairs = b"".join(cell(key, "text") + cell(item, "text") for key, item in value)
    return struct.pack(">i", len(value)) + pairs


def cell(value: Any, kind: str) -> bytes:
    """Length and bytes."""
    if value is None:
        return struct.pack(">i", -1)
    content = array(value, kind[:-2]) if kind.endswith("[]") else WRITERS[kind](value)
    return struct.pack(">i", len(content)) + content


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "bool": lambda value: struct.pack(">?", value),
    "int2": lambda value: struct.pack(">h", value),
    "int4": lambda value: struct.pack(">i", value),
    "int8": lambda value: struct.pack(">q", value),
    "float4": lambda value: struct.pack(">f", value),
    "float8": lambda value: struct.pack(">d", value),
    "date": lambda value: struct.pack(">i", (value - EPOCH.date()).days),
    "time": lambda value: struct.pack(
        ">q", ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
    ),
    "timestamp": lambda value: struct.pack(
        ">q", (value.replace(tzinfo=dt.UTC) - EPOCH) // MICROSECOND
    ),
    "timestamptz": lambda value: struct.pack(">q", (value - EPOCH) // MICROSECOND),
    "text": lambda value: value.encode(),
    "jsonb": lambda value: b"\x01" + value.encode(),
    "bytea": lambda value: value,
    "uuid": lambda value: value,
    "numeric": numeric,
    "numeric(30,6)": numeric,
    "interval": interval,
    "oid": lambda value: struct.pack(">I", value),
    "pg_lsn": lambda value: struct.pack(">Q", value),
    "char": lambda value: value.encode() or b"\0",
    "hstore": hstore,
    "vector(2)": lambda value: struct.pack(">hhff", 2, 0, *value),
}


def encode_plainly(batch: pa.RecordBatch, kinds: list[str]) -> bytes:
    """The whole stream for one batch; ``kinds``: names of types."""
    out = [b"PGCOPY\n\xff\r\n\x00", struct.pack(">ii", 0, 0)]
    for row in batch.to_pylist():
        out.append(struct.pack(">h", len(kinds)))
        out += [cell(value, kind) for value, kind in zip(row.values(), kinds, strict=True)]
    return b"".join([*out, struct.pack(">h", -1)])
