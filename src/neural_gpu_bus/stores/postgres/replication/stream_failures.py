"""What the server's refusals mean for a stream of changes, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from neural_gpu_bus.errors import NeuralGpuBusError, ReplicationError
from neural_gpu_bus.stores.postgres.connections.connection import SERVER, failure_from
from neural_gpu_bus.stores.postgres.wire.messages import Refusal

#: Part of the server's message, and the way out; the first match wins. Their SQLSTATEs are shared
#: by several.
_WAYS_OUT = (
    (
        "is active for pid",
        "another process reads this slot: end it (SELECT pg_terminate_backend(active_pid) FROM "
        "pg_replication_slots), or use a slot of another name",
    ),
    (
        "all replication slots are in use",
        "drop a slot that nobody uses, or raise max_replication_slots and restart the server",
    ),
    ("replication slot name", "use lower-case letters, digits and _ alone, at most 63"),
    ("already exists", "drop the slot (SELECT pg_drop_replication_slot(...)), or use another name"),
    (
        "has already been removed",
        "the server dropped the log that this slot needs (max_slot_wal_keep_size): make the slot "
        "anew and copy its tables again",
    ),
    ("replication slot", "make the slot anew: its tables have to be copied again"),
    (
        "publication",
        "make the publication again (CREATE PUBLICATION), and copy its tables again: what "
        "was changed meanwhile is not in the stream",
    ),
    ("wal_level", "set wal_level = logical in the server's configuration and restart it"),
    ("max_wal_senders", "raise max_wal_senders on the server and restart it, or end other streams"),
    ("permission denied", "give the role the right to replicate: ALTER ROLE ... REPLICATION"),
)

_NOT_IN_PREREQUISITE_STATE = "55000"

#: Refusals of a statement, of an object's state and of limits: here they are a stream's.
_OF_THE_STREAM = ("42", "55", "53400", "58P01", "0A", "22", "XX")
#: Data exceptions: nothing but a filter computes while the server decodes; 22023 is of an option.
_DATA = "22"


def stream_failure(refusal: Refusal, address: str, *, slot: str = "") -> NeuralGpuBusError:
    """Our error for what the server said."""
    sqlstate, text = refusal.sqlstate or None, refusal.message
    if sqlstate is None or not sqlstate.startswith(_OF_THE_STREAM):
        return failure_from(
            sqlstate, text, address, detail=refusal.detail or None, hint=refusal.hint or None
        )
    if sqlstate.startswith(_DATA) and sqlstate != "22023":
        return ReplicationError(
            f"a row filter (where=) of a live table at {address} fails for a row: {text}",
            hint="mend the filter or the row: its table fails and says so, the others go on",
            server=SERVER,
            sqlstate=sqlstate,
            slot=slot,
        )
    detail = f" ({refusal.detail})" if refusal.detail else ""
    return ReplicationError(
        f"{SERVER} at {address} does not stream changes: {text}{detail}",
        hint=_way_out(text) or refusal.hint or "see the server's log",
        server=SERVER,
        sqlstate=sqlstate,
        slot=slot,
    )


def leaves_out(sqlstate: str) -> bool:
    """Whether a notice within a stream says that changes are left out of it: from version 18 on the
    server goes on without a publication that is gone, and warns.
    """
    return sqlstate == _NOT_IN_PREREQUISITE_STATE


def _way_out(text: str) -> str:
    lowered = text.lower()
    return next((way for part, way in _WAYS_OUT if part in lowered), "")


def stream_ended(address: str, why: str) -> NeuralGpuBusError:
    """The connection broke, or the server ended it without an error."""
    return failure_from(None, why, address)


@contextmanager
def stream_translated(address: str, *, slot: str = "") -> Iterator[None]:
    """Turn psycopg's errors, and ours for a refused statement, into a stream's."""
    try:
        yield
    except psycopg.Error as error:
        diag = error.diag
        text = diag.message_primary or " ".join(str(error).split())
        found = Refusal(
            error.sqlstate or "", text, diag.message_detail or "", diag.message_hint or "", ""
        )
        raise stream_failure(found, address, slot=slot) from error
