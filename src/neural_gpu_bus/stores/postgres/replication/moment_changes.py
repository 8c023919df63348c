"""Whether a copy is still what the stream goes on from: one look at the catalog."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.replication.publications import (
    Membership,
    PublicationNames,
    membership_of,
    memberships,
)
from neural_gpu_bus.stores.postgres.replication.shape_changes import MadeLeaf, copy_reason
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import SnapshotMoment
from neural_gpu_bus.stores.postgres.replication.table_catalog import one_look, read_shape
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape


def look_again(
    connection: psycopg.Connection,
    table: str,
    names: PublicationNames,
    before: SnapshotMoment,
    columns: Collection[str] | None = None,
    *,
    made: Collection[MadeLeaf] = (),
) -> tuple[TableShape | None, str]:
    """The table as it is now, and why it has to be copied anew since ``before``: empty where it
    has not. Take the shape on then: partitions that were made are in it, and rewrites that did
    no harm. None for the shape: the name leads to nothing that can be live.

    Raises what a lost connection does; a table that is gone is a reason.
    """
    with one_look(connection):
        try:
            shape = read_shape(connection, table)
        except QueryError as error:
            return None, error.what
        now = membership_of(memberships(connection, names), shape)
    reason = copy_reason(before.shape, shape, columns, made=made)
    return shape, reason or unpublished(before.membership, now)


def unpublished(before: Membership | None, now: Membership | None) -> str:
    """Why changes may not have been sent since ``before``; empty where all were."""
    if before is None:
        return "it was not published when it was copied"
    if now is None:
        return f"somebody took it out of publication {before.publication}"
    # Entries of partitions that came since may be more.
    if not set(before.token.split(",")) <= set(now.token.split(",")):
        return f"publication {now.publication} was altered, or the table put in anew"
    return now.lacking
