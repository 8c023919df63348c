"""Everything that a home has on the server for its stream, taken off it."""

from __future__ import annotations

import psycopg

from neural_gpu_bus.stores.postgres.replication import ddl_trigger
from neural_gpu_bus.stores.postgres.replication.publications import (
    drop_publications,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.slots import (
    drop_slot,
    end_zombies,
    persistent_slot,
)
from neural_gpu_bus.stores.postgres.replication.told import Waits


def take_off(connection: psycopg.Connection, home: str, *, limit_s: float) -> bool:
    """Slots, publications, event triggers; the caller holds the home's own lock. False where the
    triggers' function waits for old transactions to end: again, later.

    Raises ReplicationRefusedError where somebody else reads its slot, ServerError's kinds.
    """
    # Temporary slots end with their sessions, of which a dead process may have left some.
    end_zombies(connection, home, own_pids=(), waits=Waits(limit_s=limit_s))
    drop_slot(connection, persistent_slot(home))
    drop_publications(connection, publication_names(home))
    ddl_trigger.remove(connection)
    return not ddl_trigger.is_left(connection)
