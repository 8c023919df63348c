"""By how many connections a table is read, and why not by more; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neural_gpu_bus.stores.postgres.reading.result_size import Estimate
from neural_gpu_bus.stores.postgres.reading.table.ctid_ranges import (
    CONNECTION_PAGES_MIN,
    PageRange,
    connections_for,
    cut,
)
from neural_gpu_bus.stores.postgres.reading.table.table_facts import TableFacts

#: More than the cores of one machine have ever gained; a limit all the same.
CONNECTIONS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How a table is read."""

    #: None: by one statement on the table as a whole.
    ranges: list[PageRange] | None
    connections: int
    #: Empty where there are several.
    why_one: str
    #: Several were asked for, or the table is one of those that are read by several.
    expected_more: bool


def is_large(facts: TableFacts) -> bool:
    """Whether it is worth asking the planner about it."""
    return facts.pages >= 2 * CONNECTION_PAGES_MIN


def plan_table(
    facts: TableFacts,
    estimate: Estimate | None,
    *,
    asked: int | None,
    cores: int,
    connections_max: int,
    ordered: bool,
    names_row: bool = False,
    range_pages_max: int | None = None,
) -> TablePlan:
    """``estimate``: the planner's of the whole statement, where it was asked. ``asked``:
    connections that the caller wants; ``ordered``: in the server's order, not the pages';
    ``names_row``: the condition may mean the row as a whole, of which a child has more columns, or
    the same in another order.
    """
    most = min(asked or cores, connections_max, CONNECTIONS_MAX)
    wanted = asked is not None and asked > 1
    large = is_large(facts)
    if ordered:
        return TablePlan(None, 1, "order_by was given: one statement sorts", wanted)
    if facts.why_whole:
        return TablePlan(None, 1, facts.why_whole, wanted or (large and most > 1))
    if names_row and facts.has_children:
        why = "where names the table's row as a whole, and its children's rows differ"
        return TablePlan(None, 1, why, wanted or (large and most > 1))
    if estimate is not None and not estimate.whole_scans:
        return TablePlan(None, 1, "the planner reads it by an index", wanted)
    if not facts.leaves:
        return TablePlan(None, 1, "it has no partitions", expected_more=False)
    pages = [leaf.pages for leaf in facts.leaves]
    count = connections_for(facts.pages, most, asked=wanted)
    return TablePlan(
        cut(pages, count, range_pages_max),
        count,
        "" if count > 1 else _why_one(facts, asked, cores, connections_max),
        wanted and count == 1,
    )


def _why_one(facts: TableFacts, asked: int | None, cores: int, connections_max: int) -> str:
    if asked == 1:
        return "one connection was asked for"
    if connections_max == 1:
        return "the pool has one connection"
    if asked is None and cores == 1:
        return "this machine has one core"
    return f"the table has {facts.pages} pages, too few to share"
