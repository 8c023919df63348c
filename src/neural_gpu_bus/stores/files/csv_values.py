"""Text to typed values, a column at a time, and the first value that will not go."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from neural_gpu_bus.stores.arrow_values import text_array

#: Besides nothing at all, what means NULL in a column that is not text. In a text column they are
#: text: NA is a ticker, and a country.
NULL_SPELLINGS = ("", "NULL", "null", "None", "NA", "N/A", "n/a", "<NA>", "\\N", "-")

_EXPECTED = {
    pa.bool_(): "true or false",
    pa.int16(): "a whole number that fits smallint",
    pa.int32(): "a whole number that fits integer",
    pa.int64(): "a whole number that fits bigint",
    pa.float32(): "a number",
    pa.float64(): "a number",
    pa.date32(): "a date such as 2024-01-31",
    pa.time64("us"): "a time of day such as 09:30:00",
}


def expected(type_: pa.DataType) -> str:
    """A type in words, as it stands after "is not"."""
    if pa.types.is_timestamp(type_):
        example = "2024-01-31T09:30:00" + ("Z" if type_.tz else "")
        digits = {"us": 6, "ns": 9}[type_.unit]
        return f"a time such as {example} (at most {digits} digits after the second)"
    return _EXPECTED.get(type_, str(type_))


def cast_text(text: Any, type_: pa.DataType) -> Any:
    """The column as ``type_``. Raises ArrowInvalid when one value will not go.

    Times without a zone are UTC where the type has one. NULL is nothing at all, or one of
    NULL_SPELLINGS.
    """
    if pa.types.is_string(type_):
        return text
    try:
        return _cast(text, type_)
    except pa.ArrowInvalid:
        trimmed = pc.ascii_trim_whitespace(text)
        is_null = pc.is_in(trimmed, value_set=text_array(NULL_SPELLINGS))
        return _cast(pc.if_else(is_null, pa.nulls(1, pa.string())[0], trimmed), type_)


def first_misfit(text: Any, type_: pa.DataType) -> int:
    """Index of the first value that ``cast_text`` refuses, in a column that it refuses: halves
    are tried, so that the whole costs no more than two casts of the column.
    """
    start, stop = 0, len(text)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            cast_text(text.slice(start, middle - start), type_)
            start = middle
        except pa.ArrowInvalid:
            stop = middle
    return start


def _cast(text: Any, type_: pa.DataType) -> Any:
    if pa.types.is_time(type_):
        prefix, between = text_array(("1970-01-01", " "))
        whole = pc.binary_join_element_wise(prefix, text, between)
        return whole.cast(pa.timestamp("us")).cast(type_)
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        try:
            return text.cast(type_)
        except pa.ArrowInvalid:
            return text.cast(pa.timestamp(type_.unit)).cast(type_)
    return text.cast(type_)
