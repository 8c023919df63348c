"""What PostgreSQL's own parse tree of a statement refers to. Pure: its text in, numbers out.

The tree's text is what ``pg_rewrite.ev_action``, ``pg_policy.polqual`` and ``pg_proc.prosqlbody``
hold (source: PostgreSQL's outfuncs.c). Every field is ``:name value``; within names and texts a
blank is escaped by a backslash, so none of them looks like a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_RELATION = re.compile(r":relid (\d+)")
_FUNCTION = re.compile(
    r":(?:funcid|opfuncid|hashfuncid|negfuncid|aggfnoid|winfnoid|startInRangeFunc|endInRangeFunc) "
    r"(\d+)"
)
_OPERATOR = re.compile(r":(?:opno|eqop|sortop) (\d+)")
_OPERATORS = re.compile(r":opnos \(o([ \d]*)\)")
#: Where nodes begin and end, and the types that some of them make.
_NODE = re.compile(r"\\.|\{(?P<node>\w+)|(?P<end>\})|:resulttype (?P<type>\d+)", re.DOTALL)
#: A text turned into a value by its type's input function: ``column::timestamptz``.
_READING = "COERCEVIAIO"
#: A value that a domain's CHECK looks at.
_CHECKING = "COERCETODOMAIN"
#: CURRENT_DATE is 0, LOCALTIMESTAMP(n) is 8; what follows are user, database and schema.
_VALUE_FUNCTION = re.compile(r"\{SQLVALUEFUNCTION :op (\d+)")
_MOMENTS = range(9)
_SAMPLE = re.compile(r"\{TABLESAMPLECLAUSE\b.*?:repeatable (<>)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TreeFacts:
    """OIDs that a tree names, and what else it does; 0 is none of them."""

    relations: frozenset[int] = frozenset()
    functions: frozenset[int] = frozenset()
    operators: frozenset[int] = frozenset()
    #: Types whose input function reads a text.
    read_types: frozenset[int] = frozenset()
    #: Domains that values are made.
    domains: frozenset[int] = frozenset()
    #: It has CURRENT_DATE, LOCALTIMESTAMP or the like.
    tells_time: bool = False
    #: FOR UPDATE, FOR SHARE.
    locks_rows: bool = False
    #: TABLESAMPLE without REPEATABLE: other rows each time.
    draws_sample: bool = False
    #: It takes the next value of an identity column.
    counts_up: bool = False


def read_tree(tree: str) -> TreeFacts:
    """All that a tree refers to, at whatever depth."""
    return TreeFacts(
        relations=_oids(_RELATION.findall(tree)),
        functions=_oids(_FUNCTION.findall(tree)),
        operators=_oids([*_OPERATOR.findall(tree), *_listed(tree)]),
        read_types=_oids(_made_types(tree, _READING)),
        domains=_oids(_made_types(tree, _CHECKING)),
        tells_time=any(int(op) in _MOMENTS for op in _VALUE_FUNCTION.findall(tree)),
        locks_rows="{ROWMARKCLAUSE " in tree,
        draws_sample=any(mark[1] == "<>" for mark in _SAMPLE.finditer(tree)),
        counts_up="{NEXTVALUEEXPR " in tree,
    )


def _listed(tree: str) -> Iterator[str]:
    for numbers in _OPERATORS.findall(tree):
        yield from numbers.split()


def _made_types(tree: str, wanted: str) -> list[str]:
    """Types that nodes of that name make. A node's argument, which may be one too, comes before
    its own type.
    """
    if f"{{{wanted} " not in tree:
        return []
    found, nodes = [], [""]
    for piece in _NODE.finditer(tree):
        if piece["node"]:
            nodes.append(piece["node"])
        elif piece["end"] and len(nodes) > 1:
            nodes.pop()
        elif piece["type"] and nodes[-1] == wanted:
            found.append(piece["type"])
    return found


def _oids(found: list[str]) -> frozenset[int]:
    return frozenset(map(int, found)) - {0}
