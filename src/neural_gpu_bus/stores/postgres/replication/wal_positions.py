"""Positions in the write-ahead log as numbers and as PostgreSQL writes them; whose log it is."""

from __future__ import annotations

import re

import msgspec

from neural_gpu_bus.errors import ProtocolError

#: No position; what a status says of one that is not known, and a start at the slot's own.
NO_LSN = 0

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")

#: Microseconds from 1970-01-01 to 2000-01-01, from where PostgreSQL counts.
EPOCH_US = 946_684_800_000_000


class TimelineIdentity(msgspec.Struct, frozen=True):
    """Which server's log a stream is read from. Another ``system_id`` or ``timeline`` is another
    log: a position of one says nothing in the other.
    """

    #: Made by initdb, the same on a primary and its standbys.
    system_id: str
    #: Grows by one when a standby is promoted or a backup is restored to an earlier point.
    timeline: int
    #: How far the log is flushed at this moment.
    flushed_lsn: int
    database: str


def lsn_text(lsn: int) -> str:
    """``16/B374D848``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_of(text: str) -> int:
    """The number of ``16/B374D848``. Raises ProtocolError."""
    found = _LSN.fullmatch(text)
    if found is None:
        raise ProtocolError(
            f"{text[:40]!r} is no position in PostgreSQL's log",
            hint="write it as PostgreSQL does, two hexadecimal numbers: 16/B374D848",
            position=0,
        )
    return int(found[1], 16) << 32 | int(found[2], 16)


def unix_ns(postgres_us: int) -> int:
    """Nanoseconds since 1970 of PostgreSQL's microseconds since 2000."""
    return (postgres_us + EPOCH_US) * 1000
