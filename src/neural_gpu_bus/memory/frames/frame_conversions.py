"""What each conversion of a frame copies. The reference page and a test by address read this table.

Columns of one group behave alike; ``COLUMNS`` says which types are in it.
"""

from __future__ import annotations

from typing import NamedTuple

from neural_gpu_bus.memory.frames.frame_refusals import REFUSED

COLUMNS: dict[str, str] = {
    "floats": "float, double, halffloat",
    "integers": "int8 to int64, uint8 to uint64",
    "bool": "bool",
    "moments": "timestamp, duration, time64, date64",
    "short moments": "date32, time32",
    "fixed binary": "fixed_size_binary",
    "text": "string, large_string, binary, large_binary",
    "dictionary": "dictionary of any flat type",
    "decimals": "decimal32 to decimal256, month_day_nano_interval",
    "nested": "list, large_list, fixed_size_list, struct, map",
}

NUMERIC = ("floats", "integers")
FIXED = (*NUMERIC, "moments", "short moments")
ALL = tuple(COLUMNS)

_NOT_IN_DUCKDB = ", ".join(REFUSED["duckdb"])
_NOT_IN_POLARS = ", ".join(REFUSED["polars"])
_NO_NULLS = "refused where there are any"


class Conversion(NamedTuple):
    """One row of the table."""

    #: As it is written in Python; ``name`` is a column.
    call: str
    #: Groups of columns that it is about.
    columns: tuple[str, ...]
    copies: bool
    #: What NULL becomes.
    nulls: str
    note: str = ""


CONVERSIONS = (
    Conversion("frame[name]", ("floats",), False, "NaN"),
    Conversion("frame[name]", ("integers", "fixed binary"), False, _NO_NULLS),
    Conversion("frame[name]", ("moments",), False, "NaT, in a copy"),
    Conversion("frame[name]", ("short moments",), True, "NaT", "numpy has only 64 bits"),
    Conversion("frame[name]", ("bool",), True, _NO_NULLS, "bits become bytes"),
    Conversion(
        "frame[name]",
        ("text", "dictionary", "decimals", "nested"),
        True,
        "None",
        "Python objects: slow for many rows, see `arrow()` and `codes()`",
    ),
    Conversion(
        "frame.values(name)",
        (*FIXED, "bool", "fixed binary", "text", "dictionary", "decimals"),
        False,
        "a filler: NaN, 0, no text",
        "raw: days, bits, bytes, indices; bits of a slice within a byte are a copy",
    ),
    Conversion("frame.codes(name)", ("dictionary",), False, "-1, in a copy", "int32 indices"),
    Conversion("frame.codes(name)", ("text",), True, "-1", "looks at every text"),
    Conversion(
        "frame.matrix(name, ...)",
        (*NUMERIC, "moments"),
        False,
        "NaN of floats, else refused",
        "one type, evenly spaced; `copy=True` takes columns from anywhere",
    ),
    Conversion("frame.arrow()", ALL, False, "NULL"),
    Conversion("pyarrow.table(frame)", ALL, False, "NULL", "`__arrow_c_stream__`"),
    Conversion(
        "frame.polars()",
        (*FIXED, "bool"),
        False,
        "NULL",
        f"copies some others; refused: {_NOT_IN_POLARS}, alone or within another",
    ),
    Conversion(
        "frame.polars()",
        ("text",),
        False,
        "NULL",
        "Polars makes 16 bytes a row anew; texts above 12 bytes stay where they are",
    ),
    Conversion(
        "frame.duckdb()",
        ALL,
        False,
        "NULL",
        f"it scans these bytes; results are its own; refused: {_NOT_IN_DUCKDB}, alone or within "
        "another",
    ),
    Conversion(
        "frame.pandas()",
        ALL,
        True,
        "NaN, NaT or None, as pandas has it",
        "integers with NULLs become float64; refused: time64 with nanoseconds, lists of "
        "fixed_size_binary, decimal32 or decimal64, dictionaries of halffloat",
    ),
    Conversion(
        "frame.pandas(arrow=True)", ALL, False, "`pandas.NA`", "columns of `pandas.ArrowDtype`"
    ),
    Conversion(
        "frame.torch()",
        FIXED,
        False,
        "NaN of floats, else refused",
        "a mapping of this call alone: writes reach nobody else; moments are integers",
    ),
    Conversion("frame.torch()", ("bool",), True, _NO_NULLS, "bits become bytes"),
    Conversion(
        "frame.jax()",
        FIXED,
        False,
        "NaN of floats, else refused",
        "on the CPU; a slice that begins between multiples of 64 bytes is a copy; 64 bits need "
        "`jax_enable_x64`",
    ),
    Conversion("frame.jax()", ("bool",), True, _NO_NULLS, "bits become bytes"),
    Conversion(
        "frame.mlx()",
        (*FIXED, "bool"),
        True,
        "NaN of floats, else refused",
        "float64 stays float64, which mlx computes with on the CPU alone",
    ),
    Conversion(
        "numpy.from_dlpack(frame)",
        NUMERIC,
        False,
        "NaN of floats, else refused",
        "`__dlpack__` of `matrix()`, 1-D for one column; mapped for this call, as for torch",
    ),
)
