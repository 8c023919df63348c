"""Kinds of statements, each with a time limit and the server's settings that fit it.

``hot`` is what an engine waits for: the newest bars of one instrument, by an index. ``query`` is
what a person or a job asks. ``load`` reads whole tables, however long that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, get_args

QueryClassName = Literal["hot", "query", "load"]

QUERY_CLASSES: Final[tuple[QueryClassName, ...]] = get_args(QueryClassName)


@dataclass(frozen=True, slots=True)
class QueryClass:
    """How the statements of one kind are run."""

    name: QueryClassName
    #: Longest time for one statement; None for none.
    timeout_s: float | None
    #: The server's settings for the statement's transaction, by name, as SET takes them.
    server_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def set_local(self) -> bytes:
        """Statements that put the settings in force until the transaction ends; empty for none.

        Names and values are this package's own, never a caller's.
        """
        return b"".join(
            f"SET LOCAL {name} = '{value}'; ".encode()
            for name, value in self.server_settings.items()
        )
