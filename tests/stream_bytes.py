"""Bytes of a replication stream, made by hand: CopyData messages around those of pgoutput."""

from __future__ import annotations

import struct
from collections.abc import Sequence

#: NULL, a value that was not sent, text, binary.
Value = None | bytes | str | type(...)

START_LSN = 0x1_0000_0000


def copied(body: bytes) -> bytes:
    """Within CopyData."""
    return b"d" + struct.pack("!I", len(body) + 4) + body


def log_data(message: bytes, lsn: int = START_LSN) -> bytes:
    """A message of the log at a position."""
    return copied(b"w" + struct.pack("!QQq", lsn, lsn, 0) + message)


def keepalive(lsn: int, *, reply: bool = False) -> bytes:
    """The log has come so far."""
    return copied(b"k" + struct.pack("!QqB", lsn, 0, reply))


def begin(final_lsn: int, xid: int = 700, committed_us: int = 0) -> bytes:
    """A transaction begins."""
    return log_data(b"B" + struct.pack("!QqI", final_lsn, committed_us, xid))


def commit(commit_lsn: int, end_lsn: int | None = None) -> bytes:
    """It ends, eight bytes behind where nothing else is said."""
    end_lsn = commit_lsn + 8 if end_lsn is None else end_lsn
    return log_data(b"C\0" + struct.pack("!QQq", commit_lsn, end_lsn, 0), end_lsn)


def relation(
    oid: int, name: str, columns: Sequence[tuple[str, int, bool]], identity: str = "d"
) -> bytes:
    """A table; of each column its name, its type and whether it is in the key."""
    body = b"R" + struct.pack("!I", oid) + b"public\0" + name.encode() + b"\0" + identity.encode()
    body += struct.pack("!h", len(columns))
    for column, type_oid, in_key in columns:
        body += bytes([in_key]) + column.encode() + b"\0" + struct.pack("!Ii", type_oid, -1)
    return log_data(body)


def tuple_of(values: Sequence[Value]) -> bytes:
    """None: NULL; ``...``: not sent; str: as text; bytes: binary."""
    body = struct.pack("!h", len(values))
    for value in values:
        if value is None:
            body += b"n"
        elif value is ...:
            body += b"u"
        elif isinstance(value, str):
            body += b"t" + struct.pack("!I", len(value.encode())) + value.encode()
        else:
            assert isinstance(value, bytes)
            body += b"b" + struct.pack("!I", len(value)) + value
    return body


def insert(oid: int, values: Sequence[Value]) -> bytes:
    """A new row."""
    return log_data(b"I" + struct.pack("!I", oid) + b"N" + tuple_of(values))


def update(
    oid: int, values: Sequence[Value], old: Sequence[Value] | None = None, kind: bytes = b"K"
) -> bytes:
    """A changed row, with its old key or whole where that is sent."""
    before = b"" if old is None else kind + tuple_of(old)
    return log_data(b"U" + struct.pack("!I", oid) + before + b"N" + tuple_of(values))


def delete(oid: int, old: Sequence[Value], kind: bytes = b"K") -> bytes:
    """A row that is gone."""
    return log_data(b"D" + struct.pack("!I", oid) + kind + tuple_of(old))


def truncate(oids: Sequence[int], options: int = 0) -> bytes:
    """Emptied tables."""
    return log_data(b"T" + struct.pack(f"!IB{len(oids)}I", len(oids), options, *oids))


def logical_message(prefix: str, content: bytes, *, transactional: bool = True) -> bytes:
    """What pg_logical_emit_message writes."""
    head = b"M" + struct.pack("!BQ", transactional, START_LSN) + prefix.encode() + b"\0"
    return log_data(head + struct.pack("!I", len(content)) + content)


def origin(name: str) -> bytes:
    """Where a transaction comes from."""
    return log_data(b"O" + struct.pack("!Q", START_LSN) + name.encode() + b"\0")


def named_type(oid: int, name: str) -> bytes:
    """The name of a type."""
    return log_data(b"Y" + struct.pack("!I", oid) + b"public\0" + name.encode() + b"\0")


def int8(value: int) -> bytes:
    """As it is sent."""
    return struct.pack("!q", value)
