"""What the catalog knows of a table that is to be read: its leaves, their pages, what forbids
reading them one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.tables.table_name import TableName

#: ``pg_class.relfilenode`` is the snapshot's, ``pg_relation_filenode`` the newest: where they
#: differ the table was rewritten since, and an old snapshot may see it empty. 0: a catalog.
_FACTS_SQL: Final = """
WITH RECURSIVE tree(oid, detached) AS (
  SELECT {table}::regclass::oid, false
  UNION SELECT i.inhrelid, i.inhdetachpending FROM pg_inherits i JOIN tree t ON i.inhparent = t.oid
)
SELECT c.oid = {table}::regclass, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  c.relkind, c.relpersistence, coalesce(a.amname, ''), c.reltuples,
  pg_relation_size(c.oid) / current_setting('block_size')::int,
  has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid),
  c.relfilenode <> 0 AND c.relfilenode <> pg_relation_filenode(c.oid), d.detached
FROM (SELECT oid, bool_or(detached) AS detached FROM tree GROUP BY oid) d
JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am a ON a.oid = c.relam
ORDER BY c.oid
"""

#: Kinds of relations (``pg_class.relkind``) in words, for those that are not cut.
_KINDS: Final = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One table that has rows."""

    #: Schema and name, quoted.
    name: str
    #: ``pg_class.relkind``
    kind: str
    pages: int
    #: As estimated; negative where nobody counted.
    rows: float


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as of one look."""

    #: Schema and name, quoted.
    name: str
    #: ``pg_class.relkind``
    kind: str
    leaves: tuple[Leaf, ...]
    #: Why its leaves cannot be read one by one, or in ranges; empty where they can.
    why_whole: str
    #: It was rewritten after the transaction's snapshot was taken.
    rewritten: bool

    @property
    def pages(self) -> int:
        """Of all leaves."""
        return sum(leaf.pages for leaf in self.leaves)

    @property
    def rows(self) -> int | None:
        """Estimated; None where some were never counted."""
        if any(leaf.rows < 0 and leaf.pages for leaf in self.leaves):
            return None
        return int(sum(max(leaf.rows, 0) for leaf in self.leaves))

    @property
    def has_children(self) -> bool:
        """Whether rows lie in other tables than the one that was named."""
        return [leaf.name for leaf in self.leaves] != [self.name]


def facts_statement(table: TableName) -> bytes:
    """The question to the catalog. Refused where the table does not exist."""
    name = sql.Literal(table.identifier.as_string(None))
    return sql.SQL(_FACTS_SQL).format(table=name).as_bytes(None)


def read_facts(rows: Sequence[tuple[str | None, ...]], table: TableName) -> TableFacts:
    """The answer's rows, as text. Raises QueryError for a table that the snapshot does not see."""
    parent = next((row for row in rows if row[0] == "t"), None)
    if parent is None:
        raise QueryError(
            f"{table} was made after snapshot and transaction began, which do not see it",
            hint="take a new snapshot",
            sqlstate=None,
        )
    holding = [row for row in rows if row[2] != "p"]
    return TableFacts(
        name=_word(parent[1]),
        kind=_word(parent[2]),
        leaves=tuple(
            Leaf(_word(row[1]), _word(row[2]), int(row[6] or 0), float(row[5] or -1))
            for row in holding
        ),
        why_whole=_why_whole(rows),
        rewritten=any(row[9] == "t" for row in rows),
    )


def _why_whole(rows: Sequence[tuple[str | None, ...]]) -> str:
    """The first reason that any of them gives."""
    reasons = (_why_not(row, is_parent=row[0] == "t") for row in rows)
    return next((reason for reason in reasons if reason), "")


def _why_not(row: tuple[str | None, ...], *, is_parent: bool) -> str:
    _, name, kind, persistence, method, _, _, readable, secured, _, detached = row
    whole = " as a whole" if is_parent else ""
    reasons = {
        f"{name} is {_KINDS.get(_word(kind), 'no table')}": kind not in ("r", "p"),
        f"{name} is a temporary table": persistence == "t",
        f"{name} is stored by {method}, not in a heap": kind == "r" and method != "heap",
        f"{name} has row security": secured == "t",
        f"this user may not SELECT from {name}{whole}": readable != "t",
        f"{name} is being detached": detached == "t",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _word(value: str | None) -> str:
    return value or ""
