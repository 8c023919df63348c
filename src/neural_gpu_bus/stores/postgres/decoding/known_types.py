# A type has many forms.
# ruff: noqa: PLR0911
"""Types as a server describes them, and the tree of what one is made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from neural_gpu_bus.stores.postgres.decoding import built_in_types as built_in
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.read_options import (
    DECIMAL128_DIGITS_MAX,
    DECIMAL256_DIGITS_MAX,
    decimal_digits,
)
from neural_gpu_bus.stores.postgres.decoding.type_tree import (
    ArrayOf,
    Composite,
    Enum,
    ItemsOf,
    Node,
    PackedOf,
    RangeOf,
    TextMap,
    Value,
)

Kind = Literal["base", "enum", "composite", "domain", "range", "multirange", "array", "other"]

#: Types inside of types; PostgreSQL lets none contain itself.
DEPTH_MAX = 32

#: Digits of 64 bits of hundredths, or whatever the currency has.
MONEY_DIGITS = 19

NO_MODIFIER = -1
#: A type's modifier begins with the four bytes of a length (numeric.c).
_MODIFIER_HEAD = 4


@dataclass(frozen=True, slots=True)
class DescribedType:
    """One row of ``pg_type``, with what belongs to it."""

    oid: int
    #: As ``format_type`` spells it.
    name: str
    kind: Kind
    #: Source of its send function.
    sender: str = ""
    #: What an array, a domain, a range or a multirange is made of, with a domain's modifier.
    of: int = 0
    modifier: int = NO_MODIFIER
    #: Of an enum, in its order.
    labels: tuple[str, ...] = ()
    #: Of a composite: name, OID, modifier.
    fields: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class KnownTypes:
    """What was learned of a server's types."""

    types: Mapping[int, DescribedType] = field(default_factory=dict)
    #: Digits behind the point of its money (``lc_monetary``); None where it was not asked.
    money_scale: int | None = None

    def missing(self, oids: Sequence[int]) -> set[int]:
        """Of these types and what they are made of: what has to be asked for."""
        return {oid for oid in self._reached(oids) if self._parts(oid) is None}

    def alterable(self, oids: Sequence[int]) -> set[int]:
        """Of these types and what they are made of: composites, whose attributes can be renamed
        and replaced by others of the same types, which the bytes do not show.
        """
        reached = (self.types.get(oid) for oid in self._reached(oids))
        return {found.oid for found in reached if found is not None and found.kind == "composite"}

    def _reached(self, oids: Sequence[int]) -> set[int]:
        waiting, reached = list(oids), set(oids)
        while waiting:
            parts = self._parts(waiting.pop()) or ()
            waiting += [part for part in parts if part not in reached]
            reached.update(parts)
        return reached

    def _parts(self, oid: int) -> Sequence[int] | None:
        """What a type is made of; None where it is not known."""
        if oid == built_in.MONEY:
            return None if self.money_scale is None else ()
        if oid in built_in.VALUES or oid == built_in.NUMERIC:
            return ()
        if oid in built_in.ARRAYS:
            return (built_in.ARRAYS[oid],)
        if oid in built_in.RANGES or oid in built_in.MULTIRANGES:
            return ()
        described = self.types.get(oid)
        if described is None:
            return None
        fields = [part for _, part, _ in described.fields]
        return [*fields, described.of] if described.of else fields


class UnreadableTypeError(Exception):
    """A type, or a part of one, that is not read; ``type_name`` says which."""

    def __init__(self, type_name: str) -> None:
        super().__init__(type_name)
        self.type_name = type_name


