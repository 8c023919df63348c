"""Questions about one PostgreSQL, asked one after the other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, TypeVar

from neural_gpu_bus.benchmarks.machine import this_machine, versions
from neural_gpu_bus.benchmarks.memory.answers import Answer, QuestionResults

if TYPE_CHECKING:
    import psycopg

    from neural_gpu_bus.benchmarks.case import CaseWatcher


class ServerGround(Protocol):
    """What a question is handed, as far as asking it goes."""

    @property
    def watcher(self) -> CaseWatcher: ...  # noqa: D102
    @property
    def connection(self) -> psycopg.Connection: ...  # noqa: D102


Ground = TypeVar("Ground", bound=ServerGround)


def answered(
    questions: Mapping[str, Callable[[Ground, ExitStack], Answer]],
    ground: Ground,
    *,
    quick: bool,
    distributions: Sequence[str],
) -> QuestionResults:
    """All answers, with what they were taken on. What a question opens is closed behind it."""
    found = []
    for name, ask in questions.items():
        ground.watcher.say(name)
        with ExitStack() as closing:
            found.append(ask(ground, closing))
    server = ground.connection.info.server_version
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    known = {"PostgreSQL": f"{server // 10_000}.{server % 10_000}"} | versions(distributions)
    return QuestionResults(now, this_machine(), known, quick, found)
