"""Which names a table's columns can have, asked before anything is sent to the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from neural_gpu_bus.stores.postgres.tables.table_name import NAME_BYTES_MAX

#: PostgreSQL manual, appendix K; fewer where the values of one row do not fit into a page.
COLUMNS_MAX = 1600

#: Lists of names that are not looked through again.
_LISTS_MAX = 256

#: Every table has them (PostgreSQL manual, "System Columns").
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


@dataclass(frozen=True, slots=True)
class BadName:
    """Columns that no table can have."""

    #: The column's name; empty when there are too many or none.
    column: str
    why: str
    hint: str


def first_bad_name(names: Sequence[str]) -> BadName | None:
    """The first of these columns that PostgreSQL would refuse or cut, in words."""
    return _first_bad_name(tuple(names))


@lru_cache(_LISTS_MAX)
def _first_bad_name(names: tuple[str, ...]) -> BadName | None:
    if not names:
        return BadName("", "there are no columns", "give one")
    if len(names) > COLUMNS_MAX:
        why = f"{len(names):,} columns are more than the {COLUMNS_MAX:,} that a table can have"
        return BadName("", why, "leave some out, or put them into rows: name, value")
    seen: set[str] = set()
    for position, name in enumerate(names, 1):
        bad = _bad_name(position, name)
        if bad is not None:
            return bad
        if name in seen:
            return BadName(name, f"two columns are named {name!r}", "rename one of them")
        seen.add(name)
    return None


def _bad_name(position: int, name: str) -> BadName | None:
    if not name:
        return BadName(name, f"column {position} has no name", "give it one")
    if name in SYSTEM_COLUMNS:
        why = f"column {name!r} has the name of a column that PostgreSQL keeps for itself"
        return BadName(name, why, "rename it")
    if "\x00" in name:
        return BadName(name, f"column {name!r} has a NUL character in its name", "rename it")
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > NAME_BYTES_MAX:
        why = (
            f"the name of column {name!r} has {size} bytes, more than the {NAME_BYTES_MAX} that "
            "PostgreSQL keeps"
        )
        return BadName(name, why, "use a shorter name")
    return None
