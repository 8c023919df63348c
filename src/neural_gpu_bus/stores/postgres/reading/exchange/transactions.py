"""How a read's transaction begins and ends, as messages of one round trip; pure."""

from __future__ import annotations

import re

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.connections.connection import CLEAN_UP

#: Ends the transaction and cleans the session up. After a refusal COMMIT rolls back.
END = b"COMMIT; " + CLEAN_UP

#: Ends it after a statement that cannot have left anything in the session.
COMMIT = b"; COMMIT"

_SNAPSHOT = re.compile(r"[0-9A-Fa-f]{1,16}(?:-[0-9A-Fa-f]{1,16}){1,3}")


def begin(
    *,
    limit_ms: int,
    settings: bytes = b"",
    snapshot: str | None = None,
    read_only: bool = False,
) -> bytes:
    """Statements that begin a transaction: ``settings`` as SET LOCAL, on a ``snapshot`` that
    another one exported. ``limit_ms``: of each of its statements, 0 for none.

    Raises BadParameterError for what can be no snapshot's id.
    """
    kind = b" READ ONLY" if read_only else b""
    if snapshot is not None:
        kind = b" ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '%s'" % (
            checked_snapshot(snapshot).encode()
        )
    return b"BEGIN%s; %s%s" % (kind, _limits(limit_ms), settings)


def begin_export(*, limit_ms: int, settings: bytes = b"") -> bytes:
    """The same for a transaction whose snapshot is its own, to be exported; it is not taken yet."""
    return b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; %s%s" % (_limits(limit_ms), settings)


def _limits(limit_ms: int) -> bytes:
    """A wait for a lock ends before the statement's time: the server then names the table."""
    lock_ms = max(1, limit_ms * 9 // 10) if limit_ms else 0
    return b"SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; " % (limit_ms, lock_ms)


def checked_snapshot(snapshot: str) -> str:
    """The id, if it may be one. Raises BadParameterError."""
    if not isinstance(snapshot, str) or not _SNAPSHOT.fullmatch(snapshot):
        raise BadParameterError(
            f"snapshot {snapshot!r} is no snapshot's id",
            hint="give what plane.snapshot() returned, or the text of pg_export_snapshot()",
            parameter="snapshot",
        )
    return snapshot
