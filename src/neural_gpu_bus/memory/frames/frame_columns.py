"""Columns of a frame as numpy arrays: a window of rows on a source's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.memory.layout.column_types import ColumnType
from neural_gpu_bus.memory.layout.frame_source import ColumnBytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Bools = npt.NDArray[np.bool_]
    Bytes = npt.NDArray[np.uint8]


class ColumnWindow(NamedTuple):
    """Rows ``start`` to ``stop`` (exclusive) of one column of a source."""

    column: ColumnBytes
    kind: ColumnType
    start: int
    stop: int
    #: Rows of the whole source.
    of: int

    @property
    def rows(self) -> int:
        """Rows of the window."""
        return self.stop - self.start

    @property
    def nulls(self) -> int:
        """NULLs within the window; counted where it is not the whole."""
        column = self.column
        if self.kind.form == "null":
            return self.rows
        if not column.nulls or column.validity is None:
            return 0
        if column.nulls > 0 and self.rows == self.of:
            return column.nulls
        return self.rows - int(_bits(column.validity, self.start, self.stop).sum())

    def valid(self) -> Bools | None:
        """True where not NULL; None without NULLs."""
        validity = self.column.validity
        if not self.nulls:
            return None
        if validity is None or self.kind.form == "null":
            import numpy as np

            return np.zeros(self.rows, np.bool_)
        return _bits(validity, self.start, self.stop)

    def raw(self) -> Array:
        """What is stored of these rows, without a copy but for bits that start within a byte."""
        values, kind = self.column.values, self.kind
        if kind.form == "bits":
            return self._bit_bytes(values)
        if kind.form == "text":
            data = self.column.data
            if data is None or self.start == self.stop:
                return values[:0].view("u1")
            offsets = self.offsets()
            return data[int(offsets[0]) : int(offsets[-1])]
        if not kind.raw:
            raise _no_numbers(self.column, "arrow")
        return values.view(kind.raw)[self.start : self.stop]

    def offsets(self) -> Array:
        """One more than rows, into the column's data; of texts, lists and maps."""
        return self.column.values.view(self.kind.offsets)[self.start : self.stop + 1]

    def bits(self) -> Bools:
        """A byte for each bit of a column of booleans; a copy."""
        return _bits(self.column.values, self.start, self.stop)

    def shown(self) -> tuple[Array, bool]:
        """As ``Frame`` shows it, and whether these are the very bytes.

        Raises UnsupportedTypeError for NULLs that numpy has no value for. Not for objects.
        """
        column, kind = self.column, self.kind
        nulls = self.nulls
        if nulls and kind.null == "refused":
            raise _refused(column, nulls)
        if kind.form == "bits":
            return self.bits(), False
        # ``adopted`` alone would say it, and takes 1 us to.
        adopted = kind.raw == kind.shown or kind.adopted
        shown = column.values.view(kind.shown if adopted else kind.raw)
        if len(shown) != self.rows:
            shown = shown[self.start : self.stop]
        if not adopted:
            shown = shown.astype("<i8").view(kind.shown)
        if not nulls or kind.null == "nan":
            return shown, adopted
        shown = shown.copy()
        shown[~_bits(column.validity, self.start, self.stop)] = "NaT"  # type: ignore[arg-type]
        return shown, False

    def numbers(self) -> Array:
        """As libraries without times take it: moments as integers of their unit.

        Raises UnsupportedTypeError for NULLs, but those of floats, and for what is no number.
        """
        if self.kind.form not in ("fixed", "bits") or self.kind.raw.startswith("|V"):
            raise _no_numbers(self.column, "codes" if "string" in self.column.type else "arrow")
        nulls = self.nulls
        if nulls and self.kind.null != "nan":
            raise _refused(self.column, nulls)
        if self.kind.form == "bits":
            return self.bits()
        return self.column.values.view(self.kind.raw)[self.start : self.stop]

    def nbytes(self) -> int:
        """Of its buffers, without what lies outside the window. Children of nested types are not
        counted.
        """
        kind, rows = self.kind, self.rows
        bitmap = (rows + 7) // 8
        own = bitmap if kind.form == "bits" else rows * (0 if kind.offsets else kind.item_bytes)
        if kind.offsets:
            own = (rows + 1) * int(kind.offsets[-1])
        if kind.form == "text":
            own += self.raw().nbytes
        return own + (bitmap if self.column.validity is not None else 0)

    def _bit_bytes(self, bitmap: Bytes) -> Bytes:
        """Bit 0 first, nothing set behind the last row."""
        import numpy as np

        start, stop = self.start, self.stop
        if not start % 8 and (stop == self.of or not stop % 8):
            return bitmap[start // 8 : (stop + 7) // 8]
        return np.packbits(_bits(bitmap, start, stop), bitorder="little")


def objects(window: ColumnWindow, column: Any) -> Array:
    """Values of an Arrow array as Python's own, None for NULL.

    Raises UnsupportedTypeError where Python has none: years beyond 9999, zones it does not know.
    """
    import numpy as np

    if window.kind.form == "text":
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)
    try:
        return np.fromiter(column.to_pylist(), dtype=object, count=window.rows)
    except (ValueError, OverflowError, LookupError) as error:  # pyarrow's, datetime's, zoneinfo's
        name, kind = window.column.name, window.column.type
        raise UnsupportedTypeError(
            f"column {name!r} ({kind}) has values that Python has no objects for: {error}",
            hint=f"take frame.arrow()[{name!r}]",
            column=name,
            type=kind,
        ) from None


