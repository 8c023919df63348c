"""COPY BINARY bytes to columns in Arrow's layout: no socket, no clock, no object for each value.

Two passes. ``CopyScan`` walks what has arrived, while more is under way, and counts rows, text and
NULLs: a malformed or cut stream is found here, before anything is written. ``write_columns`` then
writes into a reservation that has exactly these sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from neural_gpu_bus.errors import BadValueError, NeuralGpuBusError, ProtocolError
from neural_gpu_bus.machine_cores import usable_cores
from neural_gpu_bus.ports import Reservation, Reserve
from neural_gpu_bus.stores.postgres.decoding import copy_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.cells import (
    Cells,
    Filler,
    Place,
    Sizes,
    StaleTypeError,
    Stretch,
    address_of,
)
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_scan import CopyScan
from neural_gpu_bus.stores.postgres.decoding.dictionaries import Dictionary, dictionary_of
from neural_gpu_bus.stores.postgres.decoding.type_tree import Value, arrow_of
from neural_gpu_bus.stores.postgres.decoding.value_faults import MALFORMED, refusal

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Bytes = npt.NDArray[np.uint8]
    Plan = npt.NDArray[np.uint64]

__all__ = ["CopyScan", "ReceivedPart", "ReceivedRange", "write_columns"]


class ReceivedPart(NamedTuple):
    """The bytes of some of a result's rows, and their counts."""

    buffer: Bytes
    #: Finished.
    scan: CopyScan


