"""Values given to a statement, as psycopg takes them: times as they come from a frame too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neural_gpu_bus.errors import BadParameterError

#: Values by name, or in order; None where there are none, and ``%`` is itself.
Params = Mapping[str, Any] | Sequence[Any] | None

_UNITS_OF_MONTHS = ("Y", "M")


def plain_values(params: Params) -> Params:
    """The same, with numpy's times as Python's own, NaT as NULL. Raises BadParameterError for
    times that neither Python nor PostgreSQL has.
    """
    if isinstance(params, Mapping):
        return {name: _plain(name, value) for name, value in params.items()}
    if isinstance(params, list | tuple):
        return [_plain(at, value) for at, value in enumerate(params, 1)]
    return params


def _plain(place: object, value: Any) -> Any:
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_plain(place, item) for item in value)
    if not isinstance(value, np.datetime64 | np.timedelta64):
        return value
    if np.isnat(value):
        return None
    is_span = isinstance(value, np.timedelta64)
    unit = np.datetime_data(value.dtype)[0]
    if unit == "generic" or (is_span and unit in _UNITS_OF_MONTHS):
        raise _bad(place, value, "a number of days, or months or years, is not told by numpy")
    if unit in ("ns", "ps", "fs", "as"):
        whole = value.astype("timedelta64[us]" if is_span else "datetime64[us]")
        if whole.astype(value.dtype) != value:
            raise _bad(place, value, "PostgreSQL keeps no parts of a microsecond")
        value = whole
    found = value.item()
    if isinstance(found, int):
        raise _bad(place, value, "it lies outside of the years 1 to 9999")
    return found


def _bad(place: object, value: Any, why: str) -> BadParameterError:
    return BadParameterError(
        f"parameter {place!r} is {value!s} ({value.dtype}): {why}",
        hint="round it (value.astype('datetime64[us]')), or give a text and cast it: "
        "%(name)s::timestamp",
        parameter="params",
    )


def not_taken(params: Params, taken: Callable[[Any], bool]) -> BadParameterError | None:
    """The refusal of the first value that ``taken`` says no to; None where it is none of them."""
    items = params.items() if isinstance(params, Mapping) else enumerate(params or (), 1)
    for place, value in items:
        if not taken(value):
            kind = type(value)
            name = (
                kind.__name__
                if kind.__module__ == "builtins"
                else (f"{kind.__module__}.{kind.__name__}")
            )
            article = "an" if name[0] in "aeiou" else "a"
            items_of = " of what cannot be given" if isinstance(value, list | tuple) else ""
            return BadParameterError(
                f"parameter {place!r} is {article} {name}{items_of}, which is no value of SQL",
                hint="give a number, a text, bytes, a time, a UUID, a Decimal, None or a list of "
                "these; an array as array.tolist(), with = ANY(%(name)s)",
                parameter="params",
            )
    return None
