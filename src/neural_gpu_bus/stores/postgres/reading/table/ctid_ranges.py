"""A table's pages cut into half-open ranges that several connections read; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Ranges for each connection: they are handed out one by one, so that a connection that is slowed
#: down reads fewer.
RANGES_PER_CONNECTION: Final = 4
#: Below this a range is not worth its statement: 2 MiB are read in 3 ms.
RANGE_PAGES_MIN: Final = 256
#: A range of a read that hands rows on as they come: 4 MiB of pages.
HANDED_ON_PAGES_MAX: Final = 512
#: Below this a connection more is not worth opening a transaction on it.
CONNECTION_PAGES_MIN: Final = 512
#: Nor where the caller asks for it, below this.
ASKED_PAGES_MIN: Final = 64


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages of one leaf: ``first`` inclusive, ``end`` exclusive."""

    #: Which of the leaves, counted from 0.
    leaf: int
    #: None: from the beginning.
    first: int | None
    #: None: all that follow, however many there are by now.
    end: int | None

    def condition(self) -> str:
        """As SQL on ``ctid``; empty for all pages."""
        parts = []
        if self.first is not None:
            parts.append(f"ctid >= '({self.first},0)'::tid")
        if self.end is not None:
            parts.append(f"ctid < '({self.end},0)'::tid")
        return " AND ".join(parts)


def cut(
    leaf_pages: Sequence[int], connections: int, pages_max: int | None = None
) -> list[PageRange]:
    """Ranges that cover every leaf once, in the leaves' order and each in its pages'. The last of
    each leaf has no end: pages that came after they were counted are in it.

    ``pages_max``: about the most of one range, where several connections read.
    """
    pages = sum(leaf_pages)
    if connections == 1:
        target = max(pages, 1)
    else:
        target = max(-(-pages // (connections * RANGES_PER_CONNECTION)), RANGE_PAGES_MIN)
        target = min(target, pages_max or target)
    return [one for leaf, count in enumerate(leaf_pages) for one in _cut_leaf(leaf, count, target)]


def _cut_leaf(leaf: int, pages: int, target: int) -> list[PageRange]:
    count = max(1, round(pages / target))
    edges = [pages * number // count for number in range(1, count)]
    return [
        PageRange(leaf, first, end)
        for first, end in zip([None, *edges], [*edges, None], strict=True)
    ]


def connections_for(pages: int, most: int, *, asked: bool) -> int:
    """How many connections are worth it for so many pages; ``asked``: somebody wants ``most``."""
    return max(1, min(most, pages // (ASKED_PAGES_MIN if asked else CONNECTION_PAGES_MIN)))
