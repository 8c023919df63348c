"""Aggregates of a PostgreSQL table: there, or here over rows read from it; the cheaper way."""

from __future__ import annotations

import time
from collections.abc import Iterable
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
from neural_gpu_bus.aggregates.statement import ServerColumn, aggregate_sql, read_sql
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.stores.postgres import PostgresStore

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
        self, table: str, request: Request, engine: Engine | None, names: Iterable[str]
    ) -> AggregatePlan:
        """Which way it would go; nothing of the table is read."""
        identifier, columns = self.describe(table, names)
        check_types(request, _families(columns), f"table {table!r}")
        return self._planned(identifier, columns, request, engine)[0]

    def run(
        self, table: str, request: Request, engine: Engine | None, names: Iterable[str]
    ) -> pa.Table:
        """The answer, and one measurement more."""
        identifier, columns = self.describe(table, names)
        check_types(request, _families(columns), f"table {table!r}")
        plan, cost = self._planned(identifier, columns, request, engine)
        rates = self._file.read(self._database.address)
        if plan.engine == "database":
            answer, rates = self._asked_there(identifier, columns, request, cost, rates)
        else:
            answer, rates = self._folded_here(identifier, columns, request, rates)
        self._file.write(self._database.address, rates)
        return answer

    def _planned(
        self,
        identifier: str,
        columns: dict[str, ServerColumn],
        request: Request,
        engine: Engine | None,
    ) -> tuple[AggregatePlan, float]:
        statement, values = aggregate_sql(identifier, columns, request)
        there = self._estimate(statement, values)
        read = self._estimate(*read_sql(identifier, columns, request))
        rates = self._file.read(self._database.address)
        plan = choose(rates, there, read, values=len(request.columns), sql=statement)
        if engine is not None:
            why = f"engine={engine!r} was asked for; by itself: {plan.engine}, as {plan.why}"
            plan = msgspec.structs.replace(plan, engine=engine, why=why)
        return plan, there.cost

    def _estimate(self, statement: str, values: dict[str, Any]) -> Estimate:
        return Estimate(*self._database.cost_estimate(statement, values))

    def _asked_there(
        self,
        identifier: str,
        columns: dict[str, ServerColumn],
        request: Request,
        cost: float,
        rates: Rates,
    ) -> tuple[pa.Table, Rates]:
        started_s = time.perf_counter()
        answer = self._database.query(*aggregate_sql(identifier, columns, request)).arrow()
        spent_s = time.perf_counter() - started_s
        return _decoded(answer), after_database(rates, cost, spent_s)

    def _folded_here(
        self, identifier: str, columns: dict[str, ServerColumn], request: Request, rates: Rates
    ) -> tuple[pa.Table, Rates]:
        started_s = time.perf_counter()
        read = self._database.query(*read_sql(identifier, columns, request)).arrow()
        read_s = time.perf_counter() - started_s
        # The server has left out the rows that do not count.
        unconditional = Request(request.by, request.bucket, None, request.operations)
        answer = aggregate_table(read, unconditional)
        folded_s = time.perf_counter() - started_s - read_s
        values = read.num_rows * read.num_columns
        return answer, after_resident(rates, read.nbytes, read_s, values, folded_s)


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
