"""The facts, asked from the catalog in a few queries; nothing is changed."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import Any

import psycopg
from psycopg.rows import dict_row

from neural_gpu_bus.stores.postgres.advice.facts import (
    CatalogFacts,
    ColumnFacts,
    IndexFacts,
    SessionFacts,
    TableFacts,
)
from neural_gpu_bus.stores.postgres.connections.connection import APPLICATION_NAME, translated

#: Sizes of tables wait for whoever changes one (DDL) and would wait for ever.
TIMEOUT_MS = 10_000
#: The largest; nobody reads advice on more.
TABLES_MAX = 200

SETTINGS = (
    "shared_buffers", "work_mem", "effective_cache_size", "hash_mem_multiplier", "random_page_cost",
    "max_connections", "jit", "fsync", "full_page_writes", "autovacuum", "track_io_timing",
    "synchronous_commit", "wal_level", "max_replication_slots", "max_wal_senders",
    "max_slot_wal_keep_size",
)  # fmt: skip

#: Sizes in bytes, whatever unit the server keeps them in.
_SETTINGS_SQL = """
SELECT name, CASE WHEN unit IN ('B', 'kB', '8kB', '16kB', '32kB', 'MB') AND setting <> '-1'
                  THEN (setting::numeric * pg_size_bytes(CASE WHEN unit ~ '^[0-9]' THEN unit
                                                              ELSE '1' || unit END))::int8::text
                  ELSE setting END
FROM pg_settings WHERE name = ANY(%s)
"""

_SESSION_SQL = """
SELECT current_user AS "user", current_database() AS database,
       current_setting('server_encoding') AS server_encoding,
       pg_is_in_recovery() AS in_recovery,
       has_database_privilege(current_database(), 'TEMPORARY') AS can_temporary,
       CASE WHEN to_regnamespace('ngb_ledger') IS NULL
            THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('ngb_ledger', 'USAGE, CREATE') END AS can_ledger,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
           AS can_replicate,
       -- Who may not see others' sessions sees NULL for their kind.
       (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL
        AND coalesce(backend_type, 'client backend') = 'client backend')::int4 AS connections,
       (SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND pid <>
           pg_backend_pid())::int4 AS connections_ours,
       (SELECT count(*) FROM pg_replication_slots)::int4 AS slots,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender')::int4
           AS wal_senders,
       pg_jit_available() AS is_jit_available,
       CASE WHEN has_database_privilege(current_database(), 'CONNECT')
            THEN pg_database_size(current_database()) ELSE 0 END AS database_bytes
"""

_TABLES_SQL = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS is_partitioned,
       c.reltuples::float8 AS rows, c.relpages AS pages_estimated,
       c.relallvisible AS pages_visible,
       coalesce(CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid)
                          / current_setting('block_size')::int8 END, 0) AS pages,
       coalesce(s.n_dead_tup, 0) AS rows_dead,
       coalesce(s.last_analyze, s.last_autoanalyze) IS NOT NULL AS was_analysed,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS can_select
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'ngb_ledger')
ORDER BY greatest(c.relpages, pg_relation_size(c.oid) / 8192) DESC, n.nspname, c.relname
"""

_COLUMNS_SQL = """
SELECT a.attrelid, a.attname AS name, format_type(a.atttypid, NULL) AS type,
       a.attlen::int4 AS fixed_bytes, a.attnotnull AS not_null, s.avg_width AS average_bytes,
       s.n_distinct::float8 AS distinct
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
                    AND s.attname = a.attname AND s.inherited = (c.relkind = 'p')
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_INDEXES_SQL = """
SELECT i.indrelid, c.relname AS name, m.amname AS method, i.indisunique AS is_unique,
       i.indisprimary AS is_primary, i.indpred IS NOT NULL AS is_partial,
       i.indisvalid AS is_valid, i.indnkeyatts::int4 AS keys,
       (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number) AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = ANY(%s)
ORDER BY i.indrelid, c.relname
"""


def catalog_facts(connection: psycopg.Connection, address: str) -> CatalogFacts:
    """Ask an idle connection; errors as ``connection.translated`` has them."""
    with translated(address), connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}".encode())
        found = connection.execute(_SETTINGS_SQL, [list(SETTINGS)]).fetchall()
        settings: dict[str, str] = dict(found)
        session = _session(connection)
        tables, unseen = _tables(connection)
    return CatalogFacts(connection.info.server_version, session, settings, tables, unseen)


def _session(connection: psycopg.Connection) -> SessionFacts:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_SESSION_SQL, [APPLICATION_NAME]).fetchone()
        answering = cursor.execute("SELECT pg_backend_pid() AS pid").fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    assert answering is not None  # noqa: S101
    row["can_replicate"] = bool(row["can_replicate"])
    return SessionFacts(
        **row,
        is_tls=connection.pgconn.ssl_in_use,
        is_local=_is_local(connection.info.host, connection.info.hostaddr),
        sslmode=connection.info.get_parameters().get("sslmode", "prefer"),
        # A pooler tells clients a process of its own invention.
        is_pooled=answering["pid"] != connection.info.backend_pid,
    )


def shares_process(first: psycopg.Connection, second: psycopg.Connection, address: str) -> bool:
    """Whether a server process serves both while neither is in a transaction: then a pooler hands
    them out by transaction.
    """
    found = []
    for one in (first, second):
        with translated(address):
            row = one.execute("SELECT pg_backend_pid()").fetchone()
        found.append(row)
    return found[0] == found[1]


def _is_local(host: str, address: str) -> bool:
    """libpq's own address where it knows one; a socket's folder begins with a slash."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or host).is_loopback
    except ValueError:
        return False


def _tables(connection: psycopg.Connection) -> tuple[tuple[TableFacts, ...], int]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_TABLES_SQL).fetchall()
        chosen = rows[:TABLES_MAX]
        oids = [row["oid"] for row in chosen]
        columns = _grouped(cursor.execute(_COLUMNS_SQL, [oids]).fetchall(), "attrelid")
        indexes = _grouped(cursor.execute(_INDEXES_SQL, [oids]).fetchall(), "indrelid")
    tables = tuple(
        TableFacts(
            **{name: value for name, value in row.items() if name != "oid"},
            columns=tuple(ColumnFacts(**column) for column in columns[row["oid"]]),
            indexes=tuple(_index(index) for index in indexes[row["oid"]]),
        )
        for row in chosen
    )
    return tables, len(rows) - len(chosen)


def _index(row: dict[str, Any]) -> IndexFacts:
    keys, columns = row.pop("keys"), row.pop("columns")
    return IndexFacts(**row, key=tuple(columns[:keys]), included=tuple(columns[keys:]))


def _grouped(rows: list[dict[str, Any]], by: str) -> dict[int, list[dict[str, Any]]]:
    """Rows of each table, without the column that says which."""
    groups: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row.pop(by)].append(row)
    return groups
