"""``plane.sql``: one SELECT over live tables, all as of one position."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from neural_gpu_bus.arguments import check_encodable, check_seconds, check_text
from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.descriptors import AsOf
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError, QueryError, StaleError
from neural_gpu_bus.live.definitions import not_live
from neural_gpu_bus.live.live_table import LiveTable, live_snapshot
from neural_gpu_bus.live.refusals import too_old
from neural_gpu_bus.live.sql.answer import AnswerSource
from neural_gpu_bus.live.sql.duckdb_database import DuckDbDatabase, Params, TableNamed
from neural_gpu_bus.live.waiting import spelled
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.frames.frame_refusals import check_types

if TYPE_CHECKING:
    from neural_gpu_bus.memory.series.series import SeriesSnapshot

#: Characters of a statement.
STATEMENT_CHARACTERS_MAX = 1_000_000


class LiveSql:
    """Statements of one process; safe for its threads."""

    def __init__(
        self,
        names: Callable[[], Iterable[str]],
        open_table: Callable[[str], LiveTable],
        *,
        bytes_max: int,
    ) -> None:
        """``names``: of all live tables. Raises MissingDependencyError without DuckDB."""
        self._names = names
        self._open_table = open_table
        self._database = DuckDbDatabase(bytes_max)
        self._opening = threading.Lock()
        self._opened: dict[str, LiveTable] = {}

    def close(self) -> None:
        """No statement after it."""
        self._database.close()

    def answer(
        self, statement: str, params: Params, *, max_lag_s: float | None, timeout_s: float
    ) -> Frame:
        """See ``plane.sql``."""
        check_text("statement", statement, "'SELECT count(*) FROM bars'")
        check_encodable("statement", statement)
        check_seconds("timeout_s", timeout_s)
        if max_lag_s is not None:
            check_seconds("max_lag_s", max_lag_s)
        if len(statement) > STATEMENT_CHARACTERS_MAX:
            raise _bad(f"{len(statement):,} characters", "write a shorter one")
        named = self._database.tables_of(statement)
        known = list(self._names())
        found = {name: live for name in named if (live := _live_name(name, known)) is not None}
        _check_told_apart(found)
        moment = self._moment(sorted(set(found.values())), max_lag_s)
        tables = {name: moment[live].arrow() for name, live in found.items()}
        for table in tables.values():
            check_types(table.schema, "duckdb")
        try:
            answer = self._database.run(statement, params, tables, timeout_s)
        except QueryError as error:
            raise _unknown(error, [one for one in named if one not in found], known) from None
        told = next((one.as_of for one in moment.values()), AsOf(time.time_ns()))
        return Frame(AnswerSource(as_table(answer), told))

    def _moment(self, names: list[str], max_lag_s: float | None) -> dict[str, SeriesSnapshot]:
        """All of them as of one position."""
        tables = [self._table(name) for name in names]
        if max_lag_s is not None:
            for table in tables:
                found = table.as_of
                if found.lag_s > max_lag_s:
                    raise too_old(found, max_lag_s)
        if len(tables) == 1:
            return {names[0]: tables[0].snapshot()}
        try:
            return live_snapshot(tables)
        except StaleError as error:
            raise _several_positions(tables, error) from None

    def _table(self, name: str) -> LiveTable:
        with self._opening:
            found = self._opened.get(name)
            if found is None:
                found = self._opened[name] = self._open_table(name)
            return found


def _live_name(named: TableNamed, known: list[str]) -> str | None:
    """The live table that is meant: as it is written, else whatever its case, as DuckDB has it."""
    if named.catalog:
        return None
    said = str(named)
    if said in known:
        return said
    alike = [name for name in known if name.lower() == said.lower()]
    if len(alike) > 1:
        raise _bad(f"{said!r} may be {' or '.join(map(repr, alike))}", "write it as it is named")
    return alike[0] if alike else None


def _check_told_apart(found: dict[TableNamed, str]) -> None:
    meant: dict[str, str] = {}
    for named, live in found.items():
        other = meant.setdefault(str(named).lower(), live)
        if other != live:
            raise _bad(
                f"DuckDB tells no capitals apart, and it names {other!r} and {live!r}",
                "give one of them another name: plane.live(table, name=...)",
            )


def _several_positions(tables: list[LiveTable], error: StaleError) -> StaleError:
    """Each table's own position, and why one of them stands behind."""
    seen = [table.as_of for table in tables]
    said = ", ".join(f"{one.table} at {spelled(one.lsn) or 'none'} ({one.state})" for one in seen)
    behind = next((one for one in seen if one.state != "live"), seen[0])
    return StaleError(
        f"the tables of the statement are not at one position: {said}",
        hint=f"wait for it: plane.live({behind.table!r}, ...).wait_live(timeout_s=60), or ask each "
        f"table alone; {error.what}",
        table=behind.table,
        why=behind.stale or f"it is {behind.state}",
    )


def _unknown(
    error: QueryError, missing: list[TableNamed], known: list[str]
) -> QueryError | DatasetNotFoundError:
    """What DuckDB says of a table that is not there, as we say it."""
    for named in missing:
        if f"Table with name {named.name} does not exist" in error.what:
            return not_live(str(named), known)
    return error


def _bad(what: str, hint: str) -> BadParameterError:
    return BadParameterError(f"statement: {what}", hint=hint, parameter="statement")
