"""All that a statement could name, where no parse tree of it can be had. Pure.

Every word counts, within texts and comments too: too much is found, and never too little.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d][\w$]*")
#: A name whose letters are spelled as numbers: ``U&"\0061"``.
_SPELLED_NAME = re.compile(r"[uU]&\"")
_READING = frozenset({"select", "with", "values", "table"})
#: Words of statements, or parts of them, that change or lock rows, or draw them.
_CHANGING = frozenset({"insert", "update", "delete", "merge", "share", "into", "tablesample"})


def possible_names(statement: str) -> tuple[list[str], str]:
    """Words as they may name a table, a view, a function or a schema; and why the statement must
    not be kept whatever they mean, empty where nothing speaks against it.
    """
    found = _WORD.findall(statement)
    words = {word.lower() for word in found}
    changing = sorted(words & _CHANGING)
    why = ""
    if _SPELLED_NAME.search(statement):
        why = "it spells a name by numbers (U&)"
    elif not found or found[0].lower() not in _READING:
        why = "only the rows of a SELECT, VALUES or TABLE can be kept"
    elif changing:
        why = f"it has the word {changing[0]!r}, which may change, lock or draw rows"
    return sorted(words | set(found)), why
