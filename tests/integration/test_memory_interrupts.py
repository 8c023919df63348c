"""Ctrl-C, or an error, at a bad moment: what was published stays, and nothing else is taken."""

import fcntl
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.accounting import occupancy
from neural_gpu_bus.memory.catalog import names_clock, writers_turn
from neural_gpu_bus.memory.catalog.environment import Environment
from neural_gpu_bus.memory.catalog.index import decode
from neural_gpu_bus.memory.writing import block_writer


def once(error: BaseException, real: Callable[..., Any]) -> Callable[..., Any]:
    """Raises the first time."""
    raised: list[int] = []

    def do(*given: Any, **named: Any) -> Any:
        if not raised:
            raised.append(1)
            raise error
        return real(*given, **named)

    return do


def put(memory: UnifiedMemory, value: int) -> None:
    memory.put("a", {"x": np.full(10, value)})


def is_pinned(memory: UnifiedMemory) -> bool:
    index = memory._use.index
    return index.ledger.is_pinned(decode(index.newest("a") or b""))


def test_an_interrupt_after_the_commit_leaves_what_it_published(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, 1)
    end = names_clock.NamesClock.end
    monkeypatch.setattr(names_clock.NamesClock, "end", once(KeyboardInterrupt("now"), end))
    with pytest.raises(KeyboardInterrupt, match="now"):
        put(memory, 2)

    assert memory.get("a")["x"][0] == 2
    assert memory.get("a", 1)["x"][0] == 1
    assert sum(own.unnamed_bytes for own in memory.statistics().processes) == 0
    put(memory, 3)
    assert memory.get("a")["x"][0] == 3


def test_an_interrupt_between_the_commit_and_its_answer_is_after_the_commit(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, 1)
    memory.keep("a")
    real = Environment.leave

    def leave(self: Environment) -> None:
        real(self)
        if len(list(memory.folder.glob("datasets/*"))) == 2:
            monkeypatch.undo()
            raise KeyboardInterrupt("now")

    monkeypatch.setattr(Environment, "leave", leave)
    with pytest.raises(KeyboardInterrupt, match="now"):
        put(memory, 2)

    assert memory.get("a")["x"][0] == 2
    assert is_pinned(memory)
    assert memory.folder.joinpath(memory.get("a").descriptor.path).exists()


def test_an_error_after_the_commit_is_nobody_s(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, 1)
    end = names_clock.NamesClock.end
    monkeypatch.setattr(names_clock.NamesClock, "end", once(OSError("no"), end))
    put(memory, 2)

    assert memory.get("a")["x"][0] == 2
    assert memory.get("a", 1)["x"][0] == 1


def test_a_put_that_fails_leaves_the_dataset_kept(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, 1)
    memory.keep("a")
    monkeypatch.setattr(block_writer, "_move", once(OSError("no"), block_writer._move))
    with pytest.raises(OSError, match="no"):
        put(memory, 2)

    assert is_pinned(memory)
    put(memory, 3)
    assert is_pinned(memory)


def test_an_interrupt_while_the_turn_is_taken_gives_it_back(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, 1)
    monkeypatch.setattr(writers_turn.os, "pwrite", once(KeyboardInterrupt("now"), os.pwrite))
    with pytest.raises(KeyboardInterrupt, match="now"):
        put(memory, 2)

    with (memory.folder / "tables" / "turn").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_interrupt_while_waiting_for_room_gives_a_claim_back_once(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros(memory.budget("shared") // 8 * 6 // 10)
    held = memory.share({"x": values})

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt("now")

    monkeypatch.setattr(occupancy.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt, match="now"):
        memory.share({"x": values})
    assert memory._use.session.processes.unnamed_bytes("shared") == held.nbytes


@pytest.mark.parametrize("version", ["1", 1.5, True, -(2**70), 2**70])
def test_a_version_is_a_whole_number(memory: UnifiedMemory, version: Any) -> None:
    put(memory, 1)
    with pytest.raises(BadParameterError, match="version is"):
        memory.get("a", version)
    assert memory.get("a", np.int64(1)).version == 1
