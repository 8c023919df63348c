"""Facts of datasets: the index's and the counted uses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.accounting.facts import dataset_facts

SECOND_NS = 1_000_000_000


@pytest.fixture
def ticking(memory_folder: Path) -> Iterator[UnifiedMemory]:
    """A memory whose clock goes on by a second at each look."""
    ticks = count(SECOND_NS, SECOND_NS)
    opened = UnifiedMemory(memory_folder, 16 << 20, clock_ns=lambda: next(ticks))
    yield opened
    opened.close()


def test_a_dataset_with_its_uses(ticking: UnifiedMemory) -> None:
    ticking.put("bars", {"close": [1.0, 2.0]}, region="neural")
    ticking.put("other", {"a": [1]})
    for _ in range(3):
        ticking.get("bars")
    ticking.keep("bars")
    ticking._use.tell_all()
    blocks = ticking.blocks("")
    bars, other = dataset_facts(blocks, ticking._use.index.ledger, {blocks[0].uuid: [7, 8]})

    assert (bars.name, bars.version, bars.rows, bars.region) == ("bars", 1, 2, "neural")
    assert (bars.hits, bars.pinned, bars.pids) == (3, True, (7, 8))
    assert bars.used_ns > bars.created_ns
    assert bars.columns == blocks[0].columns
    assert (other.hits, other.pinned, other.pids) == (0, False, ())


def test_without_a_record_it_was_never_used(ticking: UnifiedMemory) -> None:
    ticking.put("bars", {"close": [1.0]})
    block = msgspec.structs.replace(ticking.blocks("")[0], record=-1)
    (facts,) = dataset_facts([block], ticking._use.index.ledger)

    assert (facts.hits, facts.used_ns, facts.pinned) == (0, facts.created_ns, False)
