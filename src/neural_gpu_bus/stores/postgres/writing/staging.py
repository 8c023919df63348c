"""Rows that cannot go into their table by COPY itself: through a temporary table and INSERT.

An upsert needs ON CONFLICT; a column whose binary form is not written (inet, ranges, tsvector) is
sent as text and read by the server's own input function; a table with policies for rows takes no
COPY from those they hold for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.postgres.tables.table_definition import TableDefinition, identifiers
from neural_gpu_bus.stores.postgres.writing import row_refusals
from neural_gpu_bus.stores.postgres.writing.copying import copy_rows

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan
    from neural_gpu_bus.stores.postgres.writing.sources import Rows

STAGING = sql.Identifier("pg_temp", "ngb_staging")

#: Their modifiers say how many digits they keep, and the server rounds to that without a word.
_ROUNDED = frozenset({"numeric", "timestamp", "timestamptz", "time", "timetz", "interval"})


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch in the staging table, in the order it was sent."""

    plans: Sequence[ColumnPlan]
    rows: int
    first_row: int

    @property
    def names(self) -> list[str]:
        """Its columns."""
        return [plan.target.name for plan in self.plans]

    @property
    def values(self) -> sql.Composed:
        """Its columns as the table's types."""
        return self.values_of(self.names)

    def values_of(self, names: Sequence[str]) -> sql.Composed:
        """The same of some of them."""
        plans = {plan.target.name: plan for plan in self.plans}
        return sql.SQL(", ").join(_value(plans[name]) for name in names)

    def insert(self, connection: psycopg.Connection, statement: sql.Composed) -> int:
        """Run an INSERT from the staging table; the rows it wrote. A text that its type's input
        function refuses is a BadValueError that names it.
        """
        for plan in self.plans:
            self._refuse_rounded(connection, plan)
        try:
            with connection.transaction():
                return connection.execute(statement).rowcount
        except (psycopg.DataError, psycopg.NotSupportedError) as error:
            self._explain(connection, error)
            raise

    def repeated_key(
        self, connection: psycopg.Connection, key: Sequence[str]
    ) -> BadValueError | None:
        """The first key that stands twice among the rows, if any does."""
        return row_refusals.repeated_key(
            connection, STAGING, key, values=self.values_of(key), first_row=self.first_row
        )

    def _refuse_rounded(self, connection: psycopg.Connection, plan: ColumnPlan) -> None:
        type_ = plan.target.type
        if plan.sent_as != "text" or type_.modifier < 0 or type_.kind not in _ROUNDED:
            return
        column = sql.Identifier(plan.target.name)
        query = sql.SQL(
            "SELECT row, {0} FROM (SELECT row_number() OVER (ORDER BY ctid) AS row, {0} FROM {1}) "
            "AS numbered WHERE {0}::{2} <> {0}::{3} ORDER BY row LIMIT 1"
        ).format(column, STAGING, sql.SQL(type_.base), sql.SQL(type_.text))
        try:
            with connection.transaction():
                found = connection.execute(query).fetchone()
        except psycopg.DataError:
            return  # the INSERT says which
        if found is not None:
            raise self._refusal(plan, found[0], found[1], f"would be rounded by {type_.text}")

    def _explain(self, connection: psycopg.Connection, error: psycopg.Error) -> None:
        """Raise BadValueError where a text is to blame; looked for by halves."""
        for plan in self.plans:
            if plan.sent_as is None or self._is_readable(connection, plan, 1, self.rows):
                continue
            first, last = 1, self.rows
            while first < last:
                middle = (first + last) // 2
                if self._is_readable(connection, plan, first, middle):
                    first = middle + 1
                else:
                    last = middle
            column = sql.Identifier(plan.target.name)
            query = sql.SQL("SELECT {}::text FROM {} ORDER BY ctid OFFSET {} LIMIT 1").format(
                column, STAGING, first - 1
            )
            (text,) = connection.execute(query).fetchall()[0]
            why = f"is refused by PostgreSQL: {error.diag.message_primary}"
            raise self._refusal(plan, first, text, why) from None

    def _is_readable(
        self, connection: psycopg.Connection, plan: ColumnPlan, first: int, last: int
    ) -> bool:
        """Whether the texts of these rows, counted from 1, are the type's."""
        query = sql.SQL(
            "SELECT count({0}::{1}) FROM (SELECT {0} FROM {2} ORDER BY ctid OFFSET {3} LIMIT {4}) "
            "AS part"
        ).format(
            sql.Identifier(plan.target.name),
            sql.SQL(plan.target.type.text),
            STAGING,
            first - 1,
            last - first + 1,
        )
        try:
            with connection.transaction():
                connection.execute(query)
        except (psycopg.DataError, psycopg.NotSupportedError, psycopg.IntegrityError):
            return False
        return True

    def _refusal(self, plan: ColumnPlan, row: int, text: str, why: str) -> BadValueError:
        row += self.first_row - 1
        shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
        return BadValueError(
            f"row {row}, column {plan.target.name!r}: {shown} {why}",
            hint=f"mend the text, so that it can be cast to {plan.target.type.text}",
            column=plan.target.name,
            row=row,
        )


def stage(connection: psycopg.Connection, rows: Rows, plans: Sequence[ColumnPlan]) -> Staged:
    """All rows into a staging table of their own, gone with the transaction. Its types are the
    table's, named: to take them from the table would need the right to read it.
    """
    columns = [
        sql.SQL("{} {}").format(
            sql.Identifier(plan.target.name), sql.SQL(plan.sent_as or plan.target.type.text)
        )
        for plan in plans
    ]
    connection.execute(
        sql.SQL("CREATE TEMP TABLE ngb_staging ({}) ON COMMIT DROP").format(
            sql.SQL(", ").join(columns)
        )
    )
    return Staged(plans, copy_rows(connection, STAGING, rows, plans), rows.first_row)


def append_staged(
    connection: psycopg.Connection,
    definition: TableDefinition,
    rows: Rows,
    plans: Sequence[ColumnPlan],
) -> int:
    """Rows added to the table, in their order."""
    staged = stage(connection, rows, plans)
    statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY ctid").format(
        definition.name.identifier, identifiers(staged.names), staged.values, STAGING
    )
    try:
        return staged.insert(connection, statement)
    except psycopg.errors.UniqueViolation as error:
        for key in definition.unique_keys:
            has_it = set(key) <= set(staged.names)
            repeated = staged.repeated_key(connection, key) if has_it else None
            if repeated is not None:
                raise repeated from None
        raise row_refusals.key_there_already(error, definition, rows) from None


def _value(plan: ColumnPlan) -> sql.Composed:
    column = sql.Identifier(plan.target.name)
    if plan.sent_as is None:
        return sql.SQL("{}").format(column)
    return sql.SQL("{}::{}").format(column, sql.SQL(plan.target.type.base))
