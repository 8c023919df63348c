"""How large a result will be, from the server's own plan: what cannot fit is refused before it is
received. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from neural_gpu_bus.errors import QueryError

#: Plans of these nodes alone read whole tables in the order of their pages.
_WHOLE_SCANS: Final = frozenset({"Seq Scan", "Append", "Gather", "Tid Range Scan", "Result"})
#: These give as many rows as what is below them, which is known; so are rows of this function.
_AS_MANY: Final = frozenset(
    {"Sort", "Incremental Sort", "Gather Merge", "Merge Append", "Materialize", "WindowAgg"}
    | {"Subquery Scan", "Limit", "Values Scan"}
)
_COUNTED_FUNCTION: Final = "generate_series"
#: What the planner says of a whole table is right within a factor of two or so; of a condition or
#: a join it may be wrong by orders of magnitude, and a read that would have fitted is not refused.
FACTOR_OF_TABLES: Final = 2
FACTOR_OF_OTHERS: Final = 16
#: Bytes around each row and each value on their way.
ROW_BYTES: Final = 7
VALUE_BYTES: Final = 4

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the planner expects of a statement."""

    rows: int
    #: Bytes of one row's values.
    width_bytes: int
    columns: int
    #: Whole tables are read in the order of their pages, by no index.
    whole_scans: bool
    #: Nothing but whole tables and series, without a condition.
    is_table: bool
    #: Bytes of a row as they came; 0 before. The planner takes a computed text for 32.
    seen_row_bytes: int = 0

    @property
    def received_bytes(self) -> int:
        """Bytes of the whole reply."""
        planned = ROW_BYTES + VALUE_BYTES * self.columns + self.width_bytes
        return self.rows * max(planned, self.seen_row_bytes)


def explained(statement: bytes) -> bytes:
    """The question for an estimate; the statement does not run."""
    return b"EXPLAIN (FORMAT JSON, VERBOSE) " + statement


def read_estimate(answer: str) -> Estimate:
    """The planner's answer."""
    plan = json.loads(answer)[0]["Plan"]
    nodes = list(_nodes(plan))
    whole = all(node["Node Type"] in _WHOLE_SCANS for node in nodes)
    return Estimate(
        rows=int(plan["Plan Rows"]),
        width_bytes=int(plan["Plan Width"]),
        columns=len(plan.get("Output", ())),
        whole_scans=whole,
        is_table=all(_is_counted(node) for node in nodes),
    )


def _is_counted(node: dict[str, Any]) -> bool:
    kind = node["Node Type"]
    series = kind == "Function Scan" and node.get("Function Name") == _COUNTED_FUNCTION
    return "Filter" not in node and (series or kind in _WHOLE_SCANS or kind in _AS_MANY)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def check_size(estimate: Estimate, bytes_max: int, received_bytes: int = 0) -> None:
    """Raises QueryError where the result is too large for certain, or by far."""
    factor = FACTOR_OF_TABLES if estimate.is_table else FACTOR_OF_OTHERS
    if estimate.received_bytes <= bytes_max * factor:
        return
    raise QueryError(
        f"the result is expected to have {estimate.rows:,} rows and "
        f"{estimate.received_bytes / MIB:,.0f} MiB, and {bytes_max / MIB:,.0f} MiB may be received",
        hint="read fewer columns or rows (columns=, where=, LIMIT), aggregate in the statement, "
        "read it in batches (plane.stream), or raise NGB_QUERY_BYTES_MAX",
        sqlstate=None,
        received_bytes=received_bytes,
        expected_bytes=estimate.received_bytes,
    )
