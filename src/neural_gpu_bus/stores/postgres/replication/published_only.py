"""Tables that nothing is live of are published no more, whoever left them there."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.publications import PublicationNames, drop_others
from neural_gpu_bus.stores.postgres.replication.told import address_of
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

#: Without a schema the search path decides. One statement for all: a home may have hundreds.
_OIDS_SQL = b"""
SELECT CASE WHEN w.schema IS NULL THEN to_regclass(w.quoted)::oid ELSE c.oid END::int8
FROM unnest(%s::text[], %s::text[], %s::text[]) w(schema, name, quoted)
LEFT JOIN pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
"""


def publish_only(
    connection: psycopg.Connection, names: PublicationNames, wanted: Collection[str]
) -> None:
    """Take all tables but those of these names out of a home's publications.

    Raises QueryTimeoutError where one of them is locked, QueryError where the role may not.
    """
    parsed = [parse_table_name(table) for table in wanted]
    lists = (
        [one.schema for one in parsed],
        [one.name for one in parsed],
        [one.identifier.as_string(None) for one in parsed],
    )
    with translated(address_of(connection)):
        found = connection.execute(_OIDS_SQL, lists).fetchall()
    drop_others(connection, names, {oid for (oid,) in found if oid})
