"""Which rows a look at a watermark finds, and which it may leave out; pure but for its SQL.

A transaction that has not ended has written watermarks that a later look must still find. So a look
begins at the highest watermark of the newest look before which all that had written has ended,
and ``overlap_s`` before it, for those that took their time first and wrote later.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import psycopg

from neural_gpu_bus.errors import BadParameterError, ColumnNotFoundError
from neural_gpu_bus.stores.postgres.replication.table_shapes import quoted

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
    from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

#: Rows of one look; of more the table is copied anew.
ROWS_MAX = 200_000
#: Looks that are remembered while a transaction runs: of more the oldest count.
_LOOKS_MAX = 1000
_MOMENTS = ("timestamp without time zone", "timestamp with time zone")
#: Now, or for clocks on the wall anywhere later: whose wall it is nobody knows (UTC+14 at most).
_NOW = {
    "timestamp with time zone": "clock_timestamp()",
    "timestamp without time zone": "(clock_timestamp() AT TIME ZONE 'UTC' + interval '14 hours')",
}
_NUMBERS = ("smallint", "integer", "bigint")

#: Table, place and transaction of a version of a row: no other has all three.
RowVersion = tuple[int, str, int]


class Watermark:
    """Of one table, from its copy on."""

    def __init__(self, definition: LiveDefinition, shape: TableShape) -> None:
        """Raises ColumnNotFoundError, BadParameterError for a column that cannot be one."""
        name = definition.watermark or ""
        column = shape.column(name)
        if column is None:
            raise ColumnNotFoundError(
                f"table {shape} has no column {name!r}",
                hint=f"it has {[one.name for one in shape.columns]}",
                column=name,
            )
        self._kind = column.type_name.replace(f"({column.modifier})", "")
        if self._kind not in (*_MOMENTS, *_NUMBERS):
            raise BadParameterError(
                f"column {name!r} of {shape} is of type {column.type_name}, which is no watermark",
                hint="take a column of timestamps or whole numbers that each change raises",
                parameter="watermark",
            )
        self._table, self._column = shape.quoted, quoted(name)
        # The line ends before the bracket: what is given may end with a comment.
        self._where = f" AND ({definition.where}\n)" if definition.where else ""
        self._overlap_s = definition.overlap_s if self._kind in _MOMENTS else 0.0
        #: Of looks that may matter: transactions below had begun, and the highest watermark.
        self._looks: deque[tuple[int, str | None]] = deque()
        self._before: VisibleTransactions | None = None
        self._seen: frozenset[RowVersion] = frozenset()

    def highest(self, connection: psycopg.Connection, condition: str = "TRUE") -> str | None:
        """As text, of the rows that meet the condition; None where there is none. Of moments never
        one that is to come: a single row of 2099 would hide all changes behind it.
        """
        finite = f" AND isfinite({self._column})" if self._kind in _MOMENTS else ""
        highest = f"max({self._column})"
        if self._kind in _NOW:
            highest = f"least({highest}, {_NOW[self._kind]})"
        row = connection.execute(
            f"SELECT ({highest})::text FROM {self._table} "  # noqa: S608
            f"WHERE {condition}{finite} HAVING max({self._column}) IS NOT NULL".encode()
        ).fetchone()
        return None if row is None else row[0]

    def condition(self, visible: VisibleTransactions) -> str:
        """Of rows that this look is at."""
        while len(self._looks) > 1 and self._looks[1][0] <= visible.xmin:
            self._looks.popleft()
        lowest = self._looks[0][1] if self._looks else None
        if lowest is None:
            return f"TRUE{self._where}"
        overlap = f" - interval '{self._overlap_s} s'" if self._overlap_s else ""
        return f"{self._column} >= '{lowest}'::{self._kind}{overlap}{self._where}"

    def found(
        self, connection: psycopg.Connection, visible: VisibleTransactions
    ) -> tuple[list[str], frozenset[RowVersion]] | None:
        """Places of rows that were not read before, and what is to be known of them next time;
        None where they are too many.
        """
        rows: list[Any] = connection.execute(
            f"SELECT tableoid::int8, ctid::text, xmin::text::int8 FROM {self._table} "  # noqa: S608
            f"WHERE {self.condition(visible)} LIMIT {ROWS_MAX + 1}".encode()
        ).fetchall()
        if len(rows) > ROWS_MAX:
            return None
        # A subtransaction's number is not among the running ones, and never below the lowest.
        below = self._before.xmin if self._before else 0
        fresh = [
            row for row in rows if visible.full(row[2]) >= below and tuple(row) not in self._seen
        ]
        seen = frozenset(tuple(row) for row in rows if visible.full(row[2]) >= visible.xmin)
        return [place for _, place, _ in fresh], seen

    def read(
        self,
        connection: psycopg.Connection,
        visible: VisibleTransactions,
        seen: frozenset[RowVersion],
    ) -> tuple[VisibleTransactions, str | None, frozenset[RowVersion]]:
        """What ``settle`` takes once the rows of this look are shown."""
        highest = self.highest(connection, self.condition(visible) if self._looks else "TRUE")
        return visible, highest, seen

    def settle(self, read: tuple[VisibleTransactions, str | None, frozenset[RowVersion]]) -> None:
        """The rows of that look are shown."""
        visible, highest, self._seen = read
        self._before = visible
        last = self._looks[-1][1] if self._looks else None
        if len(self._looks) < _LOOKS_MAX:  # a look that begins too early finds too much
            self._looks.append((visible.xmax, last if highest is None else highest))
