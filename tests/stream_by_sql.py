"""A slot's changes by plain SQL, decoded the plainest way: what the stream says is seen by tests
that have no stream.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg


@dataclass
class Seen:
    """One message: ``kind`` is its letter."""

    kind: str
    #: Table of I, U, D and R; tables of T; the prefix of M; the transaction of B.
    of: Any = None
    #: Columns of R; new values of I and U; content of M.
    new: Any = None
    #: Old values of U and D.
    old: Any = None


@dataclass
class Slot:
    """A logical slot and how far it was read."""

    connection: psycopg.Connection
    name: str
    publications: Sequence[str]

    def take(self) -> list[Seen]:
        """What came since the last look."""
        version = self.connection.info.server_version
        options = ["proto_version", "1", "publication_names", ",".join(self.publications)]
        options += ["messages", "true", "binary", "true"] if version >= 140_000 else []
        rows = self.connection.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, VARIADIC %s)",
            (self.name, options),
        ).fetchall()
        return [_seen(bytes(data)) for (data,) in rows]

    def rows(self) -> list[Seen]:
        """Only what changes rows."""
        return [one for one in self.take() if one.kind in "IUDT"]

    def messages(self, prefix: str) -> list[bytes]:
        """Contents of logical messages."""
        return [one.new for one in self.take() if one.kind == "M" and one.of == prefix]


@contextmanager
def slot_by_sql(connection: psycopg.Connection, publications: Sequence[str]) -> Iterator[Slot]:
    """A slot that is gone afterwards."""
    name = f"ngb_test_{secrets.token_hex(6)}"
    connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    try:
        yield Slot(connection, name, publications)
    finally:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, code: str) -> Any:
        (value,) = struct.unpack_from(f">{code}", self.data, self.at)
        self.at += struct.calcsize(f">{code}")
        return value

    def letter(self) -> str:
        return str(chr(self.take("B")))

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end].decode()
        self.at = end + 1
        return found

    def values(self) -> list[Any]:
        found: list[Any] = []
        for _ in range(self.take("h")):
            tag = self.letter()
            if tag in "nu":
                found.append(None if tag == "n" else "unchanged")
                continue
            size = self.take("i")
            found.append(self.data[self.at : self.at + size])
            self.at += size
        return found


def _seen(data: bytes) -> Seen:
    read = _Bytes(data)
    kind = read.letter()
    if kind == "B":
        read.at += 16
        return Seen(kind, read.take("I"))
    if kind == "R":
        return _relation(read)
    if kind in "IUD":
        return _change(kind, read)
    if kind == "T":
        count, _ = read.take("I"), read.take("B")
        return Seen(kind, [read.take("I") for _ in range(count)])
    if kind == "M":
        read.at += 9
        prefix = read.text()
        size = read.take("I")
        return Seen(kind, prefix, data[read.at : read.at + size])
    return Seen(kind)


def _relation(read: _Bytes) -> Seen:
    oid, schema, name = read.take("I"), read.text(), read.text()
    identity = read.letter()
    columns = []
    for _ in range(read.take("h")):
        in_key = bool(read.take("B"))
        columns.append((read.text(), read.take("I"), read.take("i"), in_key))
    return Seen("R", oid, columns, (schema, name, identity))


def _change(kind: str, read: _Bytes) -> Seen:
    seen = Seen(kind, read.take("I"))
    tag = read.letter()
    if tag in "KO":
        seen.old = read.values()
        if kind == "D":
            return seen
        tag = read.letter()
    assert tag == "N"
    seen.new = read.values()
    return seen
