"""Tensors: numbers of a dataset in the layout and type that a model takes, made once for all.

A tensor is a block like any other, of one flat column; its schema says shape and columns. It is
found again by name: ``tensors/<uuid of what it was made of>/<sum of how>``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError, DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.matching.tensor_columns import fill, number_columns
from neural_gpu_bus.memory.catalog.names import tensor_names

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.descriptors import BlockDescriptor, Region
    from neural_gpu_bus.memory.frames.frame import Frame
    from neural_gpu_bus.memory.writing.reservation import BlockReservation

    Array = npt.NDArray[Any]

TensorType = Literal["float16", "float32", "float64", "int64"]
#: ``rows``: shape (rows, columns); ``columns``: (columns, rows). Both row-major and contiguous.
TensorLayout = Literal["rows", "columns"]

#: The flat column of a tensor's block, and the key of its schema metadata.
VALUES = "values"
TENSOR_KEY = b"ngb.tensor"


class _Wanted(NamedTuple):
    """What tensor of a frame is asked for."""

    columns: tuple[str, ...]
    dtype: TensorType
    layout: TensorLayout

    def shape(self, rows: int) -> tuple[int, int]:
        count = len(self.columns)
        return (rows, count) if self.layout == "rows" else (count, rows)


class TensorMemory(Protocol):
    """What is needed of a memory; ``UnifiedMemory`` has it."""

    def get(self, name: str) -> Frame: ...  # noqa: D102

    def blocks(self, prefix: str) -> Sequence[BlockDescriptor]: ...  # noqa: D102

    def reserve(  # noqa: D102
        self, schema: pa.Schema, rows: int, *, region: Region
    ) -> BlockReservation: ...


def tensor(
    memory: TensorMemory,
    source: Frame | str,
    columns: Sequence[str] | None = None,
    *,
    dtype: TensorType = "float32",
    layout: TensorLayout = "rows",
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Array:
    """Columns of numbers as one read-only, contiguous matrix in shared memory, region ``neural``.

    ``columns``: which, in that order; None for all of numbers (floats and integers; for ``int64``
    integers alone). ``layout``: ``rows`` for shape (rows, columns), ``columns`` for (columns,
    rows). Values are rounded to ``dtype``: float64 to float32 keeps 7 digits, to float16 3.

    NULL and NaN become NaN; ``int64`` refuses both NULL and columns of floats.

    A tensor of a whole dataset with a name is made once, by whichever process asks first, and
    found again by all until the dataset has a newer version or is dropped. One of a part, or of a
    frame without a name, is made at each call and goes with its last reference; better take a part
    of the whole one: ``tensor(...)[start:stop]``. One column that is of that type already is shown
    as it is, without a copy.

    Raises ColumnNotFoundError, UnsupportedTypeError for a column that is no number, BadValueError
    naming column and row for a value that ``dtype`` does not reach and for NULL in ``int64``,
    SharedMemoryFullError, and those of ``get``.
    """
    frame = memory.get(source) if isinstance(source, str) else source
    _check(dtype, layout)
    wanted = _Wanted(number_columns(frame, columns, dtype), dtype, layout)
    if (shown := _as_it_is(frame, wanted)) is not None:
        return shown
    name, shape = _name(frame, wanted), wanted.shape(frame.rows)
    # Looked for before it is got: an unknown name's error looks for one like it among all names.
    if name is not None and memory.blocks(name):
        with suppress(DatasetNotFoundError, DatasetEvictedError):
            return memory.get(name)[VALUES].reshape(shape)
    return _made(memory, frame, wanted, name, clock_ns)[VALUES].reshape(shape)


def _check(dtype: str, layout: str) -> None:
    for parameter, value, known in (
        ("dtype", dtype, get_args(TensorType)),
        ("layout", layout, get_args(TensorLayout)),
    ):
        if value not in known:
            raise BadParameterError(
                f"there is no {parameter} {value!r} for a tensor",
                hint=did_you_mean(str(value), known, f"use one of {', '.join(known)}"),
                parameter=parameter,
            )


def _as_it_is(frame: Frame, wanted: _Wanted) -> Array | None:
    """The one column itself where it is what is wanted already."""
    if len(wanted.columns) != 1:
        return None
    (name,) = wanted.columns
    if wanted.dtype == "int64" and frame.valid(name) is not None:
        return None  # its NULLs are refused where it is filled in
    values: Array = frame.values(name)
    adopted = values.dtype == wanted.dtype and values.flags.c_contiguous
    return values.reshape(wanted.shape(frame.rows)) if adopted else None


def _name(frame: Frame, wanted: _Wanted) -> str | None:
    """Where the tensor is found again; None for what is no whole dataset."""
    block = getattr(frame.source, "descriptor", None)
    if block is None or not block.name or block.rows != frame.rows:
        return None
    how = json.dumps(wanted).encode()
    return tensor_names(block.uuid) + hashlib.sha256(how).hexdigest()[:16]


def _made(
    memory: TensorMemory,
    frame: Frame,
    wanted: _Wanted,
    name: str | None,
    clock_ns: Callable[[], int],
) -> Frame:
    """The block, filled in place.

    Of two processes that make one tensor at once both do so, and the later publishes the same
    values as version 2.
    """
    started_ns = clock_ns()
    shape = wanted.shape(frame.rows)
    reservation = memory.reserve(_schema(frame, wanted), shape[0] * shape[1], region="neural")
    try:
        matrix = reservation.values(VALUES).reshape(shape)
        fill(matrix if wanted.layout == "rows" else matrix.T, frame, wanted.columns)
    except BaseException:
        reservation.abandon()
        raise
    return reservation.seal_reserved(name, reload_ns=clock_ns() - started_ns)


def _schema(frame: Frame, wanted: _Wanted) -> pa.Schema:
    import numpy as np
    import pyarrow as pa

    told = {
        "shape": wanted.shape(frame.rows),
        "columns": wanted.columns,
        "of": frame.source.title,
    }
    field = pa.field(VALUES, pa.from_numpy_dtype(np.dtype(wanted.dtype)), nullable=False)
    return pa.schema([field], metadata={TENSOR_KEY: json.dumps(told).encode()})
