"""A type as people write it to what the encoder has to know of it, without a server."""

from __future__ import annotations

import re
from dataclasses import replace

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.wire.types import KINDS, PostgresType

#: Other names of built-in types (PostgreSQL manual, table 8.1).
_ALIASES = {
    "boolean": "bool",
    "smallint": "int2",
    "integer": "int4",
    "int": "int4",
    "bigint": "int8",
    "real": "float4",
    "double precision": "float8",
    "decimal": "numeric",
    "character varying": "varchar",
    "character": "bpchar",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    '"char"': "char",
}
_OIDS = {kind: oid for oid, kind in KINDS.items()}

#: Types whose number differs from database to database and does not matter at the top.
_EXTENSIONS = {"hstore": "hstore", "vector": "vector", "citext": "text"}

_NAME = re.compile(
    r"(?P<name>[a-z0-9_ \"]+?)\s*(?:\((?P<digits>\s*\d+\s*(?:,\s*-?\d+\s*)?)\))?"
    r"(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)"
)


def named_type(text: str) -> PostgresType:
    """``bigint``, ``numeric(10,2)``, ``timestamp(3) with time zone``, ``float8[]``. Raises
    BadParameterError for a type whose binary form is not known.
    """
    found = _NAME.fullmatch(text.strip().lower())
    name = "" if found is None else found["name"].strip() + (found["zone"] or "")
    kind = _ALIASES.get(name, name)
    if found is None or (kind not in _OIDS and kind not in _EXTENSIONS):
        raise BadParameterError(
            f"type {text!r} has no binary form that is known here",
            hint="name a built-in type, hstore or vector, as PostgreSQL's manual spells it; a "
            "column of another type is filled through a text column and a cast",
            parameter="types",
        )
    modifier = _modifier(kind, found["digits"])
    kind = _EXTENSIONS.get(kind, kind)
    one = PostgresType(kind, text, _OIDS.get(kind, 0), modifier, name)
    if not found["array"]:
        return one
    if kind in ("hstore", "vector"):
        raise BadParameterError(
            f"type {text!r} is an array of an extension's type, whose number is the database's own",
            hint="let neural-gpu-bus store it, which asks the server",
            parameter="types",
        )
    return replace(one, kind="array", oid=0, base=f"{name}[]", element=one)


def _modifier(kind: str, digits: str | None) -> int:
    """As ``pg_attribute.atttypmod`` has it."""
    if digits is None:
        return -1
    numbers = [int(number) for number in digits.split(",")]
    if kind == "numeric":
        precision, scale = numbers[0], numbers[1] if len(numbers) > 1 else 0
        return (precision << 16 | scale & 0x7FF) + 4
    if kind in ("varchar", "bpchar"):
        return numbers[0] + 4
    return 0x7FFF << 16 | numbers[0] if kind == "interval" else numbers[0]
