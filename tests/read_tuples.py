"""Tuples of changes, read one value after the other."""

from __future__ import annotations

import struct
from typing import Literal

from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges

Read = list[bytes | str | None]


def tuples(changes: object, which: Literal["new", "old"]) -> list[Read | None]:
    """Of each change: bytes as they were sent; ``u`` where a value was not, None for NULL."""
    assert isinstance(changes, RowChanges)
    places = changes.new_at if which == "new" else changes.old_at
    stream = memoryview(changes.buffer)
    return [None if at < 0 else _tuple(stream, at) for at in places.tolist()]


def _tuple(stream: memoryview, at: int) -> Read:
    (count,) = struct.unpack_from("!h", stream, at)
    at, found = at + 2, []
    for _ in range(count):
        letter = chr(stream[at])
        at += 1
        if letter in "bt":
            (length,) = struct.unpack_from("!i", stream, at)
            found.append(bytes(stream[at + 4 : at + 4 + length]))
            at += 4 + length
        else:
            found.append(None if letter == "n" else letter)
    return found
