"""Which tables may have another definition than at the last look: one statement for all of them.

A whole look at one table takes ten milliseconds of the server; a hundred tables, once a second,
would keep it busy. Rows of the catalog have another ``xmin`` whenever they were written: a token
over those that make up a table is enough to know that nothing happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psycopg

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.publications import PublicationNames
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from neural_gpu_bus.stores.postgres.replication.told import address_of
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

#: Each table is looked at anyway after this: a token does not show what rights a role has.
WHOLE_LOOK_S = 60.0

_TOKENS_SQL = b"""
WITH RECURSIVE found AS (
  SELECT w.place, CASE WHEN w.schema = '' THEN to_regclass(quote_ident(w.name))::oid ELSE (
      SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = w.schema AND c.relname = w.name) END AS root
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY w(schema, name, place)
), tree(place, oid, attached) AS (
  SELECT place, root, '' FROM found WHERE root IS NOT NULL
  UNION ALL
  SELECT t.place, i.inhrelid, i.xmin::text || i.inhdetachpending::text
  FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
)
SELECT t.place::int4, md5(string_agg(concat_ws(',',
    t.oid, t.attached, c.relkind, c.relpersistence, c.relfilenode, c.relreplident,
    c.relrowsecurity, c.relforcerowsecurity, c.relowner, a.many, a.altered, x.altered
  ), ' ' ORDER BY t.oid))
FROM tree t JOIN pg_class c ON c.oid = t.oid
CROSS JOIN LATERAL (SELECT count(*) AS many, sum(xmin::text::int8) AS altered FROM pg_attribute
                    WHERE attrelid = t.oid AND attnum > 0) a
CROSS JOIN LATERAL (SELECT string_agg(concat(indexrelid, '.', xmin), '+' ORDER BY indexrelid)
                    AS altered FROM pg_index WHERE indrelid = t.oid) x
GROUP BY t.place
"""

#: What belongs to no single table: of any of them, or of publications, and all are looked at.
_SHARED_SQL = b"""
SELECT concat_ws(' ',
  (SELECT concat(count(*), '.', sum(xmin::text::int8)) FROM pg_enum WHERE enumtypid = ANY(%s)),
  (SELECT concat(count(*), '.', sum(a.xmin::text::int8)) FROM pg_type t
   JOIN pg_attribute a ON a.attrelid = t.typrelid WHERE t.oid = ANY(%s) AND t.typrelid <> 0),
  (SELECT string_agg(concat(p.oid, '.', p.xmin), '+' ORDER BY p.oid)
   FROM pg_publication p WHERE p.pubname = ANY(%s)),
  (SELECT concat(count(*), '.', sum(r.xmin::text::int8), '.', sum(r.oid::int8))
   FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
   WHERE p.pubname = ANY(%s)))
"""


class CatalogTokens:
    """Those of the last look, by the table's name. One thread."""

    def __init__(
        self, names: PublicationNames, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = names
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def changed(
        self, connection: psycopg.Connection, shapes: Mapping[str, TableShape]
    ) -> tuple[str, ...]:
        """Tables, by name, that ``look_again`` is due for: those that are new here, that changed
        since they were returned the last time, and each one after ``WHOLE_LOOK_S``.

        What changes between this and that look is found by the next.
        """
        tokens, now_s = self._tokens(connection, shapes), self._clock()
        due = tuple(
            name
            for name, token in tokens.items()
            if (seen := self._seen.get(name)) is None
            or seen[0] != token
            or now_s - seen[1] >= WHOLE_LOOK_S
        )
        self._seen = {name: seen for name, seen in self._seen.items() if name in tokens}
        self._seen |= {name: (tokens[name], now_s) for name in due}
        return due

    def forget(self) -> None:
        """The tables that were due could not be looked at: all are due again."""
        self._seen = {}

    def _tokens(
        self, connection: psycopg.Connection, shapes: Mapping[str, TableShape]
    ) -> dict[str, str]:
        if not shapes:
            return {}
        parsed = [parse_table_name(name) for name in shapes]
        schemas, plain = [one.schema or "" for one in parsed], [one.name for one in parsed]
        types = sorted({oid for shape in shapes.values() for oid in shape.own_types})
        both = list(self._names.both)
        with translated(address_of(connection)):
            rows = connection.execute(_TOKENS_SQL, (schemas, plain)).fetchall()
            shared = connection.execute(_SHARED_SQL, (types, types, both, both)).fetchone()
        found: dict[int, str] = dict(rows)
        common = shared[0] if shared else ""
        # A table that is gone has a token too: that of nothing.
        return {name: f"{found.get(place, '')} {common}" for place, name in enumerate(shapes, 1)}
