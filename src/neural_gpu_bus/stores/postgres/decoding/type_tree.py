# A type has many forms.
# ruff: noqa: PLR0911
"""What a type is made of, as far as decoding goes: a tree of values, lists, structs and maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.stores.postgres.decoding import layouts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Value:
    """One value without parts: numbers, times, texts."""

    #: As PostgreSQL spells it, for messages.
    type_name: str
    #: One of ``layouts``.
    layout: int
    #: Arrow's type in pyarrow's spelling, see ``arrow_of``.
    arrow: str
    #: Of a decimal, see ``layouts.decimal_parameter``.
    parameter: int = 0
    #: Bytes on the wire where the layout has values of several widths; else the layout's own.
    wire_bytes: int = 0
    #: Whether it may become a dictionary.
    is_text: bool = False

    @property
    def width(self) -> int:
        """Bytes of one value on the wire; negative where they vary, see ``layouts``."""
        return self.wire_bytes or layouts.WIDTHS[self.layout]

    @property
    def is_variable(self) -> bool:
        """Whether it becomes offsets and bytes."""
        return self.layout in layouts.TEXTS


@dataclass(frozen=True, slots=True)
class Enum:
    """One of a type's labels."""

    type_name: str
    oid: int
    #: In the order of the type.
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """An array of any type."""

    type_name: str
    item: Node
    item_oid: int
    #: The only one that is read: 0 for int2vector and oidvector.
    lower_bound: int = 1


@dataclass(frozen=True, slots=True)
class ItemsOf:
    """A counted row of items, each with its length: a multirange."""

    type_name: str
    item: Node


@dataclass(frozen=True, slots=True)
class PackedOf:
    """A counted row of items of one width, after a head of some bytes."""

    type_name: str
    item: Value | Fixed
    #: Bytes of the count: 2 for vector, 4 for a polygon.
    count_bytes: int
    head_bytes: int
    item_bytes: int
    #: How many items each has; None where that differs.
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """Parts at fixed places: points, tid, timetz. ``parts``: name, first byte, bytes (0: all that
    follow), what it is.
    """

    type_name: str
    parts: tuple[tuple[str, int, int, Value | PackedOf], ...]


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite type or a table's row. ``fields``: name, OID, what it is."""

    type_name: str
    oid: int
    fields: tuple[tuple[str, int, Node], ...]


@dataclass(frozen=True, slots=True)
class RangeOf:
    """A range of any type."""

    type_name: str
    bound: Node


@dataclass(frozen=True, slots=True)
class TextMap:
    """hstore."""

    type_name: str


Node = Value | Enum | ArrayOf | ItemsOf | PackedOf | Fixed | Composite | RangeOf | TextMap

#: Spellings that are not looked up again; those of decimals are many.
_SPELLINGS_MAX = 256

#: What the flags of a range become.
RANGE_FLAGS = ("lower_inclusive", "upper_inclusive", "empty")


def children(node: Node) -> list[Node]:
    """What a type is made of, one level down."""
    if isinstance(node, ArrayOf | ItemsOf | PackedOf):
        return [node.item]
    if isinstance(node, Fixed):
        return [part for _, _, _, part in node.parts]
    if isinstance(node, Composite):
        return [field for _, _, field in node.fields]
    return [node.bound] if isinstance(node, RangeOf) else []


@lru_cache(_SPELLINGS_MAX)
def arrow_of(spelling: str) -> pa.DataType:
    """The Arrow type of a spelling in ``Value.arrow``."""
    import pyarrow as pa

    if spelling.startswith("decimal"):
        bits, digits = spelling.removeprefix("decimal").rstrip(")").split("(")
        precision, scale = (int(number) for number in digits.split(","))
        make: Any = pa.decimal128 if bits == "128" else pa.decimal256
        made: pa.DataType = make(precision, scale)
        return made
    types: dict[str, Any] = {
        "time64[us]": lambda: pa.time64("us"),
        "timestamp[us]": lambda: pa.timestamp("us"),
        "timestamp[us, UTC]": lambda: pa.timestamp("us", tz="UTC"),
        "uuid": lambda: pa.binary(16),
    }
    named: pa.DataType = types[spelling]() if spelling in types else getattr(pa, spelling)()
    return named


def arrow_type(node: Node) -> pa.DataType:
    """The Arrow type of values of a type; of arrays, that of those with one dimension."""
    import pyarrow as pa

    match node:
        case Value():
            return arrow_of(node.arrow)
        case Enum():
            return pa.dictionary(pa.int32(), pa.large_string())
        case PackedOf(size=int(size)):
            return pa.list_(arrow_type(node.item), size)
        case ArrayOf() | ItemsOf() | PackedOf():
            return pa.list_(arrow_type(node.item))
        case Fixed():
            return pa.struct([(name, arrow_type(part)) for name, _, _, part in node.parts])
        case Composite():
            return pa.struct([(name, arrow_type(field)) for name, _, field in node.fields])
        case RangeOf():
            bounds = [(name, arrow_type(node.bound)) for name in ("lower", "upper")]
            return pa.struct([*bounds, *((flag, pa.bool_()) for flag in RANGE_FLAGS)])
        case TextMap():
            return pa.map_(pa.large_string(), pa.large_string())
