# A type has nine forms; each has its own loop.
# ruff: noqa: PLR0911, PLR0917
"""Types with parts, taken apart level by level: one compiled loop for each, no object for a value.

``measure`` finds all sizes; what it returns writes into the reservation that was made with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.stores.postgres.decoding import cell_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.cells import (
    Cells,
    Filler,
    Place,
    Sizes,
    StaleTypeError,
    offsets_of,
    write_validity,
)
from neural_gpu_bus.stores.postgres.decoding.single_values import measure_enum, measure_value
from neural_gpu_bus.stores.postgres.decoding.type_tree import (
    RANGE_FLAGS,
    ArrayOf,
    Composite,
    Enum,
    Fixed,
    ItemsOf,
    Node,
    PackedOf,
    RangeOf,
    TextMap,
    Value,
    arrow_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.ports import Reservation
    from neural_gpu_bus.stores.postgres.decoding.cells import Integers


def measure(node: Node, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    """Sizes of a column or child and of all below it, noted by path.

    Raises BadValueError, ProtocolError, and StaleTypeError where the type is another by now.
    """
    match node:
        case Value():
            return measure_value(node, cells, place, sizes)
        case Enum():
            return measure_enum(node, cells, place, sizes)
        case ArrayOf():
            return _measure_array(node, cells, place, sizes)
        case ItemsOf():
            return _measure_items(node, cells, place, sizes)
        case PackedOf():
            return _measure_packed(node, cells, place, sizes)
        case Fixed():
            return _measure_fixed(node, cells, place, sizes)
        case Composite():
            return _measure_composite(node, cells, place, sizes)
        case RangeOf():
            return _measure_range(node, cells, place, sizes)
        case TextMap():
            return _measure_map(cells, place, sizes)


@dataclass(frozen=True, slots=True)
class ListFiller:
    """Offsets, and what they point into."""

    path: str
    cells: Cells
    offsets: Integers
    item: Filler

    @property
    def arrow(self) -> pa.DataType:
        """A list of what it holds."""
        import pyarrow as pa

        return pa.list_(self.item.arrow)

    def write(self, reservation: Reservation) -> None:
        """Offsets, NULLs, items."""
        write_validity(reservation, self.path, self.cells)
        reservation.offsets(self.path)[:] = self.offsets
        self.item.write(reservation)


def _list(
    cells: Cells, counts: Integers, item: Node, items: Cells, place: Place, sizes: Sizes
) -> ListFiller:
    """A list whose items' cells are known."""
    sizes.note_nulls(place.path, cells)
    sizes.list_values[place.path] = items.size
    filler = measure(item, items, place.child("item", item.type_name), sizes)
    return ListFiller(place.path, cells, offsets_of(counts), filler)


def _items(
    cells: Cells, heads: Integers, counts: Integers, place: Place, *, with_nulls: bool
) -> Cells:
    """Cells of the items of all cells."""
    total = int(counts.sum())
    items = Cells(np.zeros(total, np.int64), np.zeros(total, np.int64), _rows_of(cells, counts))
    bad = kernels.list_items(
        cells.addresses, cells.lengths, heads, counts, with_nulls, items.addresses, items.lengths
    )
    if bad >= 0:
        raise place.malformed(cells, bad)
    return items


def _rows_of(cells: Cells, counts: Integers) -> Any:
    """Place of an item -> row of the result."""
    ends = np.cumsum(counts)
    return lambda at: cells.row_of(int(np.searchsorted(ends, at, side="right")))


