"""How each table is published: a home's publications hold it once, with one filter."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from neural_gpu_bus.errors import BadParameterError

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape


class _Claim(NamedTuple):
    definition: LiveDefinition
    #: Of the table and its partitions.
    oids: frozenset[int]


class Claims:
    """By OID, because a table has many spellings. For the threads of all copies."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._claims: dict[str, _Claim] = {}

    def claim(self, definition: LiveDefinition, shape: TableShape) -> None:
        """Before the table is published for it. Raises BadParameterError where another live table
        has it otherwise; one that is followed for its changes alone gives way.
        """
        oids = frozenset((shape.oid, *shape.leaves))
        with self._turn:
            self._claims.pop(definition.name, None)
            for other, its in self._claims.values():
                if _way(other) != _way(definition) and its & oids and not other.changes_only:
                    raise _published_otherwise(definition, other)
            self._claims[definition.name] = _Claim(definition, oids)

    def drop(self, name: str) -> None:
        """It is live no more."""
        with self._turn:
            self._claims.pop(name, None)


def _way(definition: LiveDefinition) -> tuple[str, bool]:
    return definition.where or "", definition.append_only


def _published_otherwise(wanted: LiveDefinition, other: LiveDefinition) -> BadParameterError:
    return BadParameterError(
        f"table {wanted.table!r} is live as {other.name!r} with another where or append_only, and "
        "can be published in one way only",
        hint=f"drop that one first (`ngb live drop {other.name}`), or give the same",
        parameter="where",
    )
