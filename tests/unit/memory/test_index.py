"""The index alone: versions, totals, and what happens when it is damaged."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neural_gpu_bus.descriptors import BlockDescriptor, ColumnDescriptor
from neural_gpu_bus.errors import BadParameterError, HostError
from neural_gpu_bus.memory.catalog.index import Index
from neural_gpu_bus.memory.catalog.names import VERSIONS_KEPT
from neural_gpu_bus.memory.files.folder import prepare

NOW_NS = 1_000


def _block(name: str, nbytes: int = 100, **facts: object) -> BlockDescriptor:
    return BlockDescriptor(
        name=name,
        version=0,
        path="",
        uuid=uuid.uuid4().hex,
        rows=1,
        nbytes=nbytes,
        columns=(ColumnDescriptor("a", "int64"),),
        created_ns=1,
        host="here",
        **facts,
    )


def _publish(
    index: Index, *blocks: BlockDescriptor, move: Callable[[], object] = lambda: None
) -> tuple[list[BlockDescriptor], list[BlockDescriptor]]:
    return index.publish(blocks, [move] * len(blocks), now_ns=NOW_NS)


def _totals(index: Index) -> tuple[int, int, int]:
    return *index.totals(), index.named_bytes("shared")


def _places(index: Index) -> list[int]:
    """Records in use."""
    return [int(place) for place in index.ledger.records["uuid"].nonzero()[0]]


@pytest.fixture
def index(memory_folder: Path) -> Iterator[Index]:
    opened = Index(prepare(memory_folder))
    yield opened
    opened.close()


def test_versions_count_up_and_the_last_ones_are_kept(index: Index) -> None:
    gone = [_publish(index, _block("a"))[1] for _ in range(5)]

    assert [[block.version for block in blocks] for blocks in gone] == [[], [], [1], [2], [3]]
    kept = [version for version in range(7) if index.version("a", version)]
    assert kept == [4, 5][-VERSIONS_KEPT:]
    assert _totals(index) == (1, 2, 200)


def test_of_a_query_the_newest_result_alone_is_kept(index: Index) -> None:
    gone = [_publish(index, _block("queries/1"))[1] for _ in range(3)]

    assert [[block.version for block in blocks] for blocks in gone] == [[], [1], [2]]
    assert [version for version in range(5) if index.version("queries/1", version)] == [3]
    assert _totals(index) == (1, 1, 100)
    assert len(_places(index)) == 1


def test_a_dropped_name_is_gone_with_all_its_versions(index: Index) -> None:
    for _ in range(3):
        _publish(index, _block("a"))
    _publish(index, _block("ab"))

    assert sorted(block.version for block in index.drop("a")) == [2, 3]
    assert index.drop("a") == []
    assert index.newest("a") is None
    assert index.version("a", 2) is None
    assert index.names() == ["ab"]
    assert _totals(index) == (1, 1, 100)


def test_a_name_is_dropped_for_one_block_only_while_it_is_the_newest(index: Index) -> None:
    first, second = _block("a"), _block("a")
    for block in (first, second):
        _publish(index, block)

    assert index.drop("a", newest_uuid=first.uuid) == []
    assert _totals(index) == (1, 2, 200)
    assert sorted(block.uuid for block in index.drop("a", newest_uuid=second.uuid)) == sorted(
        [first.uuid, second.uuid]
    )
    assert _totals(index) == (0, 0, 0)
    assert index.drop("a", newest_uuid=second.uuid) == []


def test_a_move_that_fails_publishes_nothing(index: Index) -> None:
    _publish(index, _block("a"))

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        _publish(index, _block("a"), move=fail)
    assert _totals(index) == (1, 1, 100)
    assert index.version("a", 2) is None


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "ä" * 241])
def test_bad_names_are_refused(index: Index, name: str) -> None:
    with pytest.raises(BadParameterError, match="is no name for a dataset"):
        _publish(index, _block(name))


def test_two_uses_in_one_process_share_the_file(memory_folder: Path) -> None:
    first, second = Index(prepare(memory_folder)), Index(prepare(memory_folder))
    _publish(first, _block("a"))
    first.close()

    assert second.names() == ["a"]
    second.close()
    third = Index(prepare(memory_folder))
    assert third.names() == ["a"]
    third.close()


def test_a_damaged_index_is_refused_with_the_way_out(memory_folder: Path) -> None:
    folder = prepare(memory_folder)
    (folder / "index" / "data.mdb").write_bytes(b"not an index" * 1000)

    with pytest.raises(HostError, match=r"cannot be used: .*\n.*remove that folder"):
        Index(folder)


def test_several_names_are_published_in_one_step(index: Index) -> None:
    published, _ = _publish(index, _block("a"), _block("b", region="gpu"))

    assert [(block.name, block.version) for block in published] == [("a", 1), ("b", 1)]
    assert (index.named_bytes("shared"), index.named_bytes("gpu")) == (100, 100)
    assert (index.datasets("shared"), index.datasets("gpu")) == (1, 1)

    def fail() -> None:
        raise OSError("the second file is gone")

    with pytest.raises(OSError, match="the second file is gone"):
        index.publish([_block("a"), _block("c")], [lambda: None, fail], now_ns=NOW_NS)
    assert index.names() == ["a", "b"]
    assert index.version("a", 2) is None
    assert len(_places(index)) == 2


def test_the_counter_of_a_name_moves_with_it_and_rests_even(index: Index) -> None:
    place = index.clock.place("a")
    numbers = [index.clock.counters[place]]
    _publish(index, _block("a"))
    numbers.append(index.clock.counters[place])
    seen = []
    _publish(index, _block("a"), move=lambda: seen.append(index.clock.counters[place]))
    numbers.append(index.clock.counters[place])
    index.drop("a")
    numbers.append(index.clock.counters[place])

    assert numbers == [0, 2, 4, 6]
    assert seen == [3]  # odd while it goes on


def test_a_counter_left_odd_is_settled(index: Index) -> None:
    _publish(index, _block("a"))
    index.clock.begin(["a"])
    with index.exclusive():
        index.settle()

    assert index.clock.counters[index.clock.place("a")] == 4


def test_records_follow_their_blocks(index: Index) -> None:
    block = _publish(index, _block("a", reload_ns=7))[0][0]
    index.ledger.count(block, 3, NOW_NS + 5)
    record = index.ledger.records[block.record]
    assert (record["hits"], record["used_ns"], record["reload_ns"]) == (3, NOW_NS + 5, 7)

    newer = _publish(index, _block("a"))[0][0]
    assert index.ledger.hits(newer) == 3  # a new version is as popular as its predecessor
    index.drop("a")
    assert _places(index) == []
    index.ledger.count(newer, 1, NOW_NS)  # gone: nothing is counted, nothing fails
    assert _publish(index, _block("b"))[0][0].record in {block.record, newer.record}


def test_more_blocks_than_the_first_records_have_room_for(index: Index) -> None:
    names = [f"name {number}" for number in range(3000)]
    _publish(index, *[_block(name) for name in names])
    other = Index(index._folder)
    found = {other.ledger.holds(block) for block in other.blocks()}
    for name in names[::2]:
        index.drop(name)

    assert found == {True}
    assert len(_places(index)) == 1500
    other.close()


def test_eviction_takes_the_name_and_leaves_word_of_it(index: Index) -> None:
    blocks = _publish(index, _block("a"), _block("b"))[0]
    newer = _publish(index, _block("a", 50))[0][0]
    gone = index.evict(lambda: [newer.record], now_ns=NOW_NS, policy="lru")

    assert sorted(block.version for block in gone) == [1, 2]
    assert index.names() == ["b"]
    assert _totals(index) == (1, 1, 100)
    told = index.evicted("a")
    assert told is not None
    assert (told.version, told.nbytes, told.policy) == (2, 50, "lru")
    assert index.datasets("shared") == 1
    assert index.evicted("b") is None
    assert _publish(index, _block("a"))[0][0].version == 3  # versions go on
    assert index.evicted("a") is None
    assert index.evict(lambda: [blocks[1].record], now_ns=NOW_NS, policy="lru")


def test_an_older_version_goes_alone(index: Index) -> None:
    older = _publish(index, _block("a"))[0][0]
    _publish(index, _block("a"))
    gone = index.evict(lambda: [older.record], now_ns=NOW_NS, policy="lru")

    assert [block.version for block in gone] == [1]
    assert index.version("a", 2) is not None
    assert index.evicted("a") is None


def test_a_pin_passes_to_the_next_version(index: Index) -> None:
    older = _publish(index, _block("a"))[0][0]
    assert index.set_pinned("a", pinned=True)
    newer = _publish(index, _block("a"))[0][0]

    assert not index.ledger.is_pinned(older)
    assert index.ledger.is_pinned(newer)
    assert not index.set_pinned("unknown", pinned=True)


def test_what_was_made_of_a_block_goes_with_it(index: Index) -> None:
    block = _publish(index, _block("a"))[0][0]
    _publish(index, _block(f"tensors/{block.uuid}/1"), _block("tensors/other/1"))
    index.drop("a")

    assert index.names() == ["tensors/other/1"]


def test_records_that_no_entry_names_are_freed(index: Index) -> None:
    kept = _publish(index, _block("a"))[0][0]
    index.ledger.add(_block("killed while publishing"), NOW_NS)
    with index.exclusive():
        index.settle()

    assert _places(index) == [kept.record]
    assert _publish(index, _block("b"))[0][0].record != kept.record
