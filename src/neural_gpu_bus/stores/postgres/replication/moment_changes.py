"""Whether a copy is still what the stream goes on from: one look at the catalog."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.replication.publications import (
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
    if not reason and before.membership is not None:
        if now is None:
            reason = f"somebody took it out of publication {before.membership.publication}"
        elif now.token != before.membership.token and not _only_more(now.token, before):
            reason = f"publication {now.publication} was altered, or the table put in anew"
        elif now.lacking:
            reason = now.lacking
    return shape, reason


def _only_more(token: str, before: SnapshotMoment) -> bool:
    """Whether the same entries are there, and others of partitions that came since."""
    assert before.membership is not None  # noqa: S101  (its caller has looked)
    return set(before.membership.token.split(",")) <= set(token.split(","))
