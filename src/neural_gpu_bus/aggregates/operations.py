"""What is asked of a group: functions by name, their columns, and what the result is called.

Names and meanings are SQL's: aggregates pass over NULL, ``var`` and ``std`` are of a sample
(``var_samp``), ``quantile`` interpolates (``percentile_cont``) and ``quantile_disc`` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError

#: Function -> how many columns it takes, and whether a share ``q`` as well.
FUNCTIONS: Mapping[str, tuple[int, bool]] = {
    "count": (1, False),
    "sum": (1, False),
    "mean": (1, False),
    "var": (1, False),
    "std": (1, False),
    "var_pop": (1, False),
    "std_pop": (1, False),
    "min": (1, False),
    "max": (1, False),
    "first": (1, False),
    "last": (1, False),
    "median": (1, False),
    "quantile": (1, True),
    "quantile_disc": (1, True),
    "corr": (2, False),
    "weighted_mean": (2, False),
    "vwap": (2, False),
    "ohlcv": (2, False),
}

#: What others call them.
_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("avg", "average"), "mean"),
    **dict.fromkeys(("stddev", "stdev", "stddev_samp", "std_samp", "sd"), "std"),
    **dict.fromkeys(("variance", "var_samp"), "var"),
    **dict.fromkeys(("stddev_pop", "pstdev"), "std_pop"),
    **dict.fromkeys(("variance_pop", "pvariance"), "var_pop"),
    **dict.fromkeys(("percentile", "percentile_cont"), "quantile"),
    "percentile_disc": "quantile_disc",
    "minimum": "min",
    "maximum": "max",
    "total": "sum",
    **dict.fromkeys(("n", "len", "size"), "count"),
    "correlation": "corr",
    **dict.fromkeys(("ohlc", "bars"), "ohlcv"),
    "wavg": "weighted_mean",
}

#: Keywords of the plane's other reads, and what does it here.
_ELSEWHERE: Mapping[str, str] = {
    "params": "write values into where: {'close': ('>', 10)}",
    "columns": "name columns in operations: mean=['open', 'close']",
    "connections": "a large table is read by as many as suit it",
    "query_class": "give timeout_s",
    "texts": "texts are read as they come",
    "freshness": "an aggregate is not kept; plane.put(name, frame) keeps one",
    "progress": "an aggregate tells none",
    "batch_rows": "aggregate in one call",
    "limit": "slice the result",
    "order": "first and last go by order_by",
    "group_by": "groups go by by='instrument_id'",
}

#: Operations of one call.
OPERATIONS_MAX = 1000


class Aggregate(msgspec.Struct, frozen=True):
    """One operation: ``Aggregate("quantile", "close", q=0.95, name="p95")``.

    ``column``: a name, two of them for ``corr`` (y, x), ``weighted_mean`` and ``vwap`` (values,
    weights) and ``ohlcv`` (price, size), or None for ``count`` of rows. ``order_by``: the column
    that ``first`` and ``last`` go by, else the call's own. ``name`` is the result column's; of
    ``ohlcv`` what stands before its five.
    """

    function: str
    column: str | Sequence[str] | None = None
    q: float | None = None
    order_by: str | None = None
    name: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, without the one it goes by."""
        if self.column is None:
            return ()
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)

    @property
    def result_name(self) -> str:
        """As given, or made of columns and function: ``close_mean``, ``close_quantile_0.95``."""
        if self.name is not None:
            return self.name
        share = f"_{self.q:g}" if self.q is not None else ""
        return "_".join([*self.columns, self.function]) + share


def operations_of(
    aggregates: Sequence[Aggregate], keywords: Mapping[str, Any], order_by: str | None
) -> tuple[Aggregate, ...]:
    """Every operation asked for, checked, with its name; ``ohlcv`` as the five it stands for.

    A keyword's value is a column, a list of columns, or a mapping of result name to column. Where
    a function takes two columns, or a column and a share, a tuple of both stands for a column.
    Raises BadParameterError.
    """
    found = [*aggregates]
    for function, value in keywords.items():
        found += _of_keyword(function, value)
    named = [made for one in found for made in _completed(one, order_by)]
    if not named:
        raise _bad("there is no operation", "e.g. mean='close', or count=True")
    if len(named) > OPERATIONS_MAX:
        raise _bad(
            f"{len(named):,} operations are more than {OPERATIONS_MAX:,}", "ask in several calls"
        )
    return tuple(named)


