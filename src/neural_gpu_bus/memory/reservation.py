"""Reservation: a block being filled in place, seen by nobody until it is sealed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadParameterError, BadValueError, ColumnNotFoundError
from neural_gpu_bus.memory.arrow_layout import BlockLayout, ColumnSpans, Span
from neural_gpu_bus.memory.column_types import ColumnType, column_type
from neural_gpu_bus.memory.folder import remove_own
from neural_gpu_bus.memory.index import check_given_name
from neural_gpu_bus.memory.mapping import FileMapping
from neural_gpu_bus.ports import RESULT_NAMES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.frame import Frame

    Array = npt.NDArray[Any]

#: Last step of ``seal``, which memory supplies: reservation, name -> frame.
Seal = Callable[["BlockReservation", str | None], "Frame"]


class BlockReservation:
    """Writable columns in Arrow's layout; see ``ports.Reservation``.

    Reserved memory reads as zeros. When it is sealed, NULL slots get NaN in float columns and 0 in
    others of fixed width, whatever was written there: equal columns are equal bytes. Only the text
    under a NULL is the writer's. Dropped without ``seal`` it gives its memory back by itself.
    """

    def __init__(
        self,
        schema: pa.Schema,
        layout: BlockLayout,
        path: Path,
        mapping: FileMapping,
        seal: Seal,
        *,
        uuid: str,
    ) -> None:
        self.schema = schema
        self.layout = layout
        self.path = path
        self.uuid = uuid
        self._seal: Seal | None = seal
        self._bytes: npt.NDArray[np.uint8] | None = mapping.array()
        self._columns = {column.name: column for column in layout.columns}
        self._arrays: dict[tuple[str, str], Array] = {}
        self._cleanup = weakref.finalize(self, remove_own, path, os.getpid())
        self._bytes[: len(layout.head)] = _as_bytes(layout.head)
        self._bytes[layout.nbytes - len(layout.tail) :] = _as_bytes(layout.tail)

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self.layout.rows

    def values(self, name: str) -> Array:
        """Writable values of a fixed-width column; bool: the bitmap's bytes, bit 0 first."""
        column = self._column(name)
        return self._array(name, "values", column.values, column_type(column.type, name).raw)

    def validity(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Writable bitmap (1 = not NULL, bit 0 first); None for a column without NULLs."""
        column = self._column(name)
        return self._array(name, "validity", column.validity, "u1") if column.nulls else None

    def offsets(self, name: str) -> npt.NDArray[np.int64]:
        """Writable rows + 1 offsets in bytes of a text column."""
        return self._array(name, "offsets", self._column(name, text=True).values, "<i8")

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """Writable bytes of a text column."""
        return self._array(name, "data", self._column(name, text=True).data, "u1")

    def seal(self, name: str | None = None) -> Frame:
        """Make it immutable; with a name also publish it as that dataset's newest version.

        The arrays handed out become read-only; keep no slice of them for writing. Raises
        BadValueError where the NULLs are not those that were reserved, or text offsets run outside;
        BadParameterError for a name that cannot be given.
        """
        if name is not None:
            check_given_name(name)
        return self._sealed(name)

    def seal_result(self, job_id: str) -> Frame:
        """Seal it as the result of a job."""
        return self._sealed(RESULT_NAMES + job_id)

    def _sealed(self, name: str | None) -> Frame:
        if self._seal is None:
            raise _over(self.path)
        for column in self.layout.columns:
            self._check(column)
        seal, self._seal = self._seal, None
        try:
            return seal(self, name)
        except BaseException:
            self.abandon()
            raise
        finally:
            self._release()
            self._cleanup.detach()

    def abandon(self) -> None:
        """Give the memory back; what was written is gone. Harmless after ``seal``."""
        self._seal = None
        self._release()
        self._cleanup()

    def _release(self) -> None:
        for array in self._arrays.values():
            array.flags.writeable = False
        self._arrays.clear()
        self._bytes = None

    def _column(self, name: str, *, text: bool | None = None) -> ColumnSpans:
        if name not in self._columns:
            raise ColumnNotFoundError(
                f"no column {name!r} is reserved", hint=f"there are {[*self._columns]}", column=name
            )
        column = self._columns[name]
        if text and column_type(column.type, name).form != "text":
            raise BadParameterError(
                f"column {name!r} is {column.type}, which has no offsets",
                hint="fill `values` instead",
                parameter="name",
            )
        return column

    def _array(self, name: str, part: str, span: Span, dtype: str) -> Array:
        if self._bytes is None:
            raise _over(self.path)
        if (name, part) not in self._arrays:
            array = self._bytes[span.offset : span.offset + span.nbytes].view(dtype)
            self._arrays[name, part] = array
        return self._arrays[name, part]

    def _check(self, column: ColumnSpans) -> None:
        """What a reader would trip over: wrong NULL counts, offsets outside the data."""
        kind = column_type(column.type, column.name)
        if column.nulls:
            nulls = self._checked_nulls(column)
            self._fill_nulls(column.name, kind, nulls)
        if kind.form == "text":
            offsets = self.offsets(column.name)
            if (
                offsets[0] != 0
                or offsets[-1] > column.data.nbytes
                or (offsets[1:] < offsets[:-1]).any()
            ):
                raise BadValueError(
                    f"offsets of column {column.name!r} run from {offsets[0]} to {offsets[-1]} "
                    f"over {column.data.nbytes} bytes, or fall",
                    hint="start at 0, never fall, end within the reserved bytes",
                    column=column.name,
                    row=1,
                )

    def _checked_nulls(self, column: ColumnSpans) -> npt.NDArray[np.intp]:
        """Rows that are NULL."""
        import numpy as np

        bitmap = self.validity(column.name)
        assert bitmap is not None  # noqa: S101  reserved with it
        nulls = np.flatnonzero(np.unpackbits(bitmap, count=self.rows, bitorder="little") == 0)
        if len(nulls) != column.nulls:
            raise BadValueError(
                f"column {column.name!r} has {len(nulls)} NULLs where {column.nulls} were reserved",
                hint="count them before reserving, and set a bit for every other row",
                column=column.name,
                row=1,
            )
        return nulls

    def _fill_nulls(self, name: str, kind: ColumnType, nulls: npt.NDArray[np.intp]) -> None:
        import numpy as np

        if kind.form == "bits":
            values = self.values(name)
            values &= self.validity(name)
        elif kind.form == "fixed":
            filler = np.zeros((), kind.raw)  # fixed-size binary takes no plain 0
            self.values(name)[nulls] = np.nan if kind.null == "nan" else filler


def _as_bytes(data: bytes) -> npt.NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(data, np.uint8)


def _over(path: Path) -> BadParameterError:
    return BadParameterError(
        f"reservation {path.stem} is sealed or abandoned",
        hint="reserve another block",
        parameter="reservation",
    )
