"""COPY BINARY bytes to columns in Arrow's layout: no socket, no clock, no object for each value.

Two passes. ``CopyScan`` walks what has arrived, while more is under way, and counts rows, text and
NULLs: a malformed or cut stream is found here, before anything is written. ``write_columns`` then
writes into a reservation that has exactly these sizes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from neural_gpu_bus.errors import BadValueError, NeuralGpuBusError, ProtocolError
from neural_gpu_bus.ports import Reservation, Reserve
from neural_gpu_bus.stores.postgres.decoding import copy_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

_STREAM_FAULTS = {
    kernels.BAD_MESSAGE_LENGTH: "a message's length is less than its own four bytes",
    kernels.BAD_SIGNATURE: "the stream does not begin with PGCOPY",
    kernels.BAD_FLAGS: "the header has critical flags or a length nobody defined",
    kernels.BAD_FIELD_COUNT: "a row has another number of fields than columns were described",
    kernels.BAD_LENGTH: "a field has a negative length",
    kernels.BAD_WIDTH: "a field has another length than its type",
    kernels.AFTER_END: "bytes follow the end of the stream",
    kernels.CUT: "the stream ends in the middle of a row",
}


class CopyScan:
    """Counts of one stream, fed as it grows. ``framed``: it comes in CopyData messages;
    ``headless``: in DataRow messages, rows alone.
    """

    def __init__(
        self,
        columns: Sequence[SourceColumn],
        *,
        framed: bool,
        headless: bool = False,
        start: int = 0,
    ) -> None:
        self.columns = tuple(columns)
        self.framed = framed or headless
        self.headless = headless
        self._widths = np.array([column.width for column in columns], np.int64)
        self._restart(start)

    def _restart(self, start: int) -> None:
        self.start = start
        self._state = np.zeros(kernels.STATE_SLOTS, np.int64)
        self._state[kernels.POSITION] = start
        self._state[kernels.STAGE] = kernels.IN_ROWS if self.headless else kernels.HEADER
        self._state[kernels.TAG] = kernels.DATA_ROW if self.headless else kernels.COPY_DATA
        self._text_bytes = np.zeros(len(self.columns), np.int64)
        self._nulls = np.zeros(len(self.columns), np.int64)

    @property
    def rows(self) -> int:
        """Rows counted so far."""
        return int(self._state[kernels.ROWS])

    @property
    def position(self) -> int:
        """First byte not looked at."""
        return int(self._state[kernels.POSITION])

    def feed(self, buffer: Bytes, stop: int) -> bool:
        """Count what is whole in ``buffer[:stop]``; True when another kind of message stands at
        ``position``. Raises ProtocolError.
        """
        scan = kernels.scan_messages if self.framed else kernels.scan_stream
        found = scan(buffer, stop, self._widths, self._state, self._text_bytes, self._nulls)
        if found == kernels.FAULTY:
            raise self._fault()
        return bool(found == kernels.OTHER_MESSAGE)

    def finish(self, buffer: Bytes, stop: int) -> None:
        """The stream ends at ``stop``: check that it is whole. Raises ProtocolError."""
        if self._state[kernels.STAGE] == kernels.SPLIT:
            end = kernels.join_messages(buffer, self.start, stop)
            self.framed = False
            self._restart(self.start)
            self.feed(buffer, end)
            stop = end
        whole = self._state[kernels.STAGE] == kernels.ENDED
        if self.headless:  # what follows the rows says that they are all
            whole = self.position == stop and not whole
        if not whole:
            end = "in the middle of a row" if self.headless else "without its trailer"
            raise ProtocolError(
                f"the stream of rows ends at byte {stop - self.start} {end}, after "
                f"{self.rows} rows",
                hint="run the query again; if it happens again, report the statement",
                position=stop - self.start,
            )

    def text_bytes(self) -> dict[str, int]:
        """Bytes of each column of text."""
        return {
            column.name: int(count)
            for column, count in zip(self.columns, self._text_bytes, strict=True)
            if column.is_variable
        }

    def text_bytes_by_place(self) -> npt.NDArray[np.int64]:
        """The same for all columns in order; 0 where it is no text."""
        return self._text_bytes

    def null_counts(self) -> dict[str, int]:
        """NULLs of each column that has any."""
        return {
            column.name: int(count)
            for column, count in zip(self.columns, self._nulls, strict=True)
            if count
        }

    def _fault(self) -> ProtocolError:
        position = int(self._state[kernels.FAULT_POSITION]) - self.start
        index = int(self._state[kernels.FAULT_COLUMN])
        column = f", column {self.columns[index].name!r}" if index >= 0 else ""
        return ProtocolError(
            f"the COPY stream is broken at byte {position} (row {self.rows + 1}{column}): "
            f"{_STREAM_FAULTS[int(self._state[kernels.FAULT])]}",
            hint="run the query again; if it happens again, report the statement",
            position=position,
        )


class ReceivedPart(NamedTuple):
    """The bytes of some of a result's rows, and their counts."""

    buffer: Bytes
    #: Finished.
    scan: CopyScan