def matrix(windows: list[ColumnWindow], *, copy: bool) -> Array:
    """Columns of one type side by side, shape (rows, columns); see ``Frame.matrix``."""
    import numpy as np

    kinds = {window.column.type: window.column.name for window in windows}
    if len(kinds) > 1:
        raise BadParameterError(
            f"a matrix has one type, and these columns have {len(kinds)}: {kinds}",
            hint="choose columns of one type: frame.matrix(['close', 'open'])",
            parameter="names",
        )
    for window in windows:
        if not window.kind.adopted or window.kind.raw.startswith("|V"):
            raise _no_numbers(window.column, "arrow")
    arrays = [window.shown() for window in windows]
    columns = [array for array, _ in arrays]
    step = _even_step(columns) if all(adopted for _, adopted in arrays) else None
    if step is not None:
        shape, strides = (len(columns[0]), len(columns)), (columns[0].itemsize, step)
        strided = np.lib.stride_tricks.as_strided
        return strided(columns[0], shape, strides, writeable=columns[0].flags.writeable)
    if not copy:
        raise BadParameterError(
            "these columns do not lie at equal distances, so no matrix shows them without a copy",
            hint="frame.matrix(names, copy=True) copies, or choose neighbours of one type",
            parameter="names",
        )
    copied = np.empty((len(columns), len(columns[0])), columns[0].dtype)
    for place, column in enumerate(columns):
        copied[place] = column
    return copied.T


def _even_step(columns: list[Array]) -> int | None:
    """Bytes from each column to the next; None where they differ, or lie in several mappings."""
    import numpy as np

    if not len(columns[0]) or len(columns) == 1:
        return columns[0].nbytes
    owners = {id(_owner(column)) for column in columns}
    steps = set(np.diff([column.ctypes.data for column in columns]).tolist())
    return steps.pop() if len(owners) == len(steps) == 1 else None


def _owner(array: Any) -> Any:
    """What holds an array's memory: the last of its bases."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _bits(bitmap: Bytes, start: int, stop: int) -> Bools:
    """A byte for each bit from ``start`` to ``stop``."""
    import numpy as np

    first = start // 8
    bits = np.unpackbits(bitmap[first : (stop + 7) // 8], count=stop - first * 8, bitorder="little")
    return bits[start - first * 8 :].view(np.bool_)


def _refused(column: ColumnBytes, nulls: int) -> UnsupportedTypeError:
    name = column.name
    return UnsupportedTypeError(
        f"column {name!r} ({column.type}) has {nulls} NULLs, for which numpy has no value",
        hint=f"use frame.values({name!r}) with frame.valid({name!r}), or frame.arrow()",
        column=name,
        type=column.type,
    )


def _no_numbers(column: ColumnBytes, way_out: str) -> UnsupportedTypeError:
    name = column.name
    ways = {
        "codes": f"leave it out: frame[[...]], or take its numbers: frame.codes({name!r})",
        "arrow": f"leave it out: frame[[...]], or take frame[{name!r}] or frame.arrow()",
    }
    return UnsupportedTypeError(
        f"column {name!r} is {column.type}, which is no number",
        hint=ways[way_out],
        column=name,
        type=column.type,
    )
