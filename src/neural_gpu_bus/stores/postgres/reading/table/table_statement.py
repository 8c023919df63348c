"""A table, columns and a condition as SELECT statements: names quoted, the condition whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.sql_text import quoted_name, tokens
from neural_gpu_bus.stores.postgres.reading.parameter_values import Params
from neural_gpu_bus.stores.postgres.reading.table.ctid_ranges import PageRange
from neural_gpu_bus.stores.postgres.tables.table_name import TableName, parse_table_name

_DIRECTION = re.compile(r"(?P<column>.+?)\s+(?P<direction>asc|desc)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """What is asked of a table; checked."""

    table: TableName
    #: None for all.
    columns: Sequence[str] | None
    #: SQL, its parameters not yet bound; empty for all rows.
    where: str
    params: Params
    #: As SQL.
    order_by: Sequence[str]

    def whole(self, where: str) -> bytes:
        """One statement for all rows. ``where``: with its parameters bound."""
        table = self.table.identifier.as_string(None)
        return self._select(table, self.columns, [where])

    def part(
        self, leaf: str, columns: Sequence[str], page_range: PageRange, where: str, *, only: bool
    ) -> bytes:
        """One for a range of a leaf, whose name is quoted; ``only``: others inherit from it."""
        # The condition may name the table, whose leaves have other names.
        table = f"ONLY {leaf} AS {quoted(self.table.name)}" if only else leaf
        return self._select(table, columns, [page_range.condition(), where])

    def names_row(self) -> bool:
        """Whether the condition may mean a row of the table as a whole, or the table by its schema:
        its name stands there, and not as in ``name.column``. A leaf's row is another one.
        """
        name = re.escape(self.table.name.replace('"', '""'))
        pattern = rf"""(?<![\w$])"?{name}"?(?![\w$])(?!\s*\.\s*["\w])|\.\s*"?{name}"?\s*\.|u&\""""
        return re.search(pattern, self.where, re.IGNORECASE) is not None

    def _select(
        self, table: str, columns: Sequence[str] | None, conditions: Sequence[str]
    ) -> bytes:
        names = "*" if columns is None else ", ".join(quoted(name) for name in columns)
        text = f"SELECT {names} FROM {table}"  # noqa: S608  (names are quoted)
        # A condition may end in a comment.
        given = [f"({condition}\n)" for condition in conditions if condition]
        if given:
            text += " WHERE " + " AND ".join(given)
        if self.order_by:
            text += " ORDER BY " + ", ".join(self.order_by)
        return text.encode()


def table_question(
    table: str,
    *,
    columns: Sequence[str] | None,
    where: str | None,
    params: Params,
    order_by: str | Sequence[str] | None,
) -> TableQuestion:
    """Raises BadParameterError for what is no name or no condition."""
    return TableQuestion(
        table=parse_table_name(table),
        columns=_checked_columns(columns),
        where="" if where is None else _checked_condition(where),
        params=params,
        order_by=_order_terms(order_by),
    )


def quoted(name: str) -> str:
    """A column's name for SQL. Raises BadParameterError for what can be none."""
    if not isinstance(name, str) or not name or "\x00" in name:
        raise BadParameterError(
            f"{name!r} is no column's name",
            hint="give the names of columns: columns=['ts', 'close']",
            parameter="columns",
        )
    return quoted_name(name)


def _checked_columns(columns: Sequence[str] | None) -> list[str] | None:
    """The columns asked for; None for all. Raises BadParameterError."""
    if columns is None:
        return None
    if isinstance(columns, str) or not columns:
        raise BadParameterError(
            f"columns is {columns!r}",
            hint="give a list of names, or leave it out for all",
            parameter="columns",
        )
    for name in columns:
        quoted(name)
    return list(columns)


def _order_terms(order_by: str | Sequence[str] | None) -> list[str]:
    """``"ts"``, ``"ts DESC"`` or several such, as SQL. Raises BadParameterError."""
    if order_by is None:
        return []
    terms = []
    for term in [order_by] if isinstance(order_by, str) else order_by:
        found = _DIRECTION.fullmatch(term) if isinstance(term, str) else None
        if found:
            terms.append(f"{quoted(found['column'])} {found['direction'].upper()}")
        else:
            terms.append(quoted(term))
    return terms


def _checked_condition(where: object) -> str:
    """A condition that stands by itself: what closes a parenthesis that it did not open would
    reach the range beside it. Raises BadParameterError.
    """
    if not isinstance(where, str):
        raise BadParameterError(
            f"where is a {type(where).__name__}: {str(where)[:200]}",
            hint="give SQL with its values apart: where='symbol = %(symbol)s', "
            "params={'symbol': 'SPY'}; a mapping is plane.aggregate's",
            parameter="where",
        )
    depth = 0
    for kind, text in tokens(where):
        if kind == "other":
            depth += (text == "(") - (text == ")")
            if depth < 0 or text == ";":
                raise _no_condition(where)
    if depth or not where.strip():
        raise _no_condition(where)
    return where


def _no_condition(where: str) -> BadParameterError:
    return BadParameterError(
        f"where is {where[:200]!r}, which is no condition by itself",
        hint="give one expression, e.g. where='ts >= %(start)s' with params={'start': ...}",
        parameter="where",
    )