def _measure_array(node: ArrayOf, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    shape = np.zeros((cells.size, kernels.DIMENSIONS_MAX), np.int64)
    dimensions, heads = np.zeros(cells.size, np.int64), np.zeros(cells.size, np.int64)
    state = np.zeros(layouts.STATE_SLOTS, np.int64)
    bad = kernels.array_heads(
        cells.addresses,
        cells.lengths,
        node.item_oid,
        node.lower_bound,
        shape,
        dimensions,
        heads,
        state,
    )
    if bad >= 0:
        raise _array_fault(node, cells, place, bad, int(state[layouts.FAULT]))
    filled = np.flatnonzero(dimensions)
    depth = int(dimensions[filled[0]]) if filled.size else 1
    other = filled[dimensions[filled] != depth]
    if other.size:
        raise place.refused(
            cells,
            int(other[0]),
            f"has {dimensions[other[0]]} dimension(s) where row "
            f"{cells.row_of(int(filled[0])) + 1} has {depth}: one column of lists has one depth",
            f"read rows of one depth at a time (WHERE array_ndims(...)), or cast it: "
            f"{place.column}::text",
        )
    counts = np.where(dimensions > 0, shape[:, :depth].prod(axis=1), 0)
    items = _items(cells, heads, counts, place, with_nulls=True)
    return _levels(node.item, cells, shape[:, :depth], items, place, sizes)


def _levels(
    item: Node, cells: Cells, shape: Integers, items: Cells, place: Place, sizes: Sizes
) -> Filler:
    """Lists in lists, one for each dimension; those inside have no NULLs."""
    counts = np.ascontiguousarray(shape[:, 0])
    if shape.shape[1] == 1:
        return _list(cells, counts, item, items, place, sizes)
    inner = np.repeat(shape[:, 1:], counts, axis=0)
    total = len(inner)
    sizes.note_nulls(place.path, cells)
    sizes.list_values[place.path] = total
    nowhere = Cells(np.zeros(total, np.int64), np.zeros(total, np.int64), _rows_of(cells, counts))
    child = place.child("item", place.type_name)
    filler = _levels(item, nowhere, inner, items, child, sizes)
    return ListFiller(place.path, cells, offsets_of(counts), filler)


def _array_fault(node: ArrayOf, cells: Cells, place: Place, bad: int, fault: int) -> Exception:
    if fault == layouts.OTHER_TYPE:
        return StaleTypeError(place.where(cells, bad))
    if fault == layouts.LOWER_BOUND:
        return place.refused(
            cells,
            bad,
            f"is an array whose first item does not have number {node.lower_bound}, which a list "
            "cannot say",
            f"cast it: {place.column}::text, or take a slice, which counts from 1",
        )
    return place.malformed(cells, bad)


def _measure_items(node: ItemsOf, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    counts = _counts(cells, place)
    heads = np.full(cells.size, 4, np.int64)
    items = _items(cells, heads, counts, place, with_nulls=False)
    return _list(cells, counts, node.item, items, place, sizes)


def _counts(cells: Cells, place: Place) -> Integers:
    counts = np.zeros(cells.size, np.int64)
    bad = kernels.list_heads(cells.addresses, cells.lengths, counts)
    if bad >= 0:
        raise place.malformed(cells, bad)
    return counts


@dataclass(frozen=True, slots=True)
class PackedFiller:
    """Items of two or four bytes, copied at once: a vector of an embedding has 1,536."""

    path: str
    node: PackedOf
    cells: Cells
    counts: Integers

    @property
    def arrow(self) -> pa.DataType:
        """A list, of fixed size where the type has one."""
        return arrow_type(self.node)

    def write(self, reservation: Reservation) -> None:
        """Offsets where the sizes differ, NULLs, items."""
        write_validity(reservation, self.path, self.cells)
        size = self.node.size or 0
        if not size:
            reservation.offsets(self.path)[:] = offsets_of(self.counts)
        items = self.cells.size * size if size else int(self.counts.sum())
        values = reservation.values(f"{self.path}.item")
        if values.nbytes < items * self.node.item_bytes:
            raise ValueError(f"{values.nbytes} bytes are reserved for {items} items")
        kernels.write_packed(
            self.cells.addresses,
            self.cells.lengths,
            self.node.head_bytes,
            self.node.item_bytes,
            size,
            self.counts,
            values.ctypes.data,
        )


def _measure_packed(node: PackedOf, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    counts = np.zeros(cells.size, np.int64)
    bad = kernels.packed_heads(
        cells.addresses, cells.lengths, node.count_bytes, node.head_bytes, node.item_bytes, counts
    )
    if bad < 0 and node.size is not None:
        other = np.flatnonzero((counts != node.size) & (cells.lengths >= 0))
        bad = int(other[0]) if other.size else -1
    if bad >= 0:
        raise place.malformed(cells, bad)
    if isinstance(node.item, Value):
        sizes.note_nulls(place.path, cells)
        if node.size is None:
            sizes.list_values[place.path] = int(counts.sum())
        return PackedFiller(place.path, node, cells, counts)
    total = int(counts.sum())
    items = Cells(np.zeros(total, np.int64), np.zeros(total, np.int64), _rows_of(cells, counts))
    kernels.packed_items(
        cells.addresses,
        node.head_bytes,
        node.item_bytes,
        counts,
        items.addresses,
        items.lengths,
    )
    return _list(cells, counts, node.item, items, place, sizes)


@dataclass(frozen=True, slots=True)
class StructFiller:
    """Named parts; of a range also its flags."""

    path: str
    cells: Cells
    parts: Sequence[tuple[str, Filler]]
    #: Bits of each value, of a range.
    flags: Any = None

    @property
    def arrow(self) -> pa.DataType:
        """A struct of its parts."""
        import pyarrow as pa

        names = RANGE_FLAGS if self.flags is not None else ()
        parts = [(name, part.arrow) for name, part in self.parts]
        return pa.struct([*parts, *((name, pa.bool_()) for name in names)])

    def write(self, reservation: Reservation) -> None:
        """NULLs, parts, flags."""
        write_validity(reservation, self.path, self.cells)
        for _, part in self.parts:
            part.write(reservation)
        if self.flags is None:
            return
        for name, bit in zip(RANGE_FLAGS, (2, 4, 1), strict=True):
            values = reservation.values(f"{self.path}.{name}")
            values[:] = np.packbits(self.flags & bit != 0, bitorder="little")[: values.size]


def _measure_fixed(node: Fixed, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    _, last_at, last_bytes, _ = node.parts[-1]
    whole = last_at + last_bytes
    wrong = cells.lengths < whole if not last_bytes else cells.lengths != whole
    bad = np.flatnonzero(wrong & (cells.lengths >= 0))
    if bad.size:
        raise place.malformed(cells, int(bad[0]))
    sizes.note_nulls(place.path, cells)
    parts = []
    for name, at, size, part in node.parts:
        inside = np.full(cells.size, size, np.int64) if size else cells.lengths - at
        lengths = np.where(cells.lengths < 0, -1, inside)
        child = Cells(cells.addresses + at, lengths, cells.row_of)
        parts.append((name, measure(part, child, place.child(name, part.type_name), sizes)))
    return StructFiller(place.path, cells, parts)


def _measure_composite(node: Composite, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    oids = np.array([oid for _, oid, _ in node.fields], np.int64)
    addresses, lengths = (np.zeros((oids.size, cells.size), np.int64) for _ in range(2))
    state = np.zeros(layouts.STATE_SLOTS, np.int64)
    bad = kernels.composite_parts(cells.addresses, cells.lengths, oids, addresses, lengths, state)
    if bad >= 0:
        if state[layouts.FAULT] == layouts.OTHER_TYPE:
            raise StaleTypeError(place.where(cells, bad))
        raise place.malformed(cells, bad)
    sizes.note_nulls(place.path, cells)
    parts = [
        (name, measure(part, child, place.child(name, part.type_name), sizes))
        for (name, _, part), child in zip(
            node.fields,
            (Cells(*pair, cells.row_of) for pair in zip(addresses, lengths, strict=True)),
            strict=True,
        )
    ]
    return StructFiller(place.path, cells, parts)


def _measure_range(node: RangeOf, cells: Cells, place: Place, sizes: Sizes) -> Filler:
    flags = np.zeros(cells.size, np.uint8)
    addresses, lengths = (np.zeros((2, cells.size), np.int64) for _ in range(2))
    bad = kernels.range_parts(cells.addresses, cells.lengths, flags, addresses, lengths)
    if bad >= 0:
        raise place.malformed(cells, bad)
    sizes.note_nulls(place.path, cells)
    bounds = []
    for at, name in enumerate(("lower", "upper")):
        child = Cells(addresses[at], lengths[at], cells.row_of)
        bound = place.child(name, node.bound.type_name)
        bounds.append((name, measure(node.bound, child, bound, sizes)))
    return StructFiller(place.path, cells, bounds, flags)


@dataclass(frozen=True, slots=True)
class MapFiller:
    """Offsets, keys and values."""

    path: str
    cells: Cells
    offsets: Integers
    key: Filler
    value: Filler

    @property
    def arrow(self) -> pa.DataType:
        """A map."""
        import pyarrow as pa

        return pa.map_(self.key.arrow, self.value.arrow)

    def write(self, reservation: Reservation) -> None:
        """Offsets, NULLs, keys, values."""
        write_validity(reservation, self.path, self.cells)
        reservation.offsets(self.path)[:] = self.offsets
        self.key.write(reservation)
        self.value.write(reservation)


def _measure_map(cells: Cells, place: Place, sizes: Sizes) -> Filler:
    counts = _counts(cells, place)
    total = int(counts.sum())
    columns = [np.zeros(total, np.int64) for _ in range(4)]
    bad = kernels.map_items(cells.addresses, cells.lengths, counts, *columns)
    if bad >= 0:
        raise place.malformed(cells, bad)
    sizes.note_nulls(place.path, cells)
    sizes.list_values[place.path] = total
    text = Value("text", layouts.TEXT, "large_string")
    entries = place.child("entries", "text")
    row_of = _rows_of(cells, counts)
    key, value = (
        measure_value(
            text, Cells(columns[at], columns[at + 1], row_of), entries.child(n, "text"), sizes
        )
        for at, n in ((0, "key"), (2, "value"))
    )
    return MapFiller(place.path, cells, offsets_of(counts), key, value)
