"""Messages of PostgreSQL's protocol 3 that reading needs: pure, bytes on both sides.

Source: PostgreSQL manual, "Message Formats" and "Error and Notice Message Fields".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from neural_gpu_bus.errors import ProtocolError

SYNC = b"S\x00\x00\x00\x04"
#: Bind the statement without a name and without parameters, every result column binary; describe
#: what that gives; run it to its end.
BIND_BINARY = b"B\x00\x00\x00\x0e\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"
DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
EXECUTE = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"

#: Tags of the server's messages.
COMMAND_COMPLETE = ord("C")
ERROR = ord("E")
READY = ord("Z")
READY_IDLE = b"Z\x00\x00\x00\x05I"
READY_IN_TRANSACTION = b"Z\x00\x00\x00\x05T"
PARSE_COMPLETE = b"1\x00\x00\x00\x04"
BIND_COMPLETE = b"2\x00\x00\x00\x04"
ROW_DESCRIPTION = ord("T")
DATA_ROW = ord("D")
NO_DATA = ord("n")
NOTICE = ord("N")
#: Quote values, of any length.
REPORTS = frozenset({ERROR, NOTICE})
#: Say nothing that reading needs: ParseComplete, BindComplete, notifications, the session's
#: parameters, and what cleaning up returns.
UNINTERESTING = frozenset(b"12ASD")
#: All that may stand around rows.
KNOWN = UNINTERESTING | REPORTS | {COMMAND_COMPLETE, READY, ROW_DESCRIPTION, NO_DATA}

#: Table, column in it, type, its length, its modifier, format.
_FIELD = struct.Struct("!IhIhih")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an ErrorResponse says; empty where the server left a field out."""

    sqlstate: str
    message: str
    detail: str
    hint: str
    #: Character in the statement, 1 = first, as text.
    position: str


class Field(NamedTuple):
    """One column of a result, as the server describes it."""

    name: str
    #: Object id of its type; of a domain, of what that is made of.
    oid: int
    #: Of the type (``pg_attribute.atttypmod``): precision and scale of a numeric, dimensions
    #: of a vector; -1 for none.
    modifier: int


def parse(sql: bytes) -> bytes:
    """Parse a statement without a name or parameter types."""
    return _framed(b"P", b"\x00" + sql + b"\x00\x00\x00")


def query(sql: bytes) -> bytes:
    """A simple query."""
    return _framed(b"Q", sql + b"\x00")


def data_row(fields: bytes | memoryview) -> bytes:
    """A row, its fields counted and each with its length."""
    return _framed(b"D", bytes(fields))


def command_complete(words: bytes) -> bytes:
    """What the server says after a statement."""
    return _framed(b"C", words + b"\x00")


def _framed(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("!I", len(body) + 4) + body


def read_row_description(body: bytes) -> list[Field]:
    """The fields of a RowDescription. Raises ProtocolError."""
    try:
        (count,) = struct.unpack_from("!h", body)
        fields, at = [], 2
        for _ in range(count):
            end = body.index(b"\x00", at)
            _, _, oid, _, modifier, _ = _FIELD.unpack_from(body, end + 1)
            fields.append(Field(body[at:end].decode(), oid, modifier))
            at = end + 1 + _FIELD.size
    except (struct.error, ValueError) as error:
        raise ProtocolError(
            f"a row description of {len(body)} bytes cannot be read: {error}",
            hint="check what stands between this machine and the server",
            position=0,
        ) from error
    return fields


def read_refusal(body: bytes) -> Refusal:
    """The fields of an ErrorResponse."""
    fields = {
        part[:1].decode("ascii", "replace"): part[1:].decode("utf-8", "replace")
        for part in body.split(b"\x00")
        if part
    }
    return Refusal(*(fields.get(code, "") for code in "CMDHP"))


def read_row_count(body: bytes) -> int | None:
    """Rows that a CommandComplete names; None where its command returns none."""
    words = body.rstrip(b"\x00").split()
    return int(words[-1]) if len(words) > 1 and words[-1].isdigit() else None
