"""Messages of ``pgoutput`` that are no changes of rows: pure, bytes to records.

Source: PostgreSQL manual, "Logical Replication Message Formats", protocol version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

import msgspec

from neural_gpu_bus.errors import ProtocolError

BEGIN, COMMIT, ORIGIN = ord("B"), ord("C"), ord("O")
RELATION, TYPE, TRUNCATE, MESSAGE = ord("R"), ord("Y"), ord("T"), ord("M")
INSERT, UPDATE, DELETE = ord("I"), ord("U"), ord("D")

#: Letters of a replica identity: default (primary key), nothing, all columns, an index.
IDENTITIES = frozenset("dnfi")

_COLUMN = struct.Struct("!Ii")
_TRUNCATE = struct.Struct("!IB")
_MESSAGE = struct.Struct("!BQ")
_SHORT, _LONG, _LSN = struct.Struct("!h"), struct.Struct("!I"), struct.Struct("!Q")

_CASCADE, _RESTART = 1, 2
_TRANSACTIONAL = 1

Read = TypeVar("Read")


class RelationColumn(msgspec.Struct, frozen=True):
    """One column as the stream describes it; of generated ones those that are published."""

    name: str
    type_oid: int
    #: ``pg_attribute.atttypmod``; -1 for none.
    modifier: int
    #: Whether it is part of the replica identity.
    in_key: bool


class Relation(msgspec.Struct, frozen=True):
    """A table as the stream describes it, before its first change and after each that matters."""

    oid: int
    schema: str
    name: str
    #: Replica identity: ``d`` default, ``n`` nothing, ``f`` all columns, ``i`` an index.
    identity: str
    columns: tuple[RelationColumn, ...]


class Truncated(msgspec.Struct, frozen=True):
    """Tables that are empty from here on."""

    relations: tuple[int, ...]
    cascade: bool
    restart: bool


class LogicalMessage(msgspec.Struct, frozen=True):
    """What ``pg_logical_emit_message`` wrote."""

    prefix: str
    content: bytes
    lsn: int
    transactional: bool


class Origin(msgspec.Struct, frozen=True):
    """The transaction was replicated to this server from another."""

    lsn: int
    name: str


class NamedType(msgspec.Struct, frozen=True):
    """The name of a type that is not built in."""

    oid: int
    schema: str
    name: str


def read_relation(body: bytes) -> Relation:
    """``body``: of all these functions, the message behind its tag. Raises ProtocolError."""
    return _read("Relation", body, _relation)


def read_truncate(body: bytes) -> Truncated:
    """Emptied tables. Raises ProtocolError."""
    return _read("Truncate", body, _truncate)


def read_message(body: bytes) -> LogicalMessage:
    """A logical message. Raises ProtocolError."""
    return _read("Message", body, _message)


def read_origin(body: bytes) -> Origin:
    """Where a transaction comes from. Raises ProtocolError."""
    return _read("Origin", body, _origin)


def read_type(body: bytes) -> NamedType:
    """A type's name. Raises ProtocolError."""
    return _read("Type", body, _type)


def _read(kind: str, body: bytes, reader: Callable[[bytes], tuple[Read, int]]) -> Read:
    try:
        found, end = reader(body)
    except (struct.error, ValueError) as error:
        raise _malformed(kind, body, str(error)) from error
    if end != len(body):
        raise _malformed(kind, body, f"{len(body) - end} bytes follow its end")
    return found


def _malformed(kind: str, body: bytes, why: str) -> ProtocolError:
    return ProtocolError(
        f"a {kind} message of {len(body)} bytes cannot be read: {why}",
        hint="check what stands between this machine and the server",
        position=0,
    )


def _relation(body: bytes) -> tuple[Relation, int]:
    (oid,) = _LONG.unpack_from(body)
    schema, at = _text(body, _LONG.size)
    name, at = _text(body, at)
    identity = chr(body[at]) if at < len(body) else ""
    if identity not in IDENTITIES:
        raise ValueError(f"no replica identity is called {identity!r}")
    (count,) = _SHORT.unpack_from(body, at + 1)
    if count < 0:
        raise ValueError(f"{count} columns")
    columns, at = [], at + 1 + _SHORT.size
    for _ in range(count):
        if at >= len(body) or body[at] > 1:
            raise ValueError(f"a column has no flags at byte {at}")
        in_key = body[at] == 1
        column, at = _text(body, at + 1)
        type_oid, modifier = _COLUMN.unpack_from(body, at)
        columns.append(RelationColumn(column, type_oid, modifier, in_key))
        at += _COLUMN.size
    # The catalogue's own schema is sent as an empty name.
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)), at


def _truncate(body: bytes) -> tuple[Truncated, int]:
    count, options = _TRUNCATE.unpack_from(body)
    if options & ~(_CASCADE | _RESTART):
        raise ValueError(f"options {options} that nobody defined")
    if count * _LONG.size != len(body) - _TRUNCATE.size:
        raise ValueError(f"{count} tables are announced")
    oids = struct.unpack_from(f"!{count}I", body, _TRUNCATE.size)
    return Truncated(oids, bool(options & _CASCADE), bool(options & _RESTART)), len(body)


def _message(body: bytes) -> tuple[LogicalMessage, int]:
    flags, lsn = _MESSAGE.unpack_from(body)
    if flags > _TRANSACTIONAL:
        raise ValueError(f"flags {flags} that nobody defined")
    prefix, at = _text(body, _MESSAGE.size)
    (size,) = _LONG.unpack_from(body, at)
    at += _LONG.size
    if size > len(body) - at:
        raise ValueError(f"{size} bytes are announced")
    content = bytes(body[at : at + size])
    return LogicalMessage(prefix, content, lsn, flags == _TRANSACTIONAL), at + size


def _origin(body: bytes) -> tuple[Origin, int]:
    (lsn,) = _LSN.unpack_from(body)
    name, at = _text(body, _LSN.size)
    return Origin(lsn, name), at


def _type(body: bytes) -> tuple[NamedType, int]:
    (oid,) = _LONG.unpack_from(body)
    schema, at = _text(body, _LONG.size)
    name, at = _text(body, at)
    return NamedType(oid, schema or "pg_catalog", name), at


def _text(body: bytes, at: int) -> tuple[str, int]:
    """A text that ends with a zero byte, and where what follows begins."""
    end = body.index(b"\x00", at)
    return body[at:end].decode(), end + 1
