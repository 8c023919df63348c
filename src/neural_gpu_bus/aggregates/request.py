"""One question to a set of columns, and whether their types fit it: the same for both engines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError, ColumnNotFoundError, UnsupportedTypeError

if TYPE_CHECKING:
    from neural_gpu_bus.aggregates.conditions import Condition
    from neural_gpu_bus.aggregates.operations import Aggregate

#: What a column's type is for: integer, float, decimal, bool, time, timestamp, text, other.
Family = str

_NUMBERS = frozenset({"integer", "float", "decimal"})
_MOMENTS = frozenset({"time", "timestamp"})
_SORTED = _NUMBERS | _MOMENTS | {"text"}
_KEYS = _SORTED | {"bool"}

_FITS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("sum", "mean", "var", "std", "var_pop", "std_pop"), _NUMBERS),
    **dict.fromkeys(("median", "quantile", "corr", "weighted_mean"), _NUMBERS),
    **dict.fromkeys(("min", "max", "quantile_disc"), _SORTED),
}
_HINTS = {
    "bool": "cast it to an integer: true is 1",
    "text": "cast it to a number; count, min, max, first, last and quantile_disc take text",
    "time": "min, max, first, last and quantile_disc take times",
    "timestamp": "min, max, first, last and quantile_disc take times",
}

#: A Monday, so that weeks begin on Mondays.
DEFAULT_ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)

_UNITS_US = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_WIDTH = re.compile(r"\s*(\d*)\s*([a-z]+?)s?\s*")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Stretches of time, as ``date_bin`` has them: ``width_us`` long, one begins at the origin."""

    column: str
    width_us: int
    #: Microseconds since 1970 UTC.
    origin_us: int


@dataclass(frozen=True, slots=True)
class Request:
    """Groups, conditions and operations, checked against each other."""

    by: tuple[str, ...]
    bucket: Bucket | None
    where: Condition | None
    operations: tuple[Aggregate, ...]

    @property
    def of_all_rows(self) -> Request:
        """The same without its condition, for rows that a server has chosen."""
        return Request(self.by, self.bucket, None, self.operations)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns whose values make a group: ``by``, and last the bucket's."""
        return (*self.by, *([self.bucket.column] if self.bucket else []))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has to be read."""
        names: dict[str, None] = dict.fromkeys(self.keys)
        for one in self.operations:
            names.update(dict.fromkeys(one.columns))
            if one.function in ("first", "last"):
                names[str(one.order_by)] = None
        if self.where is not None:
            names.update(dict.fromkeys(self.where.columns))
        return tuple(names)


def bucket_of(value: Any) -> Bucket | None:
    """``("ts", "5 minutes")`` or with an origin behind it. Raises BadParameterError."""
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise _bad_bucket(f"bucket is {value!r}", "e.g. bucket=('ts', '1 minute')")
    column, width, *rest = value
    origin = rest[0] if rest else DEFAULT_ORIGIN
    if not isinstance(column, str) or not isinstance(origin, datetime):
        raise _bad_bucket(
            f"bucket is {value!r}", "give a column, a width, and a datetime as origin if need be"
        )
    aware = origin if origin.tzinfo is not None else origin.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return Bucket(column, _width_us(width), since // timedelta(microseconds=1))


def _width_us(width: Any) -> int:
    if isinstance(width, timedelta):
        found = width // timedelta(microseconds=1)
    else:
        fits = _WIDTH.fullmatch(width.lower()) if isinstance(width, str) else None
        if fits is None or fits[2] not in _UNITS_US:
            raise _bad_bucket(
                f"a bucket's width is {width!r}",
                f"a number and one of {', '.join(_UNITS_US)}: '5 minutes'; months and years differ "
                "in length",
            )
        found = int(fits[1] or 1) * _UNITS_US[fits[2]]
    if not 0 < found < 2**62:
        raise _bad_bucket(f"a bucket's width is {width!r}", "it has to be above 0, e.g. '1 minute'")
    return found


def make_request(
    by: str | Sequence[str] | None,
    bucket: Bucket | None,
    where: Condition | None,
    operations: tuple[Aggregate, ...],
) -> Request:
    """Raises BadParameterError for names that are no names, or given twice."""
    keys = (by,) if isinstance(by, str) else tuple(by or ())
    if not all(isinstance(name, str) and name for name in keys):
        raise BadParameterError(
            f"by is {by!r}: expected names of columns",
            hint="e.g. by='instrument_id'",
            parameter="by",
        )
    request = Request(keys, bucket, where, operations)
    names = [*request.keys, *(one.result_name for one in operations)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadParameterError(
            f"two columns of the result are named {twice!r}",
            hint="give one another name: mean={'average': 'close'}",
            parameter="operations",
        )
    return request


def check_types(request: Request, families: Mapping[str, Family], source: str) -> None:
    """Whether every column is there and of a type that its use takes; ``source`` for messages.

    Raises ColumnNotFoundError and UnsupportedTypeError.
    """
    for name in request.columns:
        if name not in families:
            raise _missing(name, families, source)
    for name in request.by:
        if families[name] not in _KEYS:
            raise _wrong(name, families[name], "a key of groups", "cast it to text")
    if request.bucket is not None and families[request.bucket.column] != "timestamp":
        name = request.bucket.column
        raise _wrong(name, families[name], "a time that buckets go by", "cast it to a timestamp")
    for one in request.operations:
        _check_operation(one, families)


def _check_operation(one: Aggregate, families: Mapping[str, Family]) -> None:
    for name in one.columns:
        family = families[name]
        if one.function in _FITS and family not in _FITS[one.function]:
            hint = _HINTS.get(family, "cast it to a number or to text")
            raise _wrong(name, family, f"what {one.function} takes", hint)
    if one.function in ("first", "last"):
        name = str(one.order_by)
        if families[name] not in {"integer", *_MOMENTS}:
            raise _wrong(name, families[name], "an order of time", "take a timestamp or an integer")


def _missing(name: str, known: Iterable[str], source: str) -> ColumnNotFoundError:
    names = list(known)
    return ColumnNotFoundError(
        f"no column {name!r} in {source}",
        hint=did_you_mean(name, names, f"it has {names}"),
        column=name,
    )


def _wrong(name: str, family: str, right: str, hint: str) -> UnsupportedTypeError:
    return UnsupportedTypeError(
        f"column {name!r} ({family}) is not {right}", hint=hint, column=name, type=family
    )


def _bad_bucket(what: str, hint: str) -> BadParameterError:
    return BadParameterError(what, hint=hint, parameter="bucket")
