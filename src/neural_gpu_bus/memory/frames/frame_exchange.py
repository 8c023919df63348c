"""A frame in other libraries' types. What is copied on the way is in ``frame_conversions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import MissingDependencyError, UnsupportedTypeError
from neural_gpu_bus.memory.frames.frame_refusals import check_types, converted

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from neural_gpu_bus.memory.frames.frame import Frame
    from neural_gpu_bus.memory.frames.frame_columns import ColumnWindow

#: From this version of DLPack on an exporter can say that its memory is read-only.
_DLPACK_READ_ONLY = (1, 0)


def to_arrow(frame: Frame) -> pa.Table:
    """The window's rows and columns."""
    source = frame.source
    some = frame.rows < source.rows
    table = source.arrow_rows(frame.start, frame.stop) if some else source.arrow()
    if len(frame) < len(table.column_names):
        table = table.select(list(frame))
    return table


def to_polars(frame: Frame) -> pl.DataFrame:
    """By Arrow."""
    try:
        import polars as pl
    except ImportError:
        raise missing("polars", "analysis") from None
    table = frame.arrow()
    check_types(table.schema, "polars")  # it panics, which no `except Exception` catches
    return converted(table, "polars", pl.DataFrame, (pl.exceptions.PolarsError,))


def to_pandas(frame: Frame, *, arrow: bool) -> pd.DataFrame:
    """By Arrow."""
    try:
        import pandas as pd
    except ImportError:
        raise missing("pandas") from None
    mapper = pd.ArrowDtype if arrow else None
    errors = (NotImplementedError, TypeError, ValueError)
    return converted(
        frame.arrow(), "pandas", lambda table: table.to_pandas(types_mapper=mapper), errors
    )


def to_duckdb(frame: Frame) -> duckdb.DuckDBPyRelation:
    """By Arrow."""
    try:
        import duckdb
    except ImportError:
        raise missing("duckdb", "analysis") from None
    table = frame.arrow()
    check_types(table.schema, "duckdb")
    return converted(table, "duckdb", duckdb.from_arrow, (duckdb.Error,))


def to_torch(frame: Frame) -> dict[str, Any]:
    """Over a private mapping: torch knows no read-only tensors, and a write into a read-only page
    would end the process.
    """
    try:
        import torch
    except ImportError:
        raise missing("torch", "torch") from None
    own = frame.private()
    return {name: torch.from_numpy(own.window(name).numbers()) for name in own}


def to_jax(frame: Frame) -> dict[str, Any]:
    """Over a private mapping, as for torch: jax gives memory that it may reuse to its kernels.

    jax takes 64-bit columns for 32-bit ones unless told otherwise, which loses digits silently.
    """
    try:
        import jax
    except ImportError:
        raise missing("jax") from None
    own = frame.private()
    numbers = {name: own.window(name).numbers() for name in own}
    for name, array in numbers.items():
        if array.itemsize == 8 and not jax.config.jax_enable_x64:
            raise UnsupportedTypeError(
                f"column {name!r} is {frame.types[name]}, and jax is set to make 32 bits of 64",
                hint="call jax.config.update('jax_enable_x64', True) first, or choose other "
                "columns: frame[[...]]",
                column=name,
                type=frame.types[name],
            )
    return {name: jax.numpy.from_dlpack(array) for name, array in numbers.items()}


def to_mlx(frame: Frame) -> dict[str, Any]:
    """mlx copies what numpy holds, and makes float32 of float64 unless told the type."""
    try:
        import mlx.core as mx
    except ImportError:
        raise missing("mlx", "mlx") from None
    numbers = {name: frame.window(name).numbers() for name in frame}
    return {
        name: mx.array(array, mx.float64 if array.dtype == "f8" else None)
        for name, array in numbers.items()
    }


def to_dlpack(frame: Frame, **asked: Any) -> object:
    """The matrix of a private mapping; read-only where the other side can be told."""
    own = frame.private()
    array = own.matrix() if len(own) > 1 else own.window(next(iter(own))).numbers()
    version = asked.get("max_version")
    if version is not None and version >= _DLPACK_READ_ONLY:
        array = array.view()
        array.flags.writeable = False
    given = {key: value for key, value in asked.items() if value is not None}
    return array.__dlpack__(**given)


def no_array(frame: Frame) -> UnsupportedTypeError:
    """Without it numpy makes an array of the names, as of any mapping; and given a matrix,
    ``pandas.DataFrame(frame)`` would lose the names.
    """
    first = next(iter(frame))
    return UnsupportedTypeError(
        f"a frame of {len(frame)} named columns is no one array",
        hint=f"take a column, frame[{first!r}], or columns of one type side by side, "
        "frame.matrix(); for pandas, frame.pandas()",
        column=first,
        type=frame.types[first],
    )


def missing(library: str, extra: str = "") -> MissingDependencyError:
    """The error for a library that is not installed."""
    package = f"'neural-gpu-bus[{extra}]'" if extra else library
    return MissingDependencyError(
        f"{library} is not installed",
        hint=f"pip install {package}, or use frame.arrow()",
        library=library,
        extra=extra,
    )


def to_codes(frame: Frame, name: str) -> tuple[Any, list[Any]]:
    """See ``Frame.codes``."""
    window = frame.window(name)
    if window.kind.form == "indices":
        return _dictionary_codes(frame, window)
    if window.column.type not in ("string", "large_string"):
        raise UnsupportedTypeError(
            f"column {name!r} is {window.column.type}, not text",
            hint=f"take frame[{name!r}]; only texts have codes",
            column=name,
            type=window.column.type,
        )
    encoded: Any = frame.arrow_column(name).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes.astype("int32", copy=False), encoded.dictionary.to_pylist()


def _dictionary_codes(frame: Frame, window: ColumnWindow) -> tuple[Any, list[Any]]:
    column: Any = frame.arrow_column(window.column.name)
    codes, valid = window.raw().astype("int32", copy=False), window.valid()
    if valid is not None:
        codes = codes.copy()
        codes[~valid] = -1
    return codes, column.dictionary.to_pylist()