@dataclass(frozen=True, slots=True)
class Resolver:
    """Trees of types for one column. ``numeric``: one of the choices of ``ReadOptions``."""

    known: KnownTypes
    numeric: str = "exact"

    def tree(self, oid: int, modifier: int, depth: int = 0) -> Node:
        """What a type is made of. Raises UnreadableTypeError."""
        if depth > DEPTH_MAX:
            raise UnreadableTypeError("a type nested too deep")
        if oid == built_in.NUMERIC:
            return self._numeric(modifier)
        if oid == built_in.MONEY:
            return self._money()
        if oid in built_in.VECTORS:
            item = self.tree(built_in.ARRAYS[oid], NO_MODIFIER, depth + 1)
            return ArrayOf(built_in.VECTORS[oid], item, built_in.ARRAYS[oid], lower_bound=0)
        if oid in built_in.ARRAYS:
            return self._array(built_in.ARRAYS[oid], modifier, depth)
        if oid in built_in.RANGES:
            name, bound = built_in.RANGES[oid]
            return RangeOf(name, self.tree(bound, NO_MODIFIER, depth + 1))
        if oid in built_in.MULTIRANGES:
            name, item_oid = built_in.MULTIRANGES[oid]
            return ItemsOf(name, self.tree(item_oid, NO_MODIFIER, depth + 1))
        if oid in built_in.VALUES:
            return built_in.VALUES[oid]
        return self._described(oid, modifier, depth)

    def _array(self, item_oid: int, modifier: int, depth: int) -> ArrayOf:
        item = self.tree(item_oid, modifier, depth + 1)
        return ArrayOf(f"{item.type_name}[]", item, item_oid)

    def _described(self, oid: int, modifier: int, depth: int) -> Node:
        found = self.known.types.get(oid)
        if found is None:
            raise UnreadableTypeError(f"the type with OID {oid}")
        match found.kind:
            case "domain":
                return self.tree(found.of, found.modifier, depth + 1)
            case "enum":
                return Enum(found.name, oid, found.labels)
            case "array":
                return self._array(found.of, modifier, depth)
            case "range":
                return RangeOf(found.name, self.tree(found.of, NO_MODIFIER, depth + 1))
            case "multirange":
                return ItemsOf(found.name, self.tree(found.of, NO_MODIFIER, depth + 1))
            case "composite" if found.fields:
                fields = tuple(
                    (name, part, self.tree(part, part_modifier, depth + 1))
                    for name, part, part_modifier in found.fields
                )
                return Composite(found.name, oid, fields)
        return _by_sender(found, modifier)

    def _numeric(self, modifier: int) -> Value:
        choice = self.numeric
        if choice == "float64":
            return Value("numeric", layouts.NUMERIC_FLOAT, "float64")
        if choice == "exact" and modifier >= _MODIFIER_HEAD:
            precision, scale = numeric_digits(modifier)
            if precision <= DECIMAL128_DIGITS_MAX:
                return _decimal(f"numeric({precision},{scale})", 128, precision, scale)
            if precision <= DECIMAL256_DIGITS_MAX:
                return _decimal(f"numeric({precision},{scale})", 256, precision, scale)
        if choice in ("exact", "text"):
            return Value("numeric", layouts.NUMERIC_TEXT, "large_string")
        return _decimal("numeric", *decimal_digits(choice))

    def _money(self) -> Value:
        scale = self.known.money_scale
        if scale is None:
            raise UnreadableTypeError("money")
        arrow = f"decimal128({MONEY_DIGITS}, {scale})"
        return Value("money", layouts.MONEY, arrow)


def numeric_digits(modifier: int) -> tuple[int, int]:
    """Precision and scale; a scale below 0 rounds before the point (PostgreSQL 15)."""
    packed = modifier - _MODIFIER_HEAD
    return (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400


def _decimal(name: str, bits: int, precision: int, scale: int) -> Value:
    parameter = layouts.decimal_parameter(bits, precision, scale)
    return Value(name, layouts.DECIMAL, f"decimal{bits}({precision}, {scale})", parameter)


def _by_sender(found: DescribedType, modifier: int) -> Node:
    """Types of extensions, by how they send their values."""
    if found.sender in built_in.TEXT_SENDERS:
        return Value(found.name, layouts.TEXT, "large_string", is_text=True)
    if found.sender == "hstore_send":
        return TextMap(found.name)
    size = modifier if modifier > 0 else None
    if found.sender == "vector_send":
        item = Value("real", layouts.FLOAT4, "float32")
        return PackedOf(found.name, item, 2, 4, 4, size)
    if found.sender == "halfvec_send":
        half = Value("half precision", layouts.INT2, "float16")
        return PackedOf(found.name, half, 2, 4, 2, size)
    raise UnreadableTypeError(found.name)


def named(node: Node, name: str) -> Node:
    """The same under another name."""
    return replace(node, type_name=name)
