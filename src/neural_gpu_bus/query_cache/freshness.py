"""How old a result may be, as the caller says it."""

from __future__ import annotations

import math
from datetime import timedelta
from numbers import Real
from typing import Any, Final

from neural_gpu_bus.errors import BadParameterError

#: A year: who means longer means "manual".
AGE_S_MAX: Final = 366 * 86_400
#: How late the stream of changes may be for ``"live"``: PostgreSQL is asked ten times a second.
LAG_S_MAX: Final = 1.0

_HINT = (
    "give a number of seconds (data read at most that long ago), 'live' (as of now), 'manual' "
    "(until plane.forget_query), or nothing (read now)"
)


def oldest_ns(freshness: Any, now_ns: int) -> int:
    """Moment since which data must have been read; below 0 where any will do.

    Raises BadParameterError for what says no such thing.
    """
    kind = type(freshness)
    # By the type first: isinstance takes as long as all the rest.
    if kind is int or kind is float or _is_number(freshness):
        if 0 <= freshness <= AGE_S_MAX:
            return now_ns - int(float(freshness) * 1e9)
    elif isinstance(freshness, timedelta):
        return oldest_ns(freshness.total_seconds(), now_ns)
    elif freshness == "manual":
        return -1 << 62
    elif freshness == "live":
        raise BadParameterError(
            "freshness is 'live', and no home follows tables here, so no commit can be heard of",
            hint=_HINT,
            parameter="freshness",
        )
    raise BadParameterError(
        f"freshness is {freshness!r}: {_why(freshness)}", hint=_HINT, parameter="freshness"
    )


def _is_number(freshness: Any) -> bool:
    return isinstance(freshness, Real) and not isinstance(freshness, bool)


def _why(freshness: Any) -> str:
    if _is_number(freshness):
        if math.isnan(freshness) or freshness < 0:
            return "no age is below 0 seconds"
        return f"{AGE_S_MAX:,} seconds are the most"
    return "neither seconds nor a word that is known"
