"""What one server's types are made of: asked in one statement, with all parts, and kept."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

import psycopg

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.decoding.built_in_types import MONEY
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.decoding.known_types import DescribedType, Kind, KnownTypes
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: All types that the given ones are made of. A domain's modifier is that of its base; dropped
#: attributes are not sent. ``scale`` of money: what ``lc_monetary`` says, asked where it matters.
_TYPES_SQL = """
WITH RECURSIVE wanted(oid) AS (
  SELECT unnest(%s::oid[])
  UNION
  SELECT part.oid FROM wanted w JOIN pg_type t ON t.oid = w.oid CROSS JOIN LATERAL (
    SELECT t.typelem WHERE t.typelem <> 0 AND t.typcategory = 'A'
    UNION SELECT t.typbasetype WHERE t.typtype = 'd'
    UNION SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid
    UNION SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid
    UNION SELECT atttypid FROM pg_attribute
      WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
  ) AS part(oid)
)
SELECT t.oid::int8, format_type(t.oid, NULL), t.typtype::text, coalesce(p.prosrc, ''),
  CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typcategory = 'A' THEN t.typelem
    ELSE coalesce((SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid),
                  (SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid), 0) END::int8,
  t.typtypmod,
  ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),
  ARRAY(SELECT json_build_array(attname, atttypid::int8, atttypmod) FROM pg_attribute
    WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum),
  CASE WHEN t.oid = 790 THEN scale(1::money::numeric) END
FROM wanted JOIN pg_type t USING (oid) LEFT JOIN pg_proc p ON p.oid = t.typsend
"""

_KINDS: dict[str, Kind] = {
    "b": "base",
    "c": "composite",
    "d": "domain",
    "e": "enum",
    "m": "multirange",
    "r": "range",
}

#: Types that are kept; more are forgotten and asked again.
TYPES_MAX = 10_000


class TypeCatalog:
    """Types of one server; thread-safe. An OID is given again only after four billion others."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._known = KnownTypes()

    def missing(self, oids: Sequence[int]) -> set[int]:
        """What has to be asked before columns of these types can be made."""
        return self._known.missing(oids)

    def learn(self, connection: psycopg.Connection, oids: Collection[int]) -> None:
        """Ask the server about types and all that they are made of, on an idle connection."""
        with translated(self._address):
            found = connection.execute(_TYPES_SQL, [list(oids)]).fetchall()
        described = {row[0]: _described(*row[:-1]) for row in found}
        gone = {oid: DescribedType(oid, "a type that was just dropped", "other") for oid in oids}
        scale = next((row[-1] for row in found if row[0] == MONEY), None)
        with self._lock:
            kept = self._known.types if len(self._known.types) < TYPES_MAX else {}
            self._known = replace(
                self._known,
                types={**kept, **gone, **described},
                money_scale=self._known.money_scale if scale is None else scale,
            )

    def columns(self, fields: Sequence[Field], options: ReadOptions) -> list[SourceColumn]:
        """The columns of a described result. Raises UnsupportedTypeError."""
        return [source_column(*field, known=self._known, options=options) for field in fields]


def _described(  # noqa: PLR0917 - a row as the statement gives it
    oid: int,
    name: str,
    kind: str,
    sender: str,
    of: int,
    modifier: int,
    labels: list[str],
    fields: list[list[object]],
) -> DescribedType:
    is_array = kind == "b" and of != 0 and sender == "array_send"
    return DescribedType(
        oid,
        name,
        "array" if is_array else _KINDS.get(kind, "other"),
        sender,
        of if is_array or kind != "b" else 0,
        modifier,
        tuple(labels),
        tuple((str(n), int(str(o)), int(str(m))) for n, o, m in fields),
    )