def write_columns(parts: Sequence[ReceivedPart], reserve: Reserve) -> Reservation:
    """The rows of all parts, in order, into one reservation of the right size, abandoned on any
    error. Several parts are written by several threads.

    Text is UTF-8: PostgreSQL checks it on the way to a client of that encoding, from a database of
    encoding SQL_ASCII too. It does not check ``"char"``, a single byte.
    Raises BadValueError naming column and row, ProtocolError, and what ``reserve`` raises.
    """
    import pyarrow as pa

    columns = parts[0].scan.columns
    schema = pa.schema([(column.name, column.arrow_type()) for column in columns])
    rows = sum(part.scan.rows for part in parts)
    nulls = _sums([part.scan.null_counts() for part in parts])
    text_bytes = _sums([part.scan.text_bytes() for part in parts])
    reservation = reserve(schema, rows, text_bytes=text_bytes, null_counts=nulls)
    try:
        plan = _plan(columns, reservation, nulls, text_bytes)
        _write_parts(parts, plan)
        for column in columns:
            if column.layout == kernels.CHAR:
                _check_ascii(column, reservation)
    except BaseException:
        reservation.abandon()
        raise
    return reservation


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """One mapping with the sums of several."""
    sums: Counter[str] = Counter()
    for count in counts:
        sums.update(count)
    return dict(sums)


def _write_parts(parts: Sequence[ReceivedPart], plan: npt.NDArray[np.uint64]) -> None:
    """Each part at its own rows and bytes; of several faults the first part's is raised."""
    first_row, written = 0, np.zeros(len(plan), np.int64)
    jobs = []
    for part in parts:
        jobs.append((part, first_row, written.copy(), plan))
        first_row += part.scan.rows
        written += part.scan.text_bytes_by_place()
    if len(jobs) == 1:
        _write_part(*jobs[0])
        return
    with ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1)) as threads:
        for future in [threads.submit(_write_part, *job) for job in jobs]:
            future.result()


def _write_part(
    part: ReceivedPart,
    first_row: int,
    written: npt.NDArray[np.int64],
    plan: npt.NDArray[np.uint64],
) -> None:
    scan = part.scan
    place = np.full(kernels.PART_SLOTS, -1, np.int64)
    place[kernels.START] = scan.start
    place[kernels.FIRST_ROW], place[kernels.END_ROW] = first_row, first_row + scan.rows
    place[kernels.SHARED_FIRST] = first_row >> 3 if first_row % 8 else -1
    place[kernels.SHARED_LAST] = (first_row + scan.rows - 1) >> 3
    state = np.zeros(kernels.STATE_SLOTS, np.int64)
    state[kernels.STAGE] = kernels.IN_ROWS if scan.headless else kernels.HEADER
    kernels.write_rows(part.buffer, place, scan.framed, plan, written, state)
    if state[kernels.FAULT]:
        raise _value_fault(state, scan)


def _plan(
    columns: Sequence[SourceColumn],
    reservation: Reservation,
    nulls: Mapping[str, int],
    text_bytes: Mapping[str, int],
) -> npt.NDArray[np.uint64]:
    """Addresses of the reservation's buffers, prepared for ``write_rows``."""
    rows = reservation.rows
    plan = np.zeros((len(columns), kernels.PLAN_FIELDS), np.uint64)
    for fields, column in zip(plan, columns, strict=True):
        fields[kernels.LAYOUT] = column.layout
        if column.name in nulls:
            bits = reservation.validity(column.name)
            assert bits is not None  # noqa: S101 - the reservation was told of NULLs
            bits[: rows // 8] = 0xFF
            bits[rows // 8 :] = (1 << rows % 8) - 1
            fields[kernels.VALIDITY] = _address(bits, (rows + 7) // 8)
        if column.is_variable:
            offsets = reservation.offsets(column.name)
            offsets[0] = 0
            fields[kernels.OFFSETS] = _address(offsets, (rows + 1) * 8)
            data = reservation.data(column.name)
            fields[kernels.DATA] = _address(data, text_bytes[column.name])
            continue
        values = reservation.values(column.name)
        if column.layout == kernels.BOOL:
            values[:] = 0
            fields[kernels.VALUES] = _address(values, (rows + 7) // 8)
        else:
            fields[kernels.VALUES] = _address(values, rows * column.width)
    return plan


def _address(array: npt.NDArray[Any], needed_bytes: int) -> int:
    """Where a buffer begins; the compiled loop trusts that it is as long as was reserved."""
    if array.nbytes < needed_bytes or not array.flags.c_contiguous:
        raise ValueError(f"a reserved buffer has {array.nbytes} bytes, {needed_bytes} are needed")
    return array.ctypes.data


def _value_fault(state: npt.NDArray[np.int64], scan: CopyScan) -> NeuralGpuBusError:
    fault = int(state[kernels.FAULT])
    column = scan.columns[int(state[kernels.FAULT_COLUMN])]
    row = int(state[kernels.ROWS]) + 1
    where = f"column {column.name!r}, row {row}"
    if fault in (kernels.BAD_BOOL, kernels.BAD_JSONB):
        what = "boolean that is neither 0 nor 1" if fault == kernels.BAD_BOOL else "jsonb version"
        position = int(state[kernels.FAULT_POSITION]) - scan.start
        return ProtocolError(
            f"unknown {what} at byte {position} ({where})",
            hint="run the query again; if it happens again, report the statement",
            position=position,
        )
    if fault == kernels.IS_INFINITE:
        what = f"{where} is an infinite {column.type_name}, which Arrow cannot hold"
        hint = (
            f"leave such rows out (WHERE isfinite({column.name})), or replace them: "
            f"nullif(nullif({column.name}, 'infinity'), '-infinity')"
        )
    elif column.layout == kernels.TIME:
        what = f"{where} is 24:00:00, which Arrow cannot hold"
        hint = f"cast it: {column.name}::text"
    else:
        what = f"{where} is a {column.type_name} later than Arrow can hold (294247-01-10)"
        hint = f"leave such rows out, or cast it: {column.name}::text"
    return BadValueError(what, hint=hint, column=column.name, row=row)


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
