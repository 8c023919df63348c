"""Cells, and what is measured before memory is reserved: sizes of columns and children, by path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from neural_gpu_bus.errors import BadValueError, NeuralGpuBusError, ProtocolError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import Reservation

    Integers = npt.NDArray[np.int64]


class Cells(NamedTuple):
    """Where values lie."""

    addresses: Integers
    #: Bytes; -1 for NULL.
    lengths: Integers
    #: Place of a cell -> row of the result, counted from 0.
    row_of: Callable[[int], int]

    @property
    def size(self) -> int:
        """How many there are, NULLs with them."""
        return self.addresses.size


@dataclass(frozen=True, slots=True)
class Sizes:
    """What ``ports.Reserve`` is told, by path."""

    text_bytes: dict[str, int] = field(default_factory=dict)
    null_counts: dict[str, int] = field(default_factory=dict)
    list_values: dict[str, int] = field(default_factory=dict)
    dictionaries: dict[str, Any] = field(default_factory=dict)

    def note_nulls(self, path: str, cells: Cells) -> None:
        """Count a level's NULLs."""
        nulls = int(np.count_nonzero(cells.lengths < 0))
        if nulls:
            self.null_counts[path] = nulls


class Stretch(NamedTuple):
    """Bytes that were received."""

    address: int
    size: int


class StaleTypeError(Exception):
    """A type has changed since the server was asked about it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A column or a child of one, for refusals."""

    column: str
    path: str
    type_name: str
    received: Sequence[Stretch]
    #: Whether the type was asked for just now, so that nothing in it can be stale.
    fresh: bool = False

    def child(self, name: str, type_name: str) -> Place:
        """One of its parts."""
        return replace(self, path=f"{self.path}.{name}", type_name=type_name)

    def where(self, cells: Cells, at: int) -> str:
        """``column 'prices', row 3``, with the path of a child."""
        inside = f" ({self.path})" if self.path != self.column else ""
        return f"column {self.column!r}, row {cells.row_of(at) + 1}{inside}"

    def malformed(self, cells: Cells, at: int) -> ProtocolError:
        """The bytes at a cell are no value of the type."""
        address = int(cells.addresses[at])
        position = next((address - a for a, size in self.received if 0 <= address - a < size), 0)
        return ProtocolError(
            f"{self.where(cells, at)}: the {int(cells.lengths[at])} bytes at {position} are no "
            f"{self.type_name}",
            hint="run the query again; if it happens again, report the statement",
            position=position,
        )

    def refused(self, cells: Cells, at: int, what: str, hint: str) -> NeuralGpuBusError:
        """The value at a cell is none that the column can hold."""
        return BadValueError(
            f"{self.where(cells, at)} {what}",
            hint=hint,
            column=self.column,
            row=cells.row_of(at) + 1,
        )


class Filler(Protocol):
    """A measured column or child, ready to be written."""

    @property
    def arrow(self) -> pa.DataType:
        """What it becomes."""

    def write(self, reservation: Reservation) -> None:
        """Fill its buffers and those of its children. Raises BadValueError, ProtocolError."""


def write_validity(reservation: Reservation, path: str, cells: Cells) -> None:
    """Bits of a level, where any is NULL."""
    bits = reservation.validity(path)
    if bits is not None:
        bits[:] = np.packbits(cells.lengths >= 0, bitorder="little")[: bits.size]


def address_of(array: npt.NDArray[Any], needed_bytes: int) -> int:
    """Where a buffer begins; compiled loops trust that it is as long as was reserved."""
    if array.nbytes < needed_bytes or not array.flags.c_contiguous:
        raise ValueError(f"a reserved buffer has {array.nbytes} bytes, {needed_bytes} are needed")
    return array.ctypes.data


def offsets_of(counts: Integers) -> Integers:
    """Counts to count + 1 offsets."""
    offsets = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
