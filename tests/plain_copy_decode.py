"""COPY BINARY read slowly and plainly: what the compiled loops must agree with, value for value."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
DAYS = 10_957
DAY_US = 86_400_000_000
#: Name of the type -> format of its bytes.
NUMBERS = {
    "smallint": "!h",
    "integer": "!i",
    "bigint": "!q",
    "oid": "!I",
    "real": "!f",
    "double precision": "!d",
}


class NotReadableError(Exception):
    """The stream, or a value in it, is refused."""


def joined(messages: bytes) -> bytes:
    """What is inside of CopyData messages."""
    at, inside = 0, b""
    while at < len(messages):
        if len(messages) - at < 5:
            raise NotReadableError("cut in a message's head")
        tag, size = struct.unpack_from("!ci", messages, at)
        if tag != b"d" or size < 4 or at + 1 + size > len(messages):
            raise NotReadableError("no whole CopyData message")
        inside += messages[at + 5 : at + 1 + size]
        at += 1 + size
    return inside


def framed(parts: Sequence[bytes]) -> bytes:
    """Each part as one CopyData message."""
    return b"".join(b"d" + struct.pack("!i", len(part) + 4) + part for part in parts)


def decode(stream: bytes, columns: Sequence[SourceColumn]) -> list[list[object]]:
    """Rows of a whole stream; values are raw: bytes of text, microseconds, days."""
    try:
        return _decode(stream, columns)
    except struct.error as error:
        raise NotReadableError(str(error)) from error


def _decode(stream: bytes, columns: Sequence[SourceColumn]) -> list[list[object]]:
    flags, extension = struct.unpack_from("!Ii", stream, 11)
    if stream[:11] != SIGNATURE or flags >> 16 or extension < 0:
        raise NotReadableError("header")
    at, rows = 19 + extension, []
    while True:
        (fields,) = struct.unpack_from("!h", stream, at)
        at += 2
        if fields == -1:
            if at != len(stream):
                raise NotReadableError("after the end")
            return rows
        if fields != len(columns):
            raise NotReadableError("fields")
        row: list[object] = []
        for column in columns:
            (length,) = struct.unpack_from("!i", stream, at)
            at += 4
            if length < -1 or at + length > len(stream):
                raise NotReadableError("length")
            row.append(None if length == -1 else value(stream[at : at + length], column.type_name))
            at += max(length, 0)
        rows.append(row)


def value(raw: bytes, type_name: str) -> object:
    """One value's bytes to what Arrow holds for it."""
    if type_name in NUMBERS:
        if struct.calcsize(NUMBERS[type_name]) != len(raw):
            raise NotReadableError("width")
        return struct.unpack(NUMBERS[type_name], raw)[0]
    if type_name == "boolean":
        if raw not in (b"\0", b"\1"):
            raise NotReadableError("boolean")
        return raw == b"\1"
    if type_name in ("date", "time") or type_name.startswith("timestamp"):
        return moment(raw, type_name)
    if type_name == "uuid" and len(raw) != 16:
        raise NotReadableError("width")
    if type_name == "jsonb":
        if raw[:1] != b"\1":
            raise NotReadableError("jsonb")
        return raw[1:]
    if type_name == '"char"':
        if len(raw) != 1 or raw > b"\x7f":
            raise NotReadableError("char")
        return raw.rstrip(b"\0")
    return raw


def moment(raw: bytes, type_name: str) -> int:
    """Days or microseconds since 1970, or microseconds of a day."""
    number: int = struct.unpack("!i" if type_name == "date" else "!q", raw)[0]
    bits = 31 if type_name == "date" else 63
    if type_name == "time":
        if not 0 <= number < DAY_US:
            raise NotReadableError("time")
        return number
    if number in (-(1 << bits), (1 << bits) - 1):
        raise NotReadableError("infinite")
    number += DAYS if type_name == "date" else DAYS * DAY_US
    if number >= 1 << bits:
        raise NotReadableError("range")
    return number
