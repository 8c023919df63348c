"""How long a read may take: its class's time, or the caller's; said so when it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from neural_gpu_bus.errors import BadParameterError, QueryTimeoutError
from neural_gpu_bus.stores.postgres.connections.query_classes import QueryClass, QueryClassName

#: As of the settings; PostgreSQL's own limit is 24 days.
TIMEOUT_S_MAX: Final = 86_400

#: Where the time of each class is set.
_SETTINGS: Final[Mapping[QueryClassName, str]] = {
    "hot": "NGB_HOT_TIMEOUT_MS",
    "query": "NGB_QUERY_TIMEOUT_S",
    "load": "NGB_LOAD_TIMEOUT_S",
}


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The time of one read."""

    query_class: QueryClass
    #: None for no end.
    timeout_s: float | None
    #: The caller gave it; else it is the class's.
    given: bool

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say in a timeout of the body where its limit comes from."""
        try:
            yield
        except QueryTimeoutError as error:
            waited_for_pool = "sqlstate" not in error.facts
            if self.given or self.timeout_s is None or waited_for_pool:
                raise
            name = self.query_class.name
            raise QueryTimeoutError(
                f"{error.what} (query class {name!r})",
                hint="narrow the statement, add an index, give timeout_s= or another "
                f"query_class=, or raise {_SETTINGS[name]}",
                **error.facts,
            ) from error.__cause__


def time_limit(
    classes: Mapping[QueryClassName, QueryClass], name: QueryClassName, timeout_s: float | None
) -> TimeLimit:
    """Raises BadParameterError for a class or a time that is none."""
    if name not in classes:
        raise BadParameterError(
            f"query_class is {name!r}",
            hint=f"give one of {', '.join(classes)}",
            parameter="query_class",
        )
    query_class = classes[name]
    if timeout_s is None:
        return TimeLimit(query_class, query_class.timeout_s, given=False)
    if not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise BadParameterError(
            f"timeout_s is {timeout_s:g}",
            hint=f"give a time above 0, and {TIMEOUT_S_MAX} at most",
            parameter="timeout_s",
        )
    return TimeLimit(query_class, timeout_s, given=True)
