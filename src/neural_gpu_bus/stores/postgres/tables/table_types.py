"""Types of a table's columns, asked of the server where they are none of the built-in ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from neural_gpu_bus.stores.postgres.wire.types import KINDS, PostgresType

if TYPE_CHECKING:
    import psycopg

_READ_TYPES = """
SELECT t.oid::int8, t.typtype::text, t.typbasetype::int8, t.typtypmod, t.typnotnull,
  CASE WHEN t.typreceive::text = 'array_recv' THEN t.typelem
    ELSE coalesce((SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid), 0) END::int8,
  t.typreceive::text, format_type(t.oid, -1),
  ARRAY(
    SELECT json_build_array(a.attname, a.atttypid::int8, a.atttypmod,
      format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1))
    FROM pg_attribute a
    WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum),
  t.typrelid::int8, (SELECT coalesce(sum(a.xmin::text::int8), 0) FROM pg_attribute a
    WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0)::int8
FROM pg_type t WHERE t.oid = ANY(%s::oid[])
"""

#: A type in a type in a type: deeper ones are written as text.
_DEPTH_MAX = 8

#: By the function that reads its binary form: an extension's type has no number of its own, and
#: its name may stand in any schema.
_RECEIVED_AS = {
    "textrecv": "text",
    "varcharrecv": "text",
    "bpcharrecv": "text",
    "citextrecv": "text",
    "enum_recv": "enum",
    "hstore_recv": "hstore",
    "vector_recv": "vector",
}


@dataclass(frozen=True, slots=True)
class _Described:
    """A row of ``_READ_TYPES``."""

    oid: int
    #: ``pg_type.typtype``.
    is_: str
    base: int
    base_modifier: int
    not_null: bool
    element: int
    receive: str
    text: str
    #: Name, type, modifier, and the two texts of a composite's fields.
    fields: list[tuple[str, int, int, str, str]]
    #: Of a composite: where its fields stand in ``pg_attribute``, and their state: another number
    #: as soon as one of them was changed.
    relation: int
    fields_state: int

    def below(self) -> Iterator[int]:
        """Types it is made of."""
        yield from (oid for oid in (self.base, self.element) if oid)
        yield from (oid for _, oid, *_ in self.fields)


class Types:
    """What the server said of types that are not built in."""

    def __init__(self, described: dict[int, _Described]) -> None:
        self._described = described

    @property
    def composites(self) -> dict[int, int]:
        """Of each composite its relation and the state of its fields."""
        return {
            one.relation: one.fields_state for one in self._described.values() if one.is_ == "c"
        }

    def resolve(
        self, oid: int, modifier: int, text: str, base: str, depth: int = 0
    ) -> tuple[PostgresType, bool]:
        """The type, a domain as what it is made of; and whether a domain forbids NULL."""
        if oid in KINDS:
            return PostgresType(KINDS[oid], text, oid, modifier, base), False
        found = self._described.get(oid)
        other = PostgresType("other", text, oid, modifier, base)
        if found is None or depth == _DEPTH_MAX:
            return other, False
        if found.is_ == "d":
            inner_modifier = found.base_modifier if modifier < 0 else modifier
            inner, not_null = self.resolve(found.base, inner_modifier, text, base, depth + 1)
            return replace(inner, oid=oid), not_null or found.not_null
        return self._made_of_others(found, other, depth), False

    def _made_of_others(self, found: _Described, other: PostgresType, depth: int) -> PostgresType:
        if found.is_ == "c":
            fields = tuple(
                (name, self.resolve(field, own_modifier, own_text, own_base, depth + 1)[0])
                for name, field, own_modifier, own_text, own_base in found.fields
            )
            return replace(other, kind="composite", fields=fields)
        if not found.element:
            return replace(other, kind=_RECEIVED_AS.get(found.receive, "other"))
        is_range = found.is_ == "r"
        text, base = (part.removesuffix("[]") for part in (other.text, other.base))
        modifier = -1 if is_range else other.modifier
        element, _ = self.resolve(found.element, modifier, text, base, depth + 1)
        return replace(other, kind="range" if is_range else "array", element=element)


def read_types(connection: psycopg.Connection, oids: Iterable[int]) -> Types:
    """All that is to be known of these types and what they are made of; no statement where all of
    them are built in.
    """
    described: dict[int, _Described] = {}
    wanted = {oid for oid in oids if oid not in KINDS}
    while wanted:
        for row in connection.execute(_READ_TYPES, (sorted(wanted),)):
            described[row[0]] = _Described(*row)
        below = {oid for oid in wanted if oid in described}
        wanted = {oid for one in below for oid in described[one].below()} - set(KINDS)
        wanted -= set(described)
    return Types(described)
