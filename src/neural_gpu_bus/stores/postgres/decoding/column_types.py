"""Columns of a result: the type of each, the Arrow type it becomes, and how its bytes are laid out.

What cannot be held exactly is refused with the cast that makes it readable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.sql_text import quoted_name
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.known_types import (
    NO_MODIFIER,
    KnownTypes,
    Resolver,
    UnreadableTypeError,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions, Texts
from neural_gpu_bus.stores.postgres.decoding.type_tree import Enum, Node, Value, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

#: Gives the column again as the server's types are now.
Again = Callable[[], "SourceColumn"]


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column as the server describes it, with what its type is made of."""

    name: str
    node: Node
    texts: Texts = "auto"
    #: For types that change: labels are added to enums, attributes to composites.
    again: Again | None = field(default=None, compare=False)

    @property
    def type_name(self) -> str:
        """Type's name as PostgreSQL spells it, for messages."""
        return self.node.type_name

    @property
    def layout(self) -> int:
        """One of ``layouts``: CELLS where the type has parts."""
        if isinstance(self.node, Value):
            return self.node.layout
        return layouts.CODES if isinstance(self.node, Enum) else layouts.CELLS

    @property
    def parameter(self) -> int:
        """Of a decimal, see ``layouts``."""
        return self.node.parameter if isinstance(self.node, Value) else 0

    @property
    def is_hashed(self) -> bool:
        """Whether its texts are given numbers while they are counted."""
        if isinstance(self.node, Enum):
            return True
        return isinstance(self.node, Value) and self.node.is_text and self.texts != "plain"

    @property
    def width(self) -> int:
        """Bytes of one value on the wire; negative where they vary, see ``layouts``."""
        if self.is_hashed:
            return layouts.HASHED
        return self.node.width if isinstance(self.node, Value) else layouts.OPAQUE

    @property
    def is_variable(self) -> bool:
        """Whether it becomes offsets and bytes."""
        return isinstance(self.node, Value) and self.node.is_variable

    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the column that is read; of arrays, of those with one dimension, and
        of texts, of those that become no dictionary.
        """
        return arrow_type(self.node)


def source_column(
    name: str,
    oid: int,
    modifier: int = NO_MODIFIER,
    *,
    known: KnownTypes | None = None,
    options: ReadOptions | None = None,
    again: Again | None = None,
) -> SourceColumn:
    """The column for a described field. Raises UnsupportedTypeError."""
    options = options or ReadOptions()
    resolver = Resolver(known or KnownTypes(), options.numeric_of(name))
    try:
        node = resolver.tree(oid, modifier)
    except UnreadableTypeError as error:
        raise unsupported(name, error.type_name) from error
    return SourceColumn(name, node, options.texts, again)


def unsupported(column: str, type_name: str) -> UnsupportedTypeError:
    """The refusal of a column, with the cast that makes it readable."""
    quoted = column if column.isidentifier() else quoted_name(column)
    way = f"cast it: {quoted}::text"
    if type_name.startswith("record"):
        way = (
            f"give it a type: {quoted}::my_type (CREATE TYPE), or select its columns by themselves"
        )
    elif type_name == "money":
        way = f"say how many digits its currency has (money_scale), or cast it: {quoted}::numeric"
    elif type_name.startswith("the type"):
        way = f"say what it is (known), or cast it: {quoted}::text"
    return UnsupportedTypeError(
        f"column {column!r} is of type {type_name}, which is not read as it is",
        hint=way,
        column=column,
        type=type_name,
    )
