"""COPY BINARY written one value at a time with ``struct``: slow, and plain enough to believe."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa

EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)

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
}


def encode_plainly(batch: pa.RecordBatch, kinds: list[str]) -> bytes:
    """The whole stream for one batch; ``kinds`` as in ``wire.types.KINDS``."""
    out = [b"PGCOPY\n\xff\r\n\x00", struct.pack(">ii", 0, 0)]
    for row in batch.to_pylist():
        out.append(struct.pack(">h", len(kinds)))
        for value, kind in zip(row.values(), kinds, strict=True):
            cell = None if value is None else WRITERS[kind](value)
            out.append(
                struct.pack(">i", -1) if cell is None else struct.pack(">i", len(cell)) + cell
            )
    return b"".join([*out, struct.pack(">h", -1)])
