"""Which datasets match: by name, columns, types, size, age. Pure; facts in, facts out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.memory.accounting.regions import check_region
from neural_gpu_bus.memory.layout.column_types import TYPES, column_type
from neural_gpu_bus.ports import QUERY_NAMES, RESULT_NAMES, TENSOR_NAMES

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import DatasetFacts, Region

#: A pattern finds names with these beginnings only where it spells the beginning out.
RESERVED_NAMES = (RESULT_NAMES, TENSOR_NAMES, QUERY_NAMES)

#: Types by what they are for, as the inputs of workloads have them.
FAMILIES: dict[str, re.Pattern[str]] = {
    "float": re.compile(r"u?int\d+|halffloat|float|double"),
    "integer": re.compile(r"u?int\d+"),
    "time": re.compile(r"u?int\d+|date.*|timestamp.*"),
    "text": re.compile(r"u?int\d+|(large_)?string|dictionary<values=(large_)?string,.*"),
}

_SECOND_NS = 1_000_000_000
_WILD = re.compile(r"[*?\[]")
#: ``timestamp[us]`` also finds a column with a time zone.
_ZONE = re.compile(r", tz=[^\]]+")

_Test = Callable[["DatasetFacts"], bool]


def find(
    facts: Iterable[DatasetFacts],
    pattern: str = "*",
    *,
    columns: Sequence[str] | Mapping[str, str] | None = None,
    types: str | Sequence[str] | None = None,
    rows_min: int | None = None,
    rows_max: int | None = None,
    bytes_min: int | None = None,
    bytes_max: int | None = None,
    older_than_s: float | None = None,
    newer_than_s: float | None = None,
    region: Region | None = None,
    pinned: bool | None = None,
    now_ns: int,
) -> list[DatasetFacts]:
    """Datasets that meet every condition given, sorted by name.

    ``pattern``: ``*`` stands for any text, ``?`` for one character, ``[a-c]`` and ``[!a]`` for one
    of a set; all others, dots and slashes too, for themselves: ``risk.*`` finds ``risk.eu`` and
    ``risk.eu/1``. Results of jobs and tensors are found only by a pattern that begins with
    ``jobs/``, ``tensors/`` or ``queries/``.

    ``columns``: names that all have to be there, or a mapping of name to type; ``types``: every
    column is of one of them. A type is Arrow's spelling (``double``, ``timestamp[us]``, with any
    time zone) or a family: ``float`` (any number), ``integer``, ``time``, ``text``. Limits of rows
    and bytes are inclusive. Age in seconds counts from when the version was made, by ``now_ns``.

    Raises BadParameterError for a condition that nothing could meet.
    """
    limits = {
        "rows": _limits("rows", rows_min, rows_max),
        "bytes": _limits("bytes", bytes_min, bytes_max),
    }
    tests: list[_Test] = [
        _name_test(pattern),
        *_column_tests(columns),
        *([_types_test(types)] if types is not None else []),
        lambda one: limits["rows"](one.rows) and limits["bytes"](one.nbytes),
        _age_test(older_than_s, newer_than_s, now_ns),
        *_choice_tests(region, pinned),
    ]
    found = (one for one in facts if all(test(one) for test in tests))
    return sorted(found, key=lambda one: one.name)


def literal_prefix(pattern: str) -> str:
    """The plain text that every name found begins with, for the index to look up: ``risk.``."""
    _check_pattern(pattern)
    wild = _WILD.search(pattern)
    return pattern[: wild.start()] if wild else pattern


def _check_pattern(pattern: Any) -> None:
    if not isinstance(pattern, str) or not pattern:
        raise BadParameterError(
            f"pattern is {pattern!r}: expected a text",
            hint="e.g. 'risk.*', or '*' for every dataset",
            parameter="pattern",
        )


def _name_test(pattern: str) -> _Test:
    begins = literal_prefix(pattern)
    # The standard library's own translation, but for line ends: names have none.
    import fnmatch

    fits = re.compile(fnmatch.translate(pattern)).match
    hidden = tuple(name for name in RESERVED_NAMES if not begins.startswith(name))
    return lambda one: not one.name.startswith(hidden) and fits(one.name) is not None


def _column_tests(columns: Sequence[str] | Mapping[str, str] | None) -> list[_Test]:
    if columns is None:
        return []
    if isinstance(columns, str) or not all(isinstance(name, str) and name for name in columns):
        raise BadParameterError(
            f"columns is {columns!r}: expected names",
            hint="e.g. columns=['ts', 'close'], or columns={'close': 'double'}",
            parameter="columns",
        )
    if isinstance(columns, Mapping):
        wanted = {name: _type_test(kind) for name, kind in columns.items()}
    else:
        wanted = dict.fromkeys(columns, _any_type)

    def test(one: DatasetFacts) -> bool:
        held = {column.name: column.type for column in one.columns}
        return all(name in held and fits(held[name]) for name, fits in wanted.items())

    return [test]


def _any_type(kind: str) -> bool:  # noqa: ARG001
    return True


def _types_test(types: str | Sequence[str]) -> _Test:
    fits = [_type_test(kind) for kind in ([types] if isinstance(types, str) else types)]
    return lambda one: all(any(fit(column.type) for fit in fits) for column in one.columns)


def _type_test(kind: str) -> Callable[[str], bool]:
    """Whether a column's type is that one, or of that family."""
    if isinstance(kind, str) and kind in FAMILIES:
        family = FAMILIES[kind]
        return lambda held: family.fullmatch(held) is not None
    try:
        column_type(kind, "")
    except (UnsupportedTypeError, TypeError):
        raise BadParameterError(
            f"there is no type {kind!r} in memory",
            hint=did_you_mean(str(kind), [*FAMILIES, *TYPES], f"e.g. {', '.join(FAMILIES)}"),
            parameter="types",
        ) from None
    return lambda held: held == kind or _ZONE.sub("", held) == kind


def _limits(what: str, least: int | None, most: int | None) -> Callable[[int], bool]:
    for name, limit in ((f"{what}_min", least), (f"{what}_max", most)):
        if limit is not None:
            check_whole_number(name, limit, 0)
    low, high = least or 0, most
    if high is not None and low > high:
        raise BadParameterError(
            f"{what}_min is {low} and {what}_max {high}: nothing lies between",
            hint="exchange them",
            parameter=f"{what}_min",
        )
    return lambda value: low <= value and (high is None or value <= high)


def _age_test(older_than_s: float | None, newer_than_s: float | None, now_ns: int) -> _Test:
    for name, age_s in (("older_than_s", older_than_s), ("newer_than_s", newer_than_s)):
        if age_s is not None and not (isinstance(age_s, int | float) and age_s >= 0):
            raise BadParameterError(
                f"{name} is {age_s!r}: expected a number of seconds, 0 or more",
                hint=f"e.g. {name}=3600",
                parameter=name,
            )

    def test(one: DatasetFacts) -> bool:
        age_s = (now_ns - one.created_ns) / _SECOND_NS
        return (older_than_s is None or age_s > older_than_s) and (
            newer_than_s is None or age_s < newer_than_s
        )

    return test


def _choice_tests(region: str | None, pinned: bool | None) -> list[_Test]:
    tests: list[_Test] = []
    if region is not None:
        check_region(region)
        tests.append(lambda one: one.region == region)
    if pinned is not None:
        tests.append(lambda one: one.pinned == pinned)
    return tests
