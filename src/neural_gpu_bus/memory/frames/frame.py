"""Frame: read-only columns over bytes in shared memory, and windows on them."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.descriptors import AsOf, BlockDescriptor
from neural_gpu_bus.errors import BadParameterError, ColumnNotFoundError, DatasetEvictedError
from neural_gpu_bus.memory.frames import frame_exchange
from neural_gpu_bus.memory.frames.block_source import BlockSource, attach_block
from neural_gpu_bus.memory.frames.frame_columns import ColumnWindow, matrix, objects
from neural_gpu_bus.memory.frames.gone_source import GoneSource
from neural_gpu_bus.memory.layout.column_types import column_type

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from neural_gpu_bus.memory.layout.frame_source import FrameSource

    Array = npt.NDArray[Any]

#: Rows of ``head`` and ``tail`` where none are asked for, as in pandas and Polars.
_FEW_ROWS = 5
_FROM_THE_END = "count from 0; the last n rows are frame.tail(n)"


class Frame(Mapping[str, "Array"]):
    """Named columns of one length whose bytes lie in shared memory; nobody can change them.

    ``frame[name]`` is a numpy array without a copy for numbers, timestamps, durations, 64-bit times
    and fixed-size binary. These are copies, made at each look: bool (bits to bytes), 32-bit dates
    and times (numpy has only 64 bits), all types that numpy has as Python objects alone (text,
    binary, decimals, lists, dictionary values; None for NULL), and any moment column that has NULLs
    (NaT). A float column shows NaN where it is NULL, without a copy. Integer, bool and fixed-size
    binary columns with NULLs are refused: numpy has no such value, so take ``values`` and
    ``valid``, or ``arrow()``. docs/reference/frames.md has the whole table.

    ``frame[100:200]`` and ``frame[["close", "volume"]]`` are frames too, over the same bytes.
    Whatever is derived from a frame keeps the bytes alive, whoever drops or replaces the dataset.
    Pickling sends where the bytes are; the other side, on this host, attaches the same ones. Where
    they are gone by then, the frame's first use raises DatasetEvictedError.
    """

    __slots__ = ("__weakref__", "_digest", "_names", "_shown", "source", "start", "stop")

    def __init__(
        self,
        source: FrameSource,
        names: tuple[str, ...] | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        #: Where the bytes come from.
        self.source = source
        #: First row of the source that it shows, and the one behind the last.
        self.start = start
        self.stop = source.rows if stop is None else stop
        self._names = names
        self._shown: dict[str, Array] = {}
        self._digest = ""

    # ---- facts

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self.stop - self.start

    @property
    def nbytes(self) -> int:
        """Bytes in memory: of the whole block with its paddings, or of a slice's own values."""
        if self._is_whole():
            return self.source.nbytes
        return sum(self.window(name).nbytes() for name in self)

    @property
    def version(self) -> int:
        """Of the dataset, from 1 on; 0 where there are no versions."""
        return self.source.version

    @property
    def as_of(self) -> AsOf:
        """Which moment of its source it shows."""
        return self.source.as_of

    @property
    def types(self) -> dict[str, str]:
        """Arrow type of each column, in Arrow's own spelling."""
        types = dict(self.source.columns)
        return types if self._names is None else {name: types[name] for name in self._names}

    @property
    def is_block(self) -> bool:
        """Whether it is all of one block, so that it has a descriptor."""
        return isinstance(self.source, BlockSource) and self._is_whole()

    @property
    def descriptor(self) -> BlockDescriptor:
        """Of the block; BadParameterError for a slice, which is no block of its own."""
        if isinstance(self.source, BlockSource) and self._is_whole():
            return self.source.descriptor
        raise BadParameterError(
            f"rows {self.start:,} to {self.stop:,} of {self.source.title} are no block of their "
            "own",
            hint="make them one, with a copy: plane.put(name, frame)",
            parameter="frame",
        )

    # ---- columns

    @overload
    def __getitem__(self, key: str) -> Array: ...
    @overload
    def __getitem__(self, key: builtins.slice | list[str] | tuple[str, ...]) -> Frame: ...
    def __getitem__(self, key: Any) -> Any:
        """A column by its name, rows by a slice, columns by a list of names."""
        try:
            # A view, so that nobody changes the shape or type of what all others are shown.
            return self._shown[key].view()
        except (KeyError, TypeError):  # TypeError: a list, and a slice until Python 3.12
            return self._look(key)

    def _look(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._column(key)
        if isinstance(key, builtins.slice):
            return self._cut(key)
        if isinstance(key, (list, tuple)):
            return self.select(*key)
        raise BadParameterError(
            f"{key!r} is neither a column's name nor rows",
            hint="take frame['close'], frame[100:200] or frame[['close', 'volume']]; for rows by "
            "a condition, frame.arrow().filter or frame.polars().filter",
            parameter="key",
        )

    def _column(self, name: str) -> Array:
        window = self.window(name)
        if window.kind.shown == "O":
            return objects(window, self.arrow_column(name))
        shown, adopted = window.shown()
        if not adopted:
            return shown
        self._shown[name] = shown
        return shown.view()

    def __iter__(self) -> Iterator[str]:
        if self._names is None:
            return iter([name for name, _ in self.source.columns])
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        # Mapping's own would build the column to see whether it is there.
        return name in list(self)

    def __len__(self) -> int:
        """Number of columns, as in any mapping; ``rows`` has the other."""
        return len(self.source.columns if self._names is None else self._names)

    def values(self, name: str | None = None) -> Any:
        """Raw values of a column without a copy: what lies under NULL is a filler (NaN, 0).

        bool: the bitmap's bytes, bit 0 first (a copy in a slice that starts or ends within one).
        date32: days as int32. Text: its bytes, one after the other. Dictionary: its indices.
        Without a name: the mapping's own values, as Python's mappings have them.
        """
        return super().values() if name is None else self.window(name).raw()

    def valid(self, name: str) -> npt.NDArray[np.bool_] | None:
        """True where not NULL (a copy, a byte a row); None for a column without NULLs."""
        return self.window(name).valid()

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], list[Any]]:
        """A text or dictionary column as numbers: int32 code a row (-1 for NULL), and the value of
        each code.

        Codes of texts are a copy and count up in order of first appearance. Those of a dictionary
        are its own, without a copy where they are stored as int32 and none is NULL.
        """
        return frame_exchange.to_codes(self, name)

    def matrix(self, *names: str, copy: bool = False) -> Array:
        """Columns side by side: a numpy array of shape (rows, columns), without a copy.

        They have one type of fixed width, no NULLs but those of floats (NaN), and lie at equal
        distances, as all columns of one type and without NULLs in a block do. With ``copy`` they
        may lie anywhere. Raises BadParameterError and UnsupportedTypeError with the way out.
        """
        return matrix([self.window(name) for name in names or self], copy=copy)

    def digest(self) -> str:
        """32 hex digits of names, types and values: equal for equal columns in whatever block, and
        for a slice of equal rows. What lies under NULL is no part of it.

        Reads every byte, once a frame, at 1 to 2 GB/s.
        """
        if not self._digest:
            from neural_gpu_bus.memory.frames.frame_digest import digest

            self._digest = digest(self)
        return self._digest

    # ---- windows

    def select(self, *names: str) -> Frame:
        """Those columns, in that order, over the same bytes."""
        known = list(self)
        for name in names:
            if name not in known:
                raise self._unknown(name)
        if not names or len(set(names)) < len(names):
            raise BadParameterError(
                f"{list(names)} are no columns to choose",
                hint=f"give each name once, of {known}",
                parameter="names",
            )
        return Frame(self.source, names, self.start, self.stop)

    def slice(self, start: int, rows: int | None = None) -> Frame:
        """``rows`` rows from ``start`` on, over the same bytes; fewer where it ends before."""
        start = check_whole_number("start", start, 0, _FROM_THE_END)
        if rows is None:
            return self._cut(builtins.slice(start, None))
        return self._cut(builtins.slice(start, start + check_whole_number("rows", rows, 0)))

    def head(self, rows: int = _FEW_ROWS) -> Frame:
        """The first rows, over the same bytes."""
        return self.slice(0, rows)

    def tail(self, rows: int = _FEW_ROWS) -> Frame:
        """The last rows, over the same bytes."""
        rows = check_whole_number("rows", rows, 0)
        return self.slice(max(self.rows - rows, 0), rows)

    def _cut(self, rows: builtins.slice) -> Frame:
        if rows.step not in (None, 1):
            raise BadParameterError(
                f"rows in steps of {rows.step} are no slice without a copy",
                hint=f"take every row, or a column's own: frame[name][::{rows.step}]",
                parameter="key",
            )
        start, stop, _ = rows.indices(self.rows)
        return Frame(self.source, self._names, self.start + start, self.start + max(start, stop))

    def _is_whole(self) -> bool:
        source = self.source
        return self.rows == source.rows and (
            self._names is None or list(self._names) == [name for name, _ in source.columns]
        )

    # ---- other libraries

    def arrow(self) -> pa.Table:
        """The same bytes as an Arrow table, without a copy."""
        return frame_exchange.to_arrow(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.arrow().__arrow_c_stream__(requested_schema)  # type: ignore[no-untyped-call]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise frame_exchange.no_array(self)

    def polars(self) -> pl.DataFrame:
        """As a Polars frame over these bytes; of text, 16 bytes a row are made anew."""
        return frame_exchange.to_polars(self)

    def pandas(self, *, arrow: bool = False) -> pd.DataFrame:
        """As a pandas frame: a copy, NULLs as pandas has them for that type. With ``arrow`` its
        columns are these bytes (``pandas.ArrowDtype``), and NULL is ``pandas.NA``.
        """
        return frame_exchange.to_pandas(self, arrow=arrow)

    def duckdb(self) -> duckdb.DuckDBPyRelation:
        """As a DuckDB relation that scans these bytes."""
        return frame_exchange.to_duckdb(self)

    def torch(self) -> dict[str, Any]:
        """As torch tensors over these bytes; bool is a copy, moments are integers of their unit.

        torch has no read-only tensors: what is written to one stays in this process and in the
        tensors of this call. Raises UnsupportedTypeError for text and NULLs but a float's.
        """
        return frame_exchange.to_torch(self)

    def jax(self) -> dict[str, Any]:
        """As jax arrays on the CPU, over these bytes where they begin at a multiple of 64 bytes,
        else copies; otherwise as ``torch``. 64-bit columns need ``jax_enable_x64``.
        """
        return frame_exchange.to_jax(self)

    def mlx(self) -> dict[str, Any]:
        """As mlx arrays of the same types, which are copies; otherwise as ``torch``."""
        return frame_exchange.to_mlx(self)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        return frame_exchange.to_dlpack(
            self, stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU, dlpack.h

    # ---- Python's own

    def __reduce__(self) -> tuple[Any, ...]:
        function, arguments = self.source.reference()
        return _found, (function, arguments, self._names, self.start, self.stop)

    def __eq__(self, other: object) -> bool:
        """Same rows and columns of the same block; compare ``arrow()`` for the same values."""
        if not isinstance(other, Frame):
            return False
        mine, theirs = (self.start, self.stop), (other.start, other.stop)
        return self.source == other.source and mine == theirs and [*self] == [*other]

    def __hash__(self) -> int:
        return hash((self.source, self.start, self.stop))

    def __repr__(self) -> str:
        from neural_gpu_bus.memory.frames.frame_text import describe

        return describe(self)

    def _repr_html_(self) -> str:
        from neural_gpu_bus.memory.frames.frame_text import describe_html

        return describe_html(self)

    # ---- for this package

    def window(self, name: str) -> ColumnWindow:
        """For this package: a column's rows; ColumnNotFoundError for one that is not chosen."""
        if self._names is not None and name not in self._names:
            raise self._unknown(name)
        try:
            column = self.source.column(name)
        except KeyError:
            raise self._unknown(name) from None
        kind = column_type(column.type, name)
        return ColumnWindow(column, kind, self.start, self.stop, self.source.rows)

    def arrow_column(self, name: str) -> Any:
        """For this package: the rows of one column as an Arrow array."""
        column: Any = self.source.arrow_rows(self.start, self.stop)[name]
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def private(self) -> Frame:
        """For this package: the same window over bytes that this process may write to, seen by
        nobody else.
        """
        return Frame(self.source.private(), self._names, self.start, self.stop)

    def _unknown(self, name: object) -> ColumnNotFoundError:
        return ColumnNotFoundError(
            f"no column {name!r} in {self.source.title}",
            hint=f"it has {list(self)}",
            column=name,
        )


def attach_frame(folder: Path, descriptor: BlockDescriptor) -> Frame:
    """All of a block, mapped by its descriptor; DatasetEvictedError: see ``attach_block``."""
    return Frame(attach_block(folder, descriptor))


def _found(
    find: Any, arguments: tuple[Any, ...], names: Sequence[str] | None, start: int, stop: int
) -> Frame:
    try:
        source = find(*arguments)
    except DatasetEvictedError as error:
        source = GoneSource(error)  # told at the first use: a pool breaks if this raises
    return Frame(source, None if names is None else tuple(names), start, stop)