class ReceivedRange(NamedTuple):
    """DataRow messages that nobody has looked into yet."""

    buffer: Bytes
    start: int
    stop: int
    rows: int
    columns: Sequence[SourceColumn]

    def scanned(self) -> ReceivedPart:
        """With its counts. Raises ProtocolError."""
        scan = CopyScan(self.columns, framed=True, headless=True, start=self.start)
        scan.feed(self.buffer, self.stop)
        scan.finish(self.buffer, self.stop)
        return ReceivedPart(self.buffer, scan)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is known before memory is reserved."""

    columns: Sequence[SourceColumn]
    rows: int
    sizes: Sizes
    dictionaries: dict[int, Dictionary]
    #: Columns with parts.
    fillers: dict[int, Filler]

    def schema(self) -> pa.Schema:
        """The columns as they turned out to be."""
        import pyarrow as pa

        types = []
        for place, column in enumerate(self.columns):
            found = self.dictionaries.get(place) or self.fillers.get(place)
            types.append((column.name, found.arrow if found else column.arrow_type()))
        return pa.schema(types)


def write_columns(parts: Sequence[ReceivedPart], reserve: Reserve) -> Reservation:
    """The rows of all parts, in order, into one reservation of the right size, abandoned on any
    error. Several parts are written by several threads.

    Text is UTF-8: PostgreSQL checks it on the way to a client of that encoding, from a database of
    encoding SQL_ASCII too. It does not check ``"char"``, a single byte. A column whose type was
    altered since it was described asks for it ``again``.
    Raises BadValueError naming column and row, BadParameterError where texts are too many for the
    dictionary that was asked for, ProtocolError, and what ``reserve`` raises.
    """
    measured = _measure(parts)
    sizes = measured.sizes
    reservation = reserve(
        measured.schema(),
        measured.rows,
        text_bytes=sizes.text_bytes,
        null_counts=sizes.null_counts,
        list_values=sizes.list_values,
        dictionaries=sizes.dictionaries,
    )
    try:
        _write_parts(parts, measured, plan_of(measured, reservation), reservation)
        for filler in measured.fillers.values():
            filler.write(reservation)
        for column in measured.columns:
            if column.layout == layouts.CHAR:
                _check_ascii(column, reservation)
    except BaseException:
        reservation.abandon()
        raise
    return reservation


def _measure(parts: Sequence[ReceivedPart]) -> Measured:
    columns = parts[0].scan.columns
    rows = sum(part.scan.rows for part in parts)
    sizes = Sizes()
    nulls = np.sum([part.scan.nulls_by_place() for part in parts], axis=0)
    text_bytes = np.sum([part.scan.text_bytes_by_place() for part in parts], axis=0)
    dictionaries: dict[int, Dictionary] = {}
    for place, column in enumerate(columns):
        if column.layout != layouts.CELLS and nulls[place]:
            sizes.null_counts[column.name] = int(nulls[place])
        if column.is_hashed:
            codes = [part.scan.codes(place, part.buffer) for part in parts]
            found = dictionary_of(column, codes, rows)
            if found is not None:
                dictionaries[place] = found
                sizes.dictionaries[column.name] = found.values
                continue
        if column.is_variable:
            sizes.text_bytes[column.name] = int(text_bytes[place])
    fillers = _measure_nested(parts, columns, rows, sizes)
    return Measured(columns, rows, sizes, dictionaries, fillers)


def _measure_nested(
    parts: Sequence[ReceivedPart], columns: Sequence[SourceColumn], rows: int, sizes: Sizes
) -> dict[int, Filler]:
    """Columns with parts; their compiled loops are loaded only where there are any."""
    places = [at for at, column in enumerate(columns) if column.layout == layouts.CELLS]
    if not places:
        return {}
    addresses, lengths = (np.empty((len(places), rows), np.int64) for _ in range(2))
    first_row = 0
    for part in parts:
        kernels.collect_cells(
            part.buffer,
            slots_of(part.scan, first_row),
            part.scan.framed,
            layouts.IN_ROWS if part.scan.headless else layouts.HEADER,
            np.array(places, np.int64),
            addresses,
            lengths,
        )
        first_row += part.scan.rows
    received = [Stretch(part.buffer.ctypes.data, part.buffer.size) for part in parts]
    return {
        place: _filler(columns[place], Cells(at, size, lambda row: row), received, sizes)
        for place, at, size in zip(places, addresses, lengths, strict=True)
    }


def _filler(
    column: SourceColumn, cells: Cells, received: Sequence[Stretch], sizes: Sizes
) -> Filler:
    from neural_gpu_bus.stores.postgres.decoding.nested_columns import measure

    place = Place(column.name, column.name, column.type_name, received, column.again is None)
    try:
        return measure(column.node, cells, place, sizes)
    except StaleTypeError as stale:
        try:
            node = column.again().node if column.again is not None else column.node
            return measure(node, cells, replace(place, fresh=True), sizes)
        except StaleTypeError:
            raise ProtocolError(
                f"{stale}: the value is no {column.type_name} as the server describes it",
                hint="run the query again: the type was altered meanwhile",
                position=0,
            ) from stale


def _write_parts(
    parts: Sequence[ReceivedPart], measured: Measured, plan: Plan, reservation: Reservation
) -> None:
    """Each part at its own rows and bytes; of several faults the first part's is raised."""
    first_row, written = 0, np.zeros(len(plan), np.int64)
    jobs = []
    for number, part in enumerate(parts):
        codes = [
            (reservation.values(measured.columns[place].name), found.codes[number])
            for place, found in measured.dictionaries.items()
        ]
        jobs.append((part, first_row, written.copy(), plan, codes))
        first_row += part.scan.rows
        written += part.scan.text_bytes_by_place()
    if len(jobs) == 1:
        _write_part(*jobs[0])
        return
    with ThreadPoolExecutor(min(len(jobs), usable_cores())) as threads:
        for future in [threads.submit(_write_part, *job) for job in jobs]:
            future.result()


def _write_part(
    part: ReceivedPart,
    first_row: int,
    written: npt.NDArray[np.int64],
    plan: Plan,
    codes: Sequence[tuple[npt.NDArray[np.int32], Sequence[npt.NDArray[np.int32]]]],
) -> None:
    scan = part.scan
    scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
    state = np.zeros(layouts.STATE_SLOTS, np.int64)
    state[layouts.STAGE] = layouts.IN_ROWS if scan.headless else layouts.HEADER
    state[layouts.SCRATCH] = scratch.ctypes.data
    place = slots_of(scan, first_row)
    kernels.write_rows(part.buffer, place, scan.framed, plan, written, state)
    if state[layouts.FAULT]:
        raise _value_fault(state, scan)
    for values, blocks in codes:
        at = first_row
        for block in blocks:
            values[at : at + block.size] = block
            at += block.size


