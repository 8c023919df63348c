"""Definitions of tables that were written to, so that the next store need not ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from neural_gpu_bus.stores.postgres.encoding.few_rows import FewRows, fixed_column
from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan
from neural_gpu_bus.stores.postgres.tables.table_definition import TableDefinition
from neural_gpu_bus.stores.postgres.tables.table_name import TableName
from neural_gpu_bus.stores.postgres.writing.column_matching import match_columns
from neural_gpu_bus.stores.postgres.writing.copying import copy_statement

TABLES_MAX = 1000


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """How columns of one schema go into one table."""

    schema: pa.Schema
    plans: Sequence[ColumnPlan]
    #: The COPY statement.
    copy: str
    #: Whether COPY into the table itself takes them.
    is_plain: bool
    #: The quick way for few rows; None where a column may be of any length.
    few: FewRows | None


class KnownTable:
    """A table as it was at an earlier store."""

    def __init__(self, definition: TableDefinition) -> None:
        self.definition = definition
        #: Fails where it changed.
        self.check = definition.check_unchanged()
        self._last: PlannedCopy | None = None

    def planned(self, schema: pa.Schema) -> PlannedCopy:
        """The plan for these columns, kept for the next store of the same; it takes 60 us to make.
        Raises what ``match_columns`` raises.
        """
        last = self._last
        if last is not None and last.schema.equals(schema):
            return last
        table = self.definition
        plans = match_columns(table, schema)
        copy = copy_statement(table.name.identifier, plans).as_string(None)
        is_plain = not table.row_security and not any(plan.sent_as for plan in plans)
        self._last = PlannedCopy(schema, plans, copy, is_plain, _few(schema, plans))
        return self._last


def _few(schema: pa.Schema, plans: Sequence[ColumnPlan]) -> FewRows | None:
    columns = []
    for type_, plan in zip(schema.types, plans, strict=True):
        column = fixed_column(type_, plan.target.type)
        if column is None:
            return None
        columns.append(column)
    return FewRows(columns)


class KnownTables:
    """The last ``TABLES_MAX`` of them. What is remembered may be outdated: whoever uses it lets
    the server check it (``TableDefinition.check_unchanged``). Thread-safe: each step is one of a
    dict's own.
    """

    def __init__(self) -> None:
        self._tables: dict[TableName, KnownTable] = {}

    def get(self, name: TableName) -> KnownTable | None:
        """What was remembered last."""
        return self._tables.get(name)

    def remember(self, table: TableDefinition) -> None:
        """From now on; the one remembered first goes where there are too many."""
        self._tables[table.name] = KnownTable(table)
        if len(self._tables) > TABLES_MAX:
            self._tables.pop(next(iter(self._tables)), None)

    def forget(self, name: TableName) -> None:
        """Whatever it was."""
        self._tables.pop(name, None)
