"""Which columns of texts become dictionaries, and one dictionary out of those of several parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_scan import TextCodes
from neural_gpu_bus.stores.postgres.decoding.hash_kernels import ROWS_PER_TEXT_MIN
from neural_gpu_bus.stores.postgres.decoding.text_tables import (
    ASKED_TEXTS_MAX,
    AUTO_ROWS_MIN,
    AUTO_TEXTS_MAX,
    text_array,
)
from neural_gpu_bus.stores.postgres.decoding.type_tree import Enum

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Codes = npt.NDArray[np.int32]


class Dictionary(NamedTuple):
    """A column's different texts, and the number of each row's."""

    values: pa.Array[Any]
    #: Of each part, in blocks.
    codes: Sequence[Sequence[Codes]]

    @property
    def arrow(self) -> pa.DataType:
        """The type of the column: indices of one width whatever the values are."""
        import pyarrow as pa

        return pa.dictionary(pa.int32(), pa.large_string())


def dictionary_of(
    column: SourceColumn, parts: Sequence[TextCodes | None], rows: int
) -> Dictionary | None:
    """The column as a dictionary; None where it stays text.

    ``parts``: what each scan found, None where it gave up. Raises BadParameterError where a
    dictionary was asked for and has too many texts.
    """
    found = [part for part in parts if part is not None]
    whole = len(found) == len(parts)
    if isinstance(column.node, Enum):
        return _enum(column, found) if whole else _too_many(column)
    if column.texts == "dictionary":
        merged = _merged(found, []) if whole else None
        return merged if merged and len(merged.values) <= ASKED_TEXTS_MAX else _too_many(column)
    if not whole or rows < AUTO_ROWS_MIN:
        return None
    most = min(AUTO_TEXTS_MAX, rows // ROWS_PER_TEXT_MIN)
    if not 0 < max(len(part.texts) for part in found) <= most:
        return None
    merged = _merged(found, [])
    return merged if len(merged.values) <= most else None


def _enum(column: SourceColumn, parts: Sequence[TextCodes]) -> Dictionary:
    """Labels in the enum's order. One that is not among them was added since the server was asked;
    it is asked again, and what is still not there goes behind the others.
    """
    assert isinstance(column.node, Enum)  # noqa: S101 - its caller has looked
    labels = column.node.labels
    if any(len(part.texts) > len(labels) for part in parts) and column.again is not None:
        fresh = column.again().node
        labels = fresh.labels if isinstance(fresh, Enum) else labels
    return _merged(parts, [label.encode() for label in labels])


def _merged(parts: Sequence[TextCodes], first: Sequence[bytes]) -> Dictionary:
    """All parts' texts with one number each; ``first`` come first."""
    numbers = {text: number for number, text in enumerate(first)}
    codes = []
    for part in parts:
        moved = [numbers.setdefault(text, len(numbers)) for text in part.texts]
        same = moved == list(range(len(moved)))
        codes.append(part.blocks if same else [_moved(block, moved) for block in part.blocks])
    return Dictionary(text_array(list(numbers)), codes)


def _moved(codes: Codes, moved: Sequence[int]) -> Codes:
    """Codes under their new numbers; without any text all rows are NULL."""
    if not moved:
        return codes
    renumbered: Codes = np.array(moved, np.int32)[codes]
    return renumbered


def _too_many(column: SourceColumn) -> Dictionary:
    raise BadParameterError(
        f"column {column.name!r} has more than {ASKED_TEXTS_MAX:,} different texts, too many for "
        "a dictionary",
        hint="read it with texts='auto' or texts='plain'",
        parameter="texts",
    )
