"""Values without parts inside of types that have some, and labels of enums there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.errors import BadValueError, NeuralGpuBusError
from neural_gpu_bus.stores.postgres.decoding import cell_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.cells import (
    Cells,
    Filler,
    Place,
    Sizes,
    StaleTypeError,
    address_of,
    write_validity,
)
from neural_gpu_bus.stores.postgres.decoding.text_tables import TextTable, text_array
from neural_gpu_bus.stores.postgres.decoding.type_tree import Enum, Value, arrow_of
from neural_gpu_bus.stores.postgres.decoding.value_faults import MALFORMED, refusal

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import Reservation


@dataclass(frozen=True, slots=True)
class ValueFiller:
    """Values of one layout."""

    node: Value
    cells: Cells
    place: Place
    text_bytes: int

    @property
    def arrow(self) -> pa.DataType:
        """The type of the values."""
        return arrow_of(self.node.arrow)

    def write(self, reservation: Reservation) -> None:
        """NULLs and values, or offsets and texts."""
        path, rows, node = self.place.path, self.cells.size, self.node
        write_validity(reservation, path, self.cells)
        plan = np.zeros(5, np.uint64)
        plan[0], plan[4] = node.layout, node.parameter
        if node.is_variable:
            offsets = reservation.offsets(path)
            offsets[0] = 0
            plan[2] = address_of(offsets, (rows + 1) * 8)
            plan[3] = address_of(reservation.data(path), self.text_bytes)
        else:
            values = reservation.values(path)
            if node.layout == layouts.BOOL:
                values[:] = 0
            plan[1] = address_of(values, values_bytes(node, rows))
        scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
        state = np.zeros(layouts.STATE_SLOTS, np.int64)
        state[layouts.SCRATCH] = scratch.ctypes.data
        bad = kernels.write_values(self.cells.addresses, self.cells.lengths, plan, state)
        if bad >= 0:
            raise self._fault(bad, int(state[layouts.FAULT]))
        if node.layout == layouts.CHAR:
            self._check_ascii(reservation)

    def _fault(self, bad: int, fault: int) -> NeuralGpuBusError:
        if fault in MALFORMED:
            return self.place.malformed(self.cells, bad)
        place = self.place
        what, hint = refusal(self.node, fault, place.column, inside=place.path != place.column)
        return place.refused(self.cells, bad, what, hint)

    def _check_ascii(self, reservation: Reservation) -> None:
        offsets = reservation.offsets(self.place.path)
        bad = first_not_ascii(offsets, reservation.data(self.place.path))
        if bad is not None:
            raise self.place.refused(
                self.cells, bad, "is no UTF-8 text", f"cast it: {self.place.column}::text"
            )


def values_bytes(node: Value, rows: int) -> int:
    """Bytes of so many values of fixed width in Arrow's layout."""
    width: int = arrow_of(node.arrow).bit_width
    return (rows * width + 7) // 8


def first_not_ascii(offsets: npt.NDArray[Any], data: npt.NDArray[np.uint8]) -> int | None:
    """The first text with a byte above 127."""
    bad = np.flatnonzero(data[: int(offsets[-1])] > 127)
    return int(np.searchsorted(offsets, bad[0], side="right")) - 1 if bad.size else None


def measure_value(node: Value, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    """Test every length; count texts and NULLs. Raises ProtocolError."""
    sizes.note_nulls(place.path, cells)
    found = np.zeros(1, np.int64)
    scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
    bad = kernels.measure_values(
        cells.addresses, cells.lengths, node.width, scratch.ctypes.data, found
    )
    if bad >= 0:
        raise place.malformed(cells, bad)
    if node.is_variable:
        sizes.text_bytes[place.path] = int(found[0])
    return ValueFiller(node, cells, place, int(found[0]))


@dataclass(frozen=True, slots=True)
class EnumFiller:
    """Codes of labels, which lie in the dictionary."""

    path: str
    cells: Cells
    codes: npt.NDArray[np.int32]

    @property
    def arrow(self) -> pa.DataType:
        """A dictionary."""
        import pyarrow as pa

        return pa.dictionary(pa.int32(), pa.large_string())

    def write(self, reservation: Reservation) -> None:
        """NULLs and codes."""
        write_validity(reservation, self.path, self.cells)
        reservation.values(self.path)[:] = self.codes


def measure_enum(node: Enum, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    """Find every label's number. A label nobody knows is put behind the others: it was added
    since the server was asked.
    """
    table = TextTable.of_labels(node.labels)
    codes = np.zeros(cells.size, np.int32)
    bad = table.find(cells.addresses, cells.lengths, codes)
    if bad >= 0:
        raise BadValueError(
            f"{place.where(cells, bad)}: more labels than {node.type_name} can have",
            hint=f"cast it: {place.column}::text",
            column=place.column,
            row=cells.row_of(bad) + 1,
        )
    if len(table) > len(node.labels) and not place.fresh:
        raise StaleTypeError(f"{node.type_name} has other labels by now")
    sizes.note_nulls(place.path, cells)
    sizes.dictionaries[place.path] = text_array(table.texts(0))
    return EnumFiller(place.path, cells, codes)
