"""Aggregates of a PostgreSQL table: there, or here over rows read from it; the cheaper way."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.aggregates import Request, aggregate_table
from neural_gpu_bus.aggregates.rates import (
    AggregatePlan,
    Engine,
    Estimate,
    Rates,
    RatesFile,
    after_database,
    after_resident,
    choose,
)
from neural_gpu_bus.aggregates.request import check_types
from neural_gpu_bus.aggregates.statement import (
    ServerColumn,
    aggregate_sql,
    condition_sql,
    read_sql,
)
from neural_gpu_bus.analysis.table_numbers import (
    TableRead,
    answer_as_numbers,
    as_numbers,
    too_wide_here,
    with_choice,
)
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    DatasetNotFoundError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.stores.postgres import PostgresStore

#: Bytes from which on a table is read as ``plane.table`` reads it: by several connections where it
#: is large, which costs two round trips more. Half of what two connections share at least.
_SHARED_BYTES_MIN = 8 << 20

#: A domain counts as what it is made of.
_COLUMNS_SQL = """
SELECT a.attname::text AS name, coalesce(b.typname, t.typname)::text AS type,
  coalesce(b.typcategory, t.typcategory)::text AS category,
  CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END AS modifier
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

#: Ways that this process has gone.
_gone: set[Engine] = set()


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question to one table, and the way it goes."""

    table: str
    #: Quoted, for a statement with bound values.
    identifier: str
    #: As the question takes them.
    columns: dict[str, ServerColumn]
    request: Request
    how: TableRead
    plan: AggregatePlan
    #: The server's estimate for asking there.
    cost: float


class TableAggregates:
    """Questions to one server's tables; ``file`` keeps what was measured of it."""

    def __init__(self, database: PostgresStore, file: RatesFile) -> None:
        self._database, self._file = database, file

    def describe(self, table: str, names: Iterable[str]) -> tuple[str, dict[str, ServerColumn]]:
        """A table's quoted name and its columns.

        ``names``: of datasets, to suggest. Raises DatasetNotFoundError where there is no table.
        """
        try:
            identifier = parse_table_name(table).identifier.as_string()
        except BadParameterError:
            raise _nowhere(table, names) from None
        found = _rows(self._database.query(_COLUMNS_SQL, {"table": identifier}))
        if not found:
            raise _nowhere(table, [*names, *self._tables()])
        columns = {row["name"]: ServerColumn(**row) for row in found}
        return identifier.replace("%", "%%"), columns

    def _tables(self) -> list[str]:
        from neural_gpu_bus.stores.postgres import TABLES_SQL

        return [row["name"] for row in _rows(self._database.query(TABLES_SQL))]

    def plan(
        self,
        table: str,
        request: Request,
        engine: Engine | None,
        names: Iterable[str],
        how: TableRead,
    ) -> AggregatePlan:
        """Which way it would go; nothing of the table is read."""
        return self._asked(table, request, engine, names, how).plan

    def run(
        self,
        table: str,
        request: Request,
        engine: Engine | None,
        names: Iterable[str],
        how: TableRead,
    ) -> pa.Table:
        """The answer, and one measurement more, unless it is this process's first."""
        asked = self._asked(table, request, engine, names, how)
        server = self._database.server()
        rates = self._file.read(server)
        if asked.plan.engine == "database":
            answer, rates = self._asked_there(asked, rates)
        else:
            try:
                answer, rates = self._folded_here(asked, rates)
            except (BadValueError, UnsupportedTypeError):
                if engine is not None:
                    raise
                # What no column holds here, such as an infinite time, the server has a word for.
                answer, rates = self._asked_there(asked, rates)
        self._file.write(server, rates)
        return answer

    def _asked(
        self,
        table: str,
        request: Request,
        engine: Engine | None,
        names: Iterable[str],
        how: TableRead,
    ) -> _Asked:
        identifier, described = self.describe(table, names)
        columns = with_choice(described, how.options, f"table {table!r}")
        check_types(request, _families(columns), f"table {table!r}")
        statement, values = aggregate_sql(identifier, columns, request)
        there = self._estimate((statement, values), how.timeout_s)
        read = self._estimate(read_sql(identifier, columns, request), how.timeout_s)
        rates = self._file.read(self._database.server())
        values_a_row = len(request.of_all_rows.columns)
        plan = choose(rates, there, read, values=values_a_row, sql=statement)
        wide = too_wide_here(columns, request)
        if engine is not None:
            why = f"engine={engine!r} was asked for; by itself: {plan.engine}, as {plan.why}"
            plan = msgspec.structs.replace(plan, engine=engine, why=why)
        elif wide is not None and plan.engine == "resident":
            why = f"column {wide!r} is a numeric without a scale, or of more than 18 digits"
            plan = msgspec.structs.replace(plan, engine="database", why=why)
        return _Asked(table, identifier, columns, request, how, plan, there.cost)

    def _estimate(self, question: tuple[str, dict[str, Any]], timeout_s: float | None) -> Estimate:
        return Estimate(*self._database.cost_estimate(*question, timeout_s=timeout_s))

    def _asked_there(self, asked: _Asked, rates: Rates) -> tuple[pa.Table, Rates]:
        started_s = time.perf_counter()
        question = aggregate_sql(asked.identifier, asked.columns, asked.request)
        answer = self._query(asked, question)
        spent_s = time.perf_counter() - started_s
        numbers = answer_as_numbers(answer, asked.columns, asked.request, asked.how.options)
        if _was_warm("database"):
            rates = after_database(rates, asked.cost, spent_s)
        return _decoded(numbers), rates

    def _folded_here(self, asked: _Asked, rates: Rates) -> tuple[pa.Table, Rates]:
        request = asked.request
        started_s = time.perf_counter()
        read = self._read(asked)
        read_s = time.perf_counter() - started_s
        numbers = as_numbers(read, asked.columns, asked.how.options)
        answer = aggregate_table(numbers, request.of_all_rows)
        folded_s = time.perf_counter() - started_s - read_s
        values = read.num_rows * read.num_columns
        if _was_warm("resident"):
            rates = after_resident(rates, read.nbytes, read_s, values, folded_s)
        return answer, rates

    def _query(
        self, asked: _Asked, question: tuple[str, Any], options: ReadOptions | None = None
    ) -> pa.Table:
        frame: Any = self._database.query(
            *question,
            timeout_s=asked.how.timeout_s,
            snapshot=asked.how.snapshot,
            options=options or ReadOptions(),
        )
        table: pa.Table = frame.arrow()
        return table

    def _read(self, asked: _Asked) -> pa.Table:
        """The rows; a large table by several connections. The numbers as they were chosen."""
        columns = asked.request.of_all_rows.columns
        if asked.plan.nbytes < _SHARED_BYTES_MIN or not columns:
            question = read_sql(asked.identifier, asked.columns, asked.request)
            return self._query(asked, question, asked.how.options)
        where, values = condition_sql(asked.columns, asked.request)
        return self._database.reader.table(
            asked.table,
            columns=columns,
            where=where,
            params=values,
            query_class="query",
            timeout_s=asked.how.timeout_s,
            snapshot=asked.how.snapshot,
            options=asked.how.options,
        ).arrow()


def _was_warm(engine: Engine) -> bool:
    """Whether this process went that way before; the first time loads and compiles."""
    warm = engine in _gone
    _gone.add(engine)
    return warm


def _families(columns: dict[str, ServerColumn]) -> dict[str, str]:
    return {name: column.family for name, column in columns.items()}


def _rows(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = frame.arrow().to_pylist()
    return rows


def _decoded(table: pa.Table) -> pa.Table:
    """Dictionaries, which texts may be read as, as the plain texts that keys are here."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain: Any = table.column(place).cast(pa.large_string())
            table = table.set_column(place, field.name, plain)
    return table


def _nowhere(name: str, known: Iterable[str]) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"there is neither a dataset nor a table {name!r}",
        hint=did_you_mean(name, known, "plane.names() has the datasets, plane.tables() the tables"),
        name=name,
    )
