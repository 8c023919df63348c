"""Tables that are followed because a result depends on them: live tables where there are, else
their changes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from neural_gpu_bus.error_records import from_record
from neural_gpu_bus.errors import BadParameterError, UsageError
from neural_gpu_bus.live.definitions import changes_definition
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

if TYPE_CHECKING:
    from neural_gpu_bus.live.changes.changes_view import ChangesView
    from neural_gpu_bus.live.definitions import LiveDefinition, LiveDefinitions
    from neural_gpu_bus.live.shared import LiveView
    from neural_gpu_bus.stores.postgres.dependencies.dependency_records import Dependencies

#: Tables that are followed for their changes alone.
FOLLOWED_MAX: Final = 128
#: Statements whose tables are known; beyond it all are forgotten.
_KNOWN_MAX: Final = 2_000
_HOLD_ROWS = ("table", "partitioned table")

#: Of partitions: what they are partitions of, from themselves up to the root.
_TABLES_SQL = b"""
SELECT c.oid::int8, n.nspname::text, c.relname::text,
  ARRAY(SELECT relid::oid::int8 FROM pg_partition_ancestors(c.oid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::oid[])
"""
_NAMED_SQL = b"""
SELECT place::int8, coalesce(to_regclass(name)::oid::int8, 0)
FROM unnest(%s::text[]) WITH ORDINALITY named(name, place)
"""


class Asks(Protocol):
    """What is needed of a database; ``PostgresStore`` has it."""

    def asked(self, question: bytes, values: Any = None) -> list[tuple[Any, ...]]: ...  # noqa: D102


class Keeper(Protocol):
    """What is needed of a home's keeper; ``embedded.Attachment`` has it."""

    def follow(self) -> None:
        """Have the process of live tables run."""


class FollowedForChanges:
    """Of one home."""

    def __init__(
        self,
        changes: ChangesView,
        view: LiveView,
        definitions: LiveDefinitions,
        keeper: Callable[[], Keeper],
    ) -> None:
        self._changes = changes
        self._view = view
        self._definitions = definitions
        self._keeper = keeper
        #: Tables of statements, by fingerprint, each with its schema and name.
        self._tables: dict[tuple[str, str], dict[int, tuple[str, str]]] = {}

    def places(self, database: Asks, statement: str, found: Dependencies) -> list[int] | None:
        """Where the changes of all its tables are counted; None where some are not followed yet,
        which are asked for.

        Raises BadParameterError for a table that cannot be, and what following it failed with.
        """
        key = (statement, found.fingerprint)
        wanted = self._tables.get(key)
        if wanted is None:
            wanted = _tables_of(database, found)
            if len(self._tables) >= _KNOWN_MAX:
                self._tables = {}
            self._tables[key] = wanted
        covering = self._changes.covering()
        missing = {oid: name for oid, name in wanted.items() if oid not in covering}
        if missing:
            self._ask_for(database, missing)
            return None
        return [covering[oid] for oid in wanted]

    def _ask_for(self, database: Asks, missing: dict[int, tuple[str, str]]) -> None:
        known = self._definitions.all()
        there = _oids_of(database, list(known.values()))
        added = False
        for oid, (schema, table) in missing.items():
            same = [one for one in there.get(oid, []) if one.how == "stream"]
            whole = [one for one in same if not one.where and not one.append_only]
            if not whole and same:
                raise _partly(f"{schema}.{table}", same[0])
            for one in whole:
                self._check(one)
            if not whole:
                if sum(one.changes_only for one in known.values()) >= FOLLOWED_MAX:
                    raise _too_many()
                definition, is_new = self._definitions.add(changes_definition(schema, table))
                known[definition.name] = definition
                added |= is_new
        # Also where all are declared: the process may have ended with none.
        if added or not self._view.progress().pid:
            self._keeper().follow()

    def _check(self, definition: LiveDefinition) -> None:
        state = self._view.table(definition.name)
        if state is not None and state.state == "failed" and state.error is not None:
            error = from_record(state.error)
            if isinstance(error, UsageError):  # else it may pass, and is tried again
                raise error


def _tables_of(database: Asks, found: Dependencies) -> dict[int, tuple[str, str]]:
    """By OID, of what has rows; a partition is left to what it is a partition of, where the
    statement depends on that as well.
    """
    oids = [one.oid for one in found.relations if one.kind in _HOLD_ROWS]
    if not oids:
        return {}
    rows = database.asked(_TABLES_SQL, [oids])
    names = {oid: (schema, table) for oid, schema, table, _ in rows}
    tops = {
        next((one for one in reversed(ancestors) if one in names), oid)
        for oid, _, _, ancestors in rows
    }
    return {oid: names[oid] for oid in sorted(tops)}


def _oids_of(database: Asks, definitions: list[LiveDefinition]) -> dict[int, list[LiveDefinition]]:
    if not definitions:
        return {}
    parsed = [parse_table_name(one.table) for one in definitions]
    rows = database.asked(_NAMED_SQL, [[one.identifier.as_string(None) for one in parsed]])
    found: dict[int, list[LiveDefinition]] = {}
    for place, oid in rows:
        found.setdefault(oid, []).append(definitions[place - 1])
    return found


def _partly(table: str, other: LiveDefinition) -> BadParameterError:
    how = "a filter (where=)" if other.where else "append_only"
    return BadParameterError(
        f"freshness is 'live', and table {table} is live as {other.name!r} with {how}: not all its "
        "changes are told",
        hint=f"give a number of seconds instead, or drop that one: `ngb live drop {other.name}`",
        parameter="freshness",
    )


def _too_many() -> BadParameterError:
    return BadParameterError(
        f"freshness is 'live', and {FOLLOWED_MAX} tables are followed for their changes already",
        hint="drop some (`ngb live list`, `ngb live drop`); what nobody asks of is dropped in an "
        "hour",
        parameter="freshness",
    )
