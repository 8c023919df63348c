"""Reservation: a block being filled in place, seen by nobody until it is sealed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadParameterError, BadValueError, ColumnNotFoundError
from neural_gpu_bus.memory.catalog.names import check_given_name
from neural_gpu_bus.memory.layout.arrow_layout import BlockLayout, PlannedColumn, Span
from neural_gpu_bus.memory.writing.block_file import BlockFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.frames.frame import Frame

    Array = npt.NDArray[Any]

#: Last step of ``seal``, which memory supplies: reservation, name, cost of making it again in ns ->
#: frame.
Seal = Callable[["BlockReservation", str | None, int], "Frame"]


class BlockReservation:
    """Writable columns in Arrow's layout; see ``ports.Reservation``.

    Reserved memory reads as zeros. When it is sealed, NULL slots get NaN in float columns and 0 in
    others of fixed width, whatever was written there: equal columns are equal bytes. Only the text
    and the list under a NULL are the writer's. Dropped without ``seal`` it gives its memory back by
    itself. Children of nested columns are named by their paths: ``prices.item``, ``point.x``.
    """

    def __init__(
        self,
        schema: pa.Schema,
        layout: BlockLayout,
        file: BlockFile,
        seal: Seal,
        *,
        name: str | None = None,
    ) -> None:
        self.schema = schema
        self.layout = layout
        self.file = file
        #: What ``seal`` names it where it is given no name.
        self.name = name
        #: See ``BlockDescriptor.source_ns``; ``seal`` is told it.
        self.source_ns = 0
        self._seal: Seal | None = seal
        self._bytes: npt.NDArray[np.uint8] | None = file.array()
        self._columns = {column.spans.name: column for column in layout.planned}
        self._arrays: dict[tuple[str, str], Array] = {}
        self._cleanup = weakref.finalize(self, file.abandon)
        self._bytes[: len(layout.head)] = _as_bytes(layout.head)
        self._bytes[layout.nbytes - len(layout.tail) :] = _as_bytes(layout.tail)

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self.layout.rows

    def values(self, name: str) -> Array:
        """Writable values of a fixed-width column; bool: the bitmap's bytes, bit 0 first.

        Of a dictionary column: its indices. Decimals are unscaled integers, as bytes above 64 bits.
        """
        column = self._column(name)
        if not column.kind.fixed_width and column.kind.form != "bits":
            raise _has_none(column, "values", "fill offsets and data, or the columns below it")
        return self._array(name, "values", column.spans.values, column.kind.raw)

    def validity(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Writable bitmap (1 = not NULL, bit 0 first); None for a column without NULLs."""
        span = self._column(name).spans.validity
        return self._array(name, "validity", span, "u1") if span.nbytes else None

    def offsets(self, name: str) -> Array:
        """Writable rows + 1 offsets of texts (in bytes), lists and maps (in values).

        int64 for large_string, large_binary and large_list, int32 for the others.
        """
        column = self._column(name)
        if not column.kind.offsets:
            raise _has_none(column, "offsets", "fill `values` instead")
        return self._array(name, "offsets", column.spans.values, column.kind.offsets)

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """Writable bytes of a text column."""
        column = self._column(name)
        if column.kind.form != "text":
            raise _has_none(column, "bytes of text", "fill `values` instead")
        return self._array(name, "data", column.spans.data, "u1")

    def seal(self, name: str | None = None, *, reload_ns: int = 0, source_ns: int = 0) -> Frame:
        """Make it immutable; with a name also publish it as that dataset's newest version.

        ``reload_ns``: what making it again would cost, as measured; eviction goes by it.
        ``source_ns``: moment just before the snapshot of its source was taken, for ``as_of``. The
        arrays handed out become read-only; keep no slice of them for writing. Raises
        BadValueError where the NULLs are not those that were reserved, or offsets or indices run
        outside; BadParameterError for a name that cannot be given.
        """
        if name is not None:
            check_given_name(name)
        return self.seal_reserved(name or self.name, reload_ns=reload_ns, source_ns=source_ns)

    def seal_reserved(self, name: str | None, *, reload_ns: int = 0, source_ns: int = 0) -> Frame:
        """For this package: seal under a name not for callers to give: a job's result, a tensor."""
        self.source_ns = source_ns
        seal = self.finish()
        try:
            return seal(self, name, reload_ns)
        except BaseException:
            self._cleanup()
            raise

    def finish(self) -> Seal:
        """For this package: check the columns and make the arrays read-only, but leave the file.

        Raises BadValueError, and BadParameterError where it is sealed or abandoned already.
        """
        if self._seal is None:
            raise _over(self.file.uuid)
        for column in self.layout.planned:
            self._check(column)
        seal, self._seal = self._seal, None
        self._release()
        return seal

    def sealed(self) -> None:
        """For this package: the file is the memory's now, and no more ours to give back."""
        self._cleanup.detach()

    def abandon(self) -> None:
        """Give the memory back; what was written is gone. Harmless after ``seal``."""
        self._seal = None
        self._release()
        self._cleanup()

    def _release(self) -> None:
        if self._bytes is None:
            return
        _end_writing(self._arrays)
        whole = weakref.ref(_whole(self._bytes))
        self._bytes = None
        # An array that somebody kept shows these pages for as long as it lives.
        self.file.exposed = whole() is not None

    def _column(self, name: str) -> PlannedColumn:
        if name not in self._columns:
            raise ColumnNotFoundError(
                f"no column {name!r} is reserved", hint=f"there are {[*self._columns]}", column=name
            )
        return self._columns[name]

    def _array(self, name: str, part: str, span: Span, dtype: str) -> Array:
        if self._bytes is None:
            raise _over(self.file.uuid)
        if (name, part) not in self._arrays:
            array = self._bytes[span.offset : span.offset + span.nbytes].view(dtype)
            self._arrays[name, part] = array
        return self._arrays[name, part]

    def _check(self, column: PlannedColumn) -> None:
        """What a reader would trip over: wrong NULL counts, offsets or indices that run outside."""
        nulls = self._checked_nulls(column) if column.spans.validity.nbytes else None
        if nulls is not None:
            self._fill_nulls(column, nulls)
        if column.kind.offsets:
            self._check_offsets(column)
        elif column.kind.form == "indices":
            self._check_indices(column, nulls)

    def _check_offsets(self, column: PlannedColumn) -> None:
        import numpy as np

        offsets, unit = self.offsets(column.spans.name), "values"
        if column.kind.form == "text":
            unit = "bytes"
        falls = offsets[1:] < offsets[:-1]
        if offsets[0] != 0 or offsets[-1] > column.limit or falls.any():
            raise BadValueError(
                f"offsets of column {column.spans.name!r} run from {offsets[0]} to {offsets[-1]} "
                f"over {column.limit} {unit}, or fall",
                hint=f"start at 0, never fall, end within the reserved {unit}",
                column=column.spans.name,
                row=int(np.argmax(falls)) + 1 if falls.any() else 1 if offsets[0] else column.rows,
            )

    def _check_indices(self, column: PlannedColumn, nulls: npt.NDArray[np.intp] | None) -> None:
        """Negative ones are large ones without their sign; NULLs are 0 by now."""
        import numpy as np

        name = column.spans.name
        indices = self.values(name)
        unsigned = indices.view(f"<u{indices.dtype.itemsize}")
        if not len(unsigned) or unsigned.max() < column.limit:
            return
        outside = unsigned >= column.limit
        if nulls is not None:
            outside[nulls] = False
        if outside.any():
            row = int(np.argmax(outside))
            raise BadValueError(
                f"index {indices[row]} in row {row + 1:,} of column {name!r} is none of its "
                f"dictionary's {column.limit}",
                hint="indices count from 0",
                column=name,
                row=row + 1,
            )

    def _checked_nulls(self, column: PlannedColumn) -> npt.NDArray[np.intp]:
        """Rows that are NULL."""
        import numpy as np

        name, reserved = column.spans.name, column.spans.nulls
        bitmap = self.validity(name)
        assert bitmap is not None  # noqa: S101  reserved with it
        nulls = np.flatnonzero(np.unpackbits(bitmap, count=column.rows, bitorder="little") == 0)
        if len(nulls) != reserved:
            raise BadValueError(
                f"column {name!r} has {len(nulls)} NULLs where {reserved} were reserved",
                hint="count them before reserving, and set a bit for every other row",
                column=name,
                row=1,
            )
        return nulls

    def _fill_nulls(self, column: PlannedColumn, nulls: npt.NDArray[np.intp]) -> None:
        import numpy as np

        name, kind = column.spans.name, column.kind
        if kind.form == "bits":
            values = self.values(name)
            values &= self.validity(name)
        elif kind.fixed_width:
            filler = np.zeros((), kind.raw)  # fixed-size binary takes no plain 0
            self.values(name)[nulls] = np.nan if kind.null == "nan" else filler


def _end_writing(arrays: dict[tuple[str, str], Array]) -> None:
    for array in arrays.values():
        array.flags.writeable = False
    arrays.clear()


def _whole(array: Array) -> Array:
    """What every array made of this one refers to: numpy has no chains of views."""
    return array if array.base is None or not hasattr(array.base, "base") else _whole(array.base)


def _has_none(column: PlannedColumn, part: str, way_out: str) -> BadParameterError:
    name, kind = column.spans.name, column.spans.type
    return BadParameterError(
        f"column {name!r} is {kind}, which has no {part}", hint=way_out, parameter="name"
    )


def _as_bytes(data: bytes) -> npt.NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(data, np.uint8)


def _over(uuid: str) -> BadParameterError:
    return BadParameterError(
        f"reservation {uuid} is sealed or abandoned",
        hint="reserve another block",
        parameter="reservation",
    )
