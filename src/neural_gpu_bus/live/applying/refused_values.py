"""Values that no column holds, in the words of a live table: nobody casts what is only followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.sql_text import quoted_name

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition

Failure = TypeVar("Failure", bound=Exception)

#: Ways out of a read, which a live table has not.
_OF_READS = ("cast it", "isfinite(", "numeric=")


def in_live_words(error: Failure, definition: LiveDefinition) -> Failure:
    """The decoder's refusal of a value with the ways out that a live table has; any other error
    as it is.
    """
    column = str(error.facts.get("column", "")) if isinstance(error, BadValueError) else ""
    if not isinstance(error, BadValueError) or not column:
        return error
    if not any(way in error.hint for way in _OF_READS):
        return error
    ways = ["leave the column out: columns=[...]"]
    if "isfinite(" in error.hint:
        ways += _of_moments(column, definition)
    else:
        ways.append("the rows: where=...")
    return cast("Failure", type(error)(error.what, hint="; or ".join(ways), **error.facts))


def _of_moments(column: str, definition: LiveDefinition) -> list[str]:
    """The server asks a filter of old rows as well, and wants its columns among what those have."""
    name = column if column.isidentifier() and column.islower() else quoted_name(column)
    alone = definition.append_only or definition.how != "stream"
    needs = "" if alone else ", with REPLICA IDENTITY FULL"
    return [
        f"leave such rows out: where='isfinite({name})'{needs}",
        f"follow a stored generated column: CASE WHEN isfinite({name}) THEN {name} END",
    ]
