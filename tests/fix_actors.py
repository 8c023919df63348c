"""Actors in processes of their own: forked from a server that has loaded what they need."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

#: An actor and its arguments; the process and this end of its pipe.
Start = Callable[..., tuple[Any, Any]]


@pytest.fixture(scope="module")
def forking(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The context. A module of tests names its actors in ``ACTORS``."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), before])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *request.module.ACTORS])
    yield context
    os.environ["PYTHONPATH"] = before


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
