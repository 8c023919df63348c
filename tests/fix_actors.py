"""Actors in processes of their own: forked from a server that has loaded what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import memory_actors

#: An actor and its arguments; the process and this end of its pipe.
Start = Callable[..., tuple[Any, Any]]


@pytest.fixture(scope="module")
def forking() -> Any:
    """The context. What actors import stands in ``memory_actors.LOADED``."""
    return memory_actors.forking()


@pytest.fixture
def start(forking: Any) -> Iterator[Start]:
    """Start an actor; gives the process and this end of its pipe. All are killed at the end."""
    running = []

    def begin(actor: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
        ours, theirs = forking.Pipe()
        process = forking.Process(target=actor, args=(*arguments, theirs), daemon=True)
        process.start()
        theirs.close()
        running.append((process, ours))
        return process, ours

    yield begin
    for process, pipe in running:
        process.kill()
        process.join()
        process.close()
        pipe.close()
