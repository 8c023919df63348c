"""What tells one query's result from another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from neural_gpu_bus.ports import QUERY_NAMES
from neural_gpu_bus.query_cache.normalised import normalised
from neural_gpu_bus.query_cache.uncacheable import Uncacheable
from neural_gpu_bus.query_cache.values import PLAIN, canonical_params, value_text

#: Of this format: another version of this package may keep results differently.
_FORMAT = 1
#: A longer one is data, not a question.
TEXT_CHARACTERS_MAX: Final = 256 << 10
#: Hex digits of each half of a name. Whole keys are compared besides.
_HALF = 16


@dataclass(frozen=True, slots=True)
class QueryKey:
    """A query as the cache knows it."""

    #: Normalised.
    statement: str
    #: All that tells it apart: kept beside the result and compared.
    text: str
    #: 16 hex digits of statement, values and server: the same however columns are read.
    family: str
    #: 16 hex digits of all of it.
    own: str

    @property
    def digest(self) -> str:
        """Both, 32 hex digits."""
        return self.family + self.own

    @property
    def family_names(self) -> str:
        """Beginning of the names of its results, however columns are read."""
        return f"{QUERY_NAMES}{self.family}/"

    @property
    def name(self) -> str:
        """The result's dataset."""
        return self.family_names + self.own


def query_key(
    sql: str, params: Any, *, options: str, whose: str, plain_texts: bool = True
) -> QueryKey:
    """The key of a statement with its values. Raises Uncacheable where values have no one text.

    ``options``: how columns are read; ``whose``: server, user and clock; ``plain_texts``: whether
    ``standard_conforming_strings`` is on, else the statement is taken as it is.
    """
    statement = normalised(sql, bound=params is not None) if plain_texts else sql
    asked = json.dumps([_FORMAT, statement, canonical_params(params), whose])
    if len(asked) > TEXT_CHARACTERS_MAX:
        raise Uncacheable(f"statement and values have more than {TEXT_CHARACTERS_MAX:,} characters")
    text = json.dumps([asked, options])
    return QueryKey(statement, text, _sum(asked), _sum(text))


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HALF]


def options_text(numeric: str | Mapping[str, str], texts: str) -> str:
    """How columns are read, as one text."""
    choices = numeric if isinstance(numeric, str) else sorted(numeric.items())
    return json.dumps([choices, texts])


def quick_key(
    sql: str, params: Any, numeric: str | Mapping[str, str], texts: str
) -> tuple[Any, ...]:
    """What finds the key of a query that was asked before: equal ones have equal keys.

    Python's 1, 1.0 and True are equal, so types stand beside values. Raises Uncacheable, and
    TypeError for what is no statement.
    """
    if type(numeric) is not str:
        numeric = options_text(numeric, "")
    if params is None:
        return sql, numeric, texts
    found: list[Any] = [sql, numeric, texts, type(params)]
    if type(params) is dict:
        for name, value in params.items():
            kind = type(value)
            if kind in PLAIN:
                found += name, kind, value
            else:
                found += name, value_text(name, value)
    elif type(params) in (list, tuple):
        for at, value in enumerate(params, 1):
            kind = type(value)
            if kind in PLAIN:
                found += kind, value
            else:
                found.append(value_text(at, value))
    else:
        found.append(canonical_params(params))
    return tuple(found)