def slots_of(scan: CopyScan, first_row: int) -> npt.NDArray[np.int64]:
    """A part's place in the result."""
    place = np.full(layouts.PART_SLOTS, -1, np.int64)
    place[layouts.START] = scan.start
    place[layouts.FIRST_ROW], place[layouts.END_ROW] = first_row, first_row + scan.rows
    place[layouts.SHARED_FIRST] = first_row >> 3 if first_row % 8 else -1
    place[layouts.SHARED_LAST] = (first_row + scan.rows - 1) >> 3
    return place


def plan_of(measured: Measured, reservation: Reservation) -> Plan:
    """Addresses of the reservation's buffers, prepared for ``write_rows``."""
    rows, sizes = measured.rows, measured.sizes
    plan = np.zeros((len(measured.columns), layouts.PLAN_FIELDS), np.uint64)
    for place, (fields, column) in enumerate(zip(plan, measured.columns, strict=True)):
        fields[layouts.LAYOUT] = column.layout
        fields[layouts.PARAMETER] = column.parameter
        if column.layout == layouts.CELLS:
            continue
        if column.name in sizes.null_counts:
            bits = reservation.validity(column.name)
            assert bits is not None  # noqa: S101 - the reservation was told of NULLs
            bits[: rows // 8] = 0xFF
            bits[rows // 8 :] = (1 << rows % 8) - 1
            fields[layouts.VALIDITY] = address_of(bits, (rows + 7) // 8)
        if place in measured.dictionaries:
            fields[layouts.LAYOUT] = layouts.CODES
        elif column.is_variable:
            offsets = reservation.offsets(column.name)
            offsets[0] = 0
            fields[layouts.OFFSETS] = address_of(offsets, (rows + 1) * 8)
            data = reservation.data(column.name)
            fields[layouts.DATA] = address_of(data, sizes.text_bytes[column.name])
        else:
            fields[layouts.VALUES] = _values_address(column, reservation)
    return plan


def _values_address(column: SourceColumn, reservation: Reservation) -> int:
    values = reservation.values(column.name)
    if column.layout == layouts.BOOL:
        values[:] = 0
    assert isinstance(column.node, Value)  # noqa: S101 - others have no values of their own
    width: int = arrow_of(column.node.arrow).bit_width
    return address_of(values, (reservation.rows * width + 7) // 8)


def _value_fault(state: npt.NDArray[np.int64], scan: CopyScan) -> NeuralGpuBusError:
    fault = int(state[layouts.FAULT])
    column = scan.columns[int(state[layouts.FAULT_COLUMN])]
    row = int(state[layouts.ROWS]) + 1
    where = f"column {column.name!r}, row {row}"
    if fault in MALFORMED:
        position = int(state[layouts.FAULT_POSITION]) - scan.start
        return ProtocolError(
            f"unknown {MALFORMED[fault]} at byte {position} ({where})",
            hint="run the query again; if it happens again, report the statement",
            position=position,
        )
    assert isinstance(column.node, Value)  # noqa: S101 - others are not written by rows
    what, hint = refusal(column.node, fault, column.name)
    return BadValueError(f"{where} {what}", hint=hint, column=column.name, row=row)


def _check_ascii(column: SourceColumn, reservation: Reservation) -> None:
    """Refuse a ``"char"`` above 127: alone it is no UTF-8."""
    offsets = reservation.offsets(column.name)
    data = reservation.data(column.name)[: int(offsets[-1])]
    bad = np.flatnonzero(data > 127)
    if bad.size:
        row = int(np.searchsorted(offsets, bad[0], side="right"))
        raise BadValueError(
            f"column {column.name!r}, row {row} is no UTF-8 text: byte 0x{data[bad[0]]:02x}",
            hint=f"read it as a number: {column.name}::int",
            column=column.name,
            row=row,
        )
