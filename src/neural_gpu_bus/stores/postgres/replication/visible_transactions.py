"""Which transactions a snapshot sees, and which bound a stream's ones must pass; pure."""

from __future__ import annotations

import re

import msgspec

from neural_gpu_bus.errors import ProtocolError

_SNAPSHOT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)")
_XID32 = 1 << 32
_HALF = 1 << 31


class VisibleTransactions(msgspec.Struct, frozen=True):
    """What ``pg_current_snapshot()`` said: transactions as 64-bit numbers, which never come back.

    Below ``xmin`` all had ended, from ``xmax`` on none had begun; ``running`` had not ended. They
    are top-level transactions, as the stream's are.
    """

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> VisibleTransactions:
        """``xmin:xmax:xip,...``. Raises ProtocolError."""
        found = _SNAPSHOT.fullmatch(text)
        if found is not None:
            xmin, xmax = int(found[1]), int(found[2])
            running = frozenset(int(one) for one in found[3].split(",") if one)
            if xmin <= xmax and all(xmin <= one < xmax for one in running):
                return cls(xmin, xmax, running)
        raise ProtocolError(
            f"{text[:200]!r} is no snapshot",
            hint="pg_current_snapshot() writes xmin:xmax:running,running",
            position=0,
        )

    def full(self, xid32: int) -> int:
        """The 64-bit number of a transaction of the stream, which has the lower half: the one
        nearest to the snapshot, because no two that live are 2**31 apart (PostgreSQL manual,
        "Preventing Transaction ID Wraparound Failures").
        """
        distance = (xid32 - self.xmax) % _XID32
        return self.xmax + (distance if distance < _HALF else distance - _XID32)

    def sees(self, xid32: int) -> bool:
        """Whether the snapshot has what that transaction committed."""
        xid = self.full(xid32)
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)

    def waited_by(self, later: VisibleTransactions) -> frozenset[int]:
        """Those of ``running`` that still ran in a later look."""
        return frozenset(one for one in self.running if one in later.running)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"
