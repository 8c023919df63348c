# A message has many kinds.
# ruff: noqa: PLR0912
"""The plain twin of the walk over a replication stream: one message after the other, with slices
and ``struct``. Slow, and to be read beside the protocol's manual.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

#: Columns of a tuple: letter and bytes.
Tuple = list[tuple[str, bytes]]


class MalformedError(Exception):
    """The bytes are no stream."""


@dataclass
class PlainTransaction:
    """``events``: changes as letter, relation, new, old's letter, old; others as letter, body."""

    xid: int
    final_lsn: int
    end_lsn: int = 0
    events: list[Any] = field(default_factory=list)


@dataclass
class PlainStream:
    """What a stream holds: whole transactions, the last safe keepalive, messages outside."""

    transactions: list[PlainTransaction] = field(default_factory=list)
    keepalive_lsn: int = 0
    messages: list[bytes] = field(default_factory=list)


class _Reader:
    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.body):
            raise MalformedError(f"{count} bytes at {self.at}")
        self.at += count
        return self.body[self.at - count : self.at]

    def number(self, code: str) -> int:
        (value,) = struct.unpack("!" + code, self.take(struct.calcsize("!" + code)))
        return int(value)

    def tuple(self) -> Tuple:
        count = self.number("h")
        if count < 0:
            raise MalformedError("columns")
        found = []
        for _ in range(count):
            letter = self.take(1)
            if letter in (b"b", b"t"):
                found.append((letter.decode(), self.take(self.number("i"))))
            elif letter in (b"n", b"u"):
                found.append((letter.decode(), b""))
            else:
                raise MalformedError("letter")
        return found

    def end(self) -> None:
        if self.at != len(self.body):
            raise MalformedError("more bytes")


def plain_stream(stream: bytes) -> PlainStream:
    """All whole transactions. Raises MalformedError."""
    found, at, open_ = PlainStream(), 0, None
    while len(stream) - at >= 5 and stream[at : at + 1] == b"d":
        (length,) = struct.unpack_from("!i", stream, at + 1)
        if not 5 <= length <= 1 << 30:
            raise MalformedError("length")
        if at + 1 + length > len(stream):
            break
        open_ = _take(found, _Reader(stream[at + 5 : at + 1 + length]), open_)
        at += 1 + length
    return found


def _take(
    found: PlainStream, reader: _Reader, open_: PlainTransaction | None
) -> PlainTransaction | None:
    content = reader.take(1)
    if content == b"k":
        lsn, _, reply = reader.number("q"), reader.take(8), reader.take(1)
        reader.end()
        if reply not in (b"\0", b"\1"):
            raise MalformedError("reply")
        if open_ is None:
            found.keepalive_lsn = lsn
        return open_
    if content != b"w":
        raise MalformedError("content")
    reader.take(24)
    letter = reader.take(1)
    if letter == b"B":
        if open_ is not None:
            raise MalformedError("nested")
        final_lsn, _, xid = reader.number("q"), reader.take(8), reader.number("I")
        reader.end()
        return PlainTransaction(xid, final_lsn)
    if letter == b"M":
        if open_ is None:
            found.messages.append(reader.body[reader.at :])
        else:
            open_.events.append(("M", reader.body[reader.at :]))
        return open_
    if open_ is None:
        raise MalformedError("outside")
    if letter == b"C":
        if reader.take(1) != b"\0":
            raise MalformedError("flags")
        commit_lsn, open_.end_lsn, _ = reader.number("q"), reader.number("q"), reader.take(8)
        reader.end()
        if commit_lsn != open_.final_lsn:
            raise MalformedError("another commit")
        found.transactions.append(open_)
        return None
    if letter in (b"I", b"U", b"D"):
        open_.events.append(_change(letter.decode(), reader))
    elif letter in (b"R", b"Y", b"O", b"T"):
        open_.events.append((letter.decode(), reader.body[reader.at :]))
    else:
        raise MalformedError("message")
    return open_


def _change(letter: str, reader: _Reader) -> tuple[Any, ...]:
    oid, new, old, old_letter = reader.number("I"), None, None, ""
    part = reader.take(1)
    if letter != "I" and part in (b"K", b"O"):
        old_letter, old = part.decode(), reader.tuple()
        part = reader.take(1) if letter == "U" else b""
    if letter != "D":
        if part != b"N":
            raise MalformedError("part")
        new = reader.tuple()
    elif old is None:
        raise MalformedError("part")
    reader.end()
    return letter, oid, new, old_letter, old
