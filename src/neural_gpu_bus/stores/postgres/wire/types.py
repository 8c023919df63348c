"""Types of PostgreSQL that are written, by object id, and the column a value is meant for."""

from __future__ import annotations

from dataclasses import dataclass

#: Object ids of pg_type that never change (pg_type.dat) and the name each goes by below.
KINDS = {
    16: "bool",
    17: "bytea",
    18: "char",
    19: "name",
    20: "int8",
    21: "int2",
    23: "int4",
    25: "text",
    26: "oid",
    114: "json",
    142: "xml",
    700: "float4",
    701: "float8",
    790: "money",
    1042: "bpchar",
    1043: "varchar",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1186: "interval",
    1266: "timetz",
    1700: "numeric",
    2950: "uuid",
    3220: "pg_lsn",
    3802: "jsonb",
}

#: Kinds whose binary form is the text itself (jsonb: with one byte before it).
TEXT_LIKE = frozenset({"text", "varchar", "bpchar", "name", "json", "jsonb", "xml", "enum"})

#: PostgreSQL counts days and microseconds from 2000-01-01, Arrow from 1970-01-01.
EPOCH_DAYS = 10_957
EPOCH_US = EPOCH_DAYS * 86_400_000_000

NANOSECONDS_COMMENT = "nanoseconds since 1970-01-01 UTC"

#: Modifiers of types with a length begin here (c.h, VARHDRSZ).
LENGTH_OFFSET = 4

UNSIGNED_OF_WIDTH = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}


@dataclass(frozen=True, slots=True)
class PostgresType:
    """A column's type."""

    #: One of ``KINDS``; ``enum``, ``array``, ``composite``, ``range``, ``hstore``, ``vector``; or
    #: ``other``: written as text, which the server's own input function reads.
    kind: str
    #: As PostgreSQL writes it: ``double precision``, ``character varying(8)``.
    text: str
    #: Object id; 0 where it does not matter, which is everywhere but inside of arrays and rows.
    oid: int = 0
    #: ``pg_attribute.atttypmod``: of numeric its precision and scale, of a vector its length.
    modifier: int = -1
    #: ``text`` without the modifier, quoted where it has to be: what a text is cast to.
    base: str = ""
    #: Type of an array's elements, or of a range's bounds.
    element: PostgresType | None = None
    #: Names and types of a composite's fields.
    fields: tuple[tuple[str, PostgresType], ...] = ()

    @property
    def numeric_digits(self) -> tuple[int, int] | None:
        """Precision and scale of a numeric; None where it holds any number.

        The modifier has the precision in its upper 16 bits and the scale, signed, in its lowest 11
        (numeric.c, ``numeric_typmod_scale``).
        """
        if self.kind != "numeric" or self.modifier < LENGTH_OFFSET:
            return None
        packed = self.modifier - LENGTH_OFFSET
        return packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column of an existing table, as far as writing into it goes."""

    name: str
    type: PostgresType
    not_null: bool = False
    #: The server fills it when it is left out: a default, an identity, a generated column.
    filled_by_server: bool = False
    #: GENERATED ALWAYS: the server refuses values for it.
    written_by_server_only: bool = False
