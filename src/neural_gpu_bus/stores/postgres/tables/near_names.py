"""A missing table's hint: the tables there are with a name much like it."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress

import psycopg

from neural_gpu_bus.errors import QueryError

UNDEFINED_TABLE = "42P01"

#: Tables looked through; a database with more gets no suggestion from the rest.
_TABLES_SQL = """
SELECT n.nspname || '.' || c.relname, c.relname, pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f')
AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') LIMIT 10000
"""


def with_near_tables(connection: psycopg.Connection, error: QueryError) -> QueryError:
    """The same error, naming like tables where the server missed one and says nothing itself."""
    missing = re.search(r'"([^"]+)"', error.what)
    if error.facts.get("sqlstate") != UNDEFINED_TABLE or missing is None or connection.closed:
        return error
    names: dict[str, str] = {}
    with suppress(psycopg.Error):
        for full, short, visible in connection.execute(_TABLES_SQL):
            names[full] = full
            names.setdefault(short, short if visible else full)
    near = difflib.get_close_matches(missing[1], names, n=3)
    if not near:
        return error
    suggestions = ", ".join(dict.fromkeys(names[name] for name in near))
    return QueryError(error.what, hint=f"there is: {suggestions}", **error.facts)