def _of_keyword(function: str, value: Any) -> list[Aggregate]:
    _check_function(function)
    if function == "count" and value is True:
        return [Aggregate("count")]
    if isinstance(value, Mapping):
        return [_one(function, column, str(name)) for name, column in value.items()]
    if isinstance(value, list):
        return [_one(function, column, None) for column in value]
    return [_one(function, value, None)]


def _one(function: str, value: Any, name: str | None) -> Aggregate:
    takes_share = FUNCTIONS[function][1]
    if takes_share and isinstance(value, tuple) and len(value) == 2:
        return Aggregate(function, value[0], q=value[1], name=name)
    return Aggregate(function, value, name=name)


def _completed(one: Aggregate, order_by: str | None) -> list[Aggregate]:
    if not isinstance(one, Aggregate):
        raise _bad(
            f"{one!r} is no operation", "give keywords, mean='close', or Aggregate('mean', 'close')"
        )
    _check_function(one.function)
    _check_columns(one)
    _check_share(one)
    goes_by = one.order_by if one.order_by is not None else order_by
    if one.function == "ohlcv":
        return [_completed(part, goes_by)[0] for part in _parts(one)]
    if one.function in ("first", "last") and goes_by is None:
        raise _bad(
            f"{one.function} of {one.columns[0]!r} has no order to go by",
            "name the column of time: order_by='ts', or a bucket=('ts', '1 minute')",
        )
    named = msgspec.structs.replace(one, name=one.result_name, order_by=goes_by)
    if one.function == "vwap":
        return [msgspec.structs.replace(named, function="weighted_mean")]
    return [named]


def _parts(one: Aggregate) -> list[Aggregate]:
    price, size = one.columns
    before = f"{one.name}_" if one.name else ""
    kinds = {"open": "first", "high": "max", "low": "min", "close": "last"}
    bars = [
        Aggregate(function, price, order_by=one.order_by, name=before + name)
        for name, function in kinds.items()
    ]
    return [*bars, Aggregate("sum", size, name=before + "volume")]


def _check_function(function: Any) -> None:
    if function in FUNCTIONS:
        return
    name = str(function)
    if name in _ELSEWHERE:
        raise _bad(f"aggregate takes no {name!r}", _ELSEWHERE[name])
    raise _bad(
        f"there is no operation {function!r}; there are {', '.join(FUNCTIONS)}",
        f"it is called {_OTHER_NAMES[name]!r} here"
        if name in _OTHER_NAMES
        else did_you_mean(name, FUNCTIONS, "use one of these"),
    )


def _check_columns(one: Aggregate) -> None:
    wanted = FUNCTIONS[one.function][0]
    columns = one.columns
    if one.function == "count" and not columns:
        return
    fits: Callable[[Any], bool] = lambda name: isinstance(name, str) and bool(name)  # noqa: E731
    if len(columns) != wanted or not all(map(fits, columns)):
        example = "'close'" if wanted == 1 else "('close', 'volume')"
        example = f"({example}, 0.95)" if FUNCTIONS[one.function][1] else example
        raise _bad(
            f"{one.function} takes {'one column' if wanted == 1 else 'two columns'}, "
            f"not {one.column!r}",
            f"e.g. {one.function}={example}",
        )


def _check_share(one: Aggregate) -> None:
    takes_share = FUNCTIONS[one.function][1]
    number = isinstance(one.q, int | float) and not isinstance(one.q, bool)
    if takes_share and not (number and 0 <= one.q <= 1):  # type: ignore[operator]
        raise _bad(
            f"{one.function} has q={one.q!r}: expected a share from 0 to 1",
            f"e.g. {one.function}=('close', 0.95)",
        )
    if not takes_share and one.q is not None:
        raise _bad(f"{one.function} takes no q", "quantile and quantile_disc do")


def _bad(what: str, hint: str) -> BadParameterError:
    return BadParameterError(what, hint=hint, parameter="operations")
