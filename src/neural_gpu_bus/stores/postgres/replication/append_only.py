"""Whether rows of a table that should only grow were updated or deleted, as the server counts.

Its publication does not send them, so that the producer needs no replica identity. The server's
counts come late, up to ten seconds after the transaction, and count what was rolled back too.
"""

from __future__ import annotations

import msgspec
import psycopg

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from neural_gpu_bus.stores.postgres.replication.told import address_of


class ChangeCounts(msgspec.Struct, frozen=True):
    """Rows updated and deleted since the server began to count."""

    updated: int
    deleted: int
    #: When the counts of the database were set back, as the server writes it.
    since: str

    def changed_since(self, before: ChangeCounts) -> str:
        """What happened since, in words; empty for nothing. Counts that were set back in between
        say nothing, which is said.
        """
        if self.since != before.since or self.updated < before.updated:
            return "the server's counts were set back: updates may have been missed"
        if self.deleted < before.deleted:
            return "the server's counts were set back: deletes may have been missed"
        updated, deleted = self.updated - before.updated, self.deleted - before.deleted
        if not updated and not deleted:
            return ""
        return (
            f"{updated:,} rows were updated and {deleted:,} deleted (or rolled back) in a table "
            "that is append_only"
        )


_COUNTS_SQL = b"""
SELECT coalesce(sum(s.n_tup_upd), 0)::int8, coalesce(sum(s.n_tup_del), 0)::int8,
  coalesce((SELECT stats_reset::text FROM pg_stat_database
            WHERE datname = current_database()), '')
FROM pg_stat_all_tables s WHERE s.relid = ANY(%s::oid[])
"""


def change_counts(connection: psycopg.Connection, shape: TableShape) -> ChangeCounts:
    """As of now, of the table or of all its leaves. Not inside of a transaction: there the server
    shows the same counts again.
    """
    with translated(address_of(connection)):
        row = connection.execute(_COUNTS_SQL, (list(shape.stream_oids),)).fetchone()
    assert row is not None  # noqa: S101  (an aggregate has one row)
    return ChangeCounts(*row)
