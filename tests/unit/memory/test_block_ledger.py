"""The records of named blocks: found again, freed, grown by others, mended."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory.catalog.block_ledger import RECORDS_FIRST, BlockLedger
from neural_gpu_bus.memory.files.folder import prepare


@pytest.fixture
def folder(memory_folder: Path) -> Path:
    return prepare(memory_folder)


def added(ledger: BlockLedger, nbytes: int = 100, hits: int = 0) -> BlockDescriptor:
    head = uuid.uuid4().hex
    block = BlockDescriptor("a", 1, "", head, 1, nbytes, (), 1, "here", region="shared")
    place = ledger.add(block, now_ns=5, hits=hits)
    return BlockDescriptor(
        "a", 1, "", head, 1, nbytes, (), 1, "here", region="shared", record=place
    )


def in_use(ledger: BlockLedger) -> int:
    return int(np.count_nonzero(ledger.records["uuid"]))


def test_a_block_is_found_counted_pinned_and_forgotten(folder: Path) -> None:
    ledger = BlockLedger(folder)
    block = added(ledger, hits=3)
    ledger.count(block, 4, now_ns=9)
    ledger.pin(block, pinned=True)

    assert ledger.holds(block)
    assert ledger.hits(block) == 7
    assert ledger.is_pinned(block)
    ledger.remove(block)
    assert not ledger.holds(block)
    assert (ledger.hits(block), ledger.is_pinned(block)) == (0, False)
    ledger.count(block, 1, now_ns=10)
    ledger.remove(block)
    assert in_use(ledger) == 0


def test_a_freed_record_is_the_next_one_and_counts_nothing_of_before(folder: Path) -> None:
    ledger = BlockLedger(folder)
    blocks = [added(ledger, hits=9) for _ in range(5)]
    ledger.pin(blocks[2], pinned=True)
    for place in (2, 4):
        ledger.remove(blocks[place])
    new = [added(ledger) for _ in range(2)]

    assert [block.record for block in new] == [blocks[4].record, blocks[2].record]
    assert not any(ledger.is_pinned(block) or ledger.hits(block) for block in new)
    assert [ledger.holds(block) for block in blocks] == [True, True, False, True, False]


def test_a_table_that_another_process_made_longer_is_seen(folder: Path) -> None:
    first, second = BlockLedger(folder), BlockLedger(folder)
    blocks = [added(first) for _ in range(RECORDS_FIRST + 5)]

    assert blocks[-1].record >= RECORDS_FIRST
    assert all(second.holds(block) for block in (blocks[0], blocks[-1]))
    second.count(blocks[-1], 2, now_ns=7)
    assert first.hits(blocks[-1]) == 2
    second.remove(blocks[-1])
    assert added(first).record == blocks[-1].record
    assert len(first.records) == len(second.records) == 2 * RECORDS_FIRST
    assert len({block.record for block in blocks}) == len(blocks)


@pytest.mark.parametrize("head", [1, 2, 3, RECORDS_FIRST, RECORDS_FIRST + 1, 1 << 63, 2**64 - 1])
def test_a_broken_list_of_free_records_gives_none_away_twice(folder: Path, head: int) -> None:
    """A process may die between two words of it."""
    ledger = BlockLedger(folder)
    blocks = [added(ledger) for _ in range(3)]
    ledger.remove(blocks[1])
    ledger._words[1] = head
    blocks[1:2] = []
    blocks += [added(ledger) for _ in range(RECORDS_FIRST)]

    assert len({block.record for block in blocks}) == len(blocks) == in_use(ledger)
    assert all(ledger.holds(block) for block in blocks)


def test_a_list_that_runs_in_a_circle_ends_at_a_record_in_use(folder: Path) -> None:
    ledger = BlockLedger(folder)
    blocks = [added(ledger) for _ in range(3)]
    for block in blocks[:2]:
        ledger.remove(block)
    ledger.records["nbytes"][blocks[0].record] = blocks[1].record + 1  # each is the other's next
    new = [added(ledger) for _ in range(20)]

    assert len({block.record for block in [blocks[2], *new]}) == 21


def test_only_what_is_known_stays_after_a_death(folder: Path) -> None:
    ledger = BlockLedger(folder)
    blocks = [added(ledger) for _ in range(10)]
    ledger._words[1] = 7
    ledger.keep_only(blocks[::2])

    assert [ledger.holds(block) for block in blocks] == [True, False] * 5
    new = [added(ledger) for _ in range(RECORDS_FIRST)]
    kept = [*blocks[::2], *new]
    assert len({block.record for block in kept}) == len(kept) == in_use(ledger)


def test_sequence_numbers_never_fall(folder: Path) -> None:
    ledger = BlockLedger(folder)
    numbers = []
    for _ in range(5):
        block = added(ledger)
        numbers.append(int(ledger.records["sequence"][block.record]))
        ledger.remove(block)

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("record", [-1, RECORDS_FIRST, 1 << 40])
def test_a_record_that_cannot_be_is_nobody_s(folder: Path, record: int) -> None:
    ledger = BlockLedger(folder)
    block = BlockDescriptor("a", 1, "", "0" * 31 + "1", 1, 1, (), 1, "here", record=record)

    assert not ledger.holds(block)
    ledger.pin(block, pinned=True)
    assert ledger.hits(block) == 0


def test_a_file_of_other_numbers_is_refused(folder: Path) -> None:
    BlockLedger(folder)
    order = folder / "tables" / "order"
    order.write_bytes(b"7" * order.stat().st_size)
    with pytest.raises(HostError, match=r"tables/order' is no table of this version: another lay"):
        BlockLedger(folder)
