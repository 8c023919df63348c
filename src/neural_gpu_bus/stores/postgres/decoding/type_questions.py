"""How a server is asked what types are made of, and its answer: the same for every driver. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from neural_gpu_bus.stores.postgres.decoding.built_in_types import MONEY
from neural_gpu_bus.stores.postgres.decoding.known_types import DescribedType, Kind, KnownTypes

#: All types that the given ones are made of. A domain's modifier is that of its base; dropped
#: attributes are not sent. ``scale`` of money: what ``lc_monetary`` says, asked where it matters.
_TYPES_SQL = """
WITH RECURSIVE wanted(oid) AS (
  SELECT unnest('{%s}'::oid[])
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
  (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum
    WHERE enumtypid = t.oid)::text,
  (SELECT json_agg(json_build_array(attname, atttypid::int8, atttypmod) ORDER BY attnum)
    FROM pg_attribute
    WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped)::text,
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


def types_query(oids: Collection[int]) -> str:
    """The statement whose rows ``with_answer`` takes: types, and all that they are made of."""
    return _TYPES_SQL % ",".join(str(int(oid)) for oid in sorted(oids))


def with_answer(
    known: KnownTypes, oids: Collection[int], rows: Iterable[Sequence[Any]]
) -> KnownTypes:
    """What was known, and what the server says; a type that is gone is known as such."""
    answer = [tuple(row) for row in rows]
    described = {row[0]: _described(row) for row in answer}
    gone = {oid: DescribedType(oid, "a type that was just dropped", "other") for oid in oids}
    scale = next((row[-1] for row in answer if row[0] == MONEY), known.money_scale)
    kept = known.types if len(known.types) < TYPES_MAX else {}
    return replace(known, types={**kept, **gone, **described}, money_scale=scale)


def _described(row: Sequence[Any]) -> DescribedType:
    oid, name, kind, sender, of, modifier, labels, fields, _ = row
    is_array = kind == "b" and of != 0 and sender == "array_send"
    return DescribedType(
        oid,
        name,
        "array" if is_array else _KINDS.get(kind, "other"),
        sender,
        of if is_array or kind != "b" else 0,
        modifier,
        tuple(json.loads(labels or "[]")),
        tuple(tuple(field) for field in json.loads(fields or "[]")),
    )
