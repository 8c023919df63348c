"""The index alone: versions, totals, and what happens when it is damaged."""

from pathlib import Path

import msgspec
import pytest

from neural_gpu_bus.descriptors import BlockDescriptor, ColumnDescriptor
from neural_gpu_bus.errors import BadParameterError, HostError
from neural_gpu_bus.memory.folder import prepare
from neural_gpu_bus.memory.index import VERSIONS_KEPT, Index


def _block(name: str, nbytes: int = 100) -> BlockDescriptor:
    return BlockDescriptor(
        name=name,
        version=0,
        path="",
        uuid="",
        rows=1,
        nbytes=nbytes,
        columns=(ColumnDescriptor("a", "int64"),),
        created_ns=1,
        host="here",
    )


@pytest.fixture
def index(memory_folder: Path) -> Index:
    return Index(prepare(memory_folder))


def test_versions_count_up_and_the_last_ones_are_kept(index: Index) -> None:
    gone = [index.publish(_block("a"), lambda: None)[1] for _ in range(5)]

    assert [[block.version for block in blocks] for blocks in gone] == [[], [], [1], [2], [3]]
    kept = [version for version in range(7) if index.version("a", version)]
    assert kept == [4, 5][-VERSIONS_KEPT:]
    assert index.totals() == (1, 2, 200)


def test_a_dropped_name_is_gone_with_all_its_versions(index: Index) -> None:
    for _ in range(3):
        index.publish(_block("a"), lambda: None)
    index.publish(_block("ab"), lambda: None)

    assert sorted(block.version for block in index.drop("a")) == [2, 3]
    assert index.drop("a") == []
    assert index.newest("a") is None
    assert index.version("a", 2) is None
    assert index.names() == ["ab"]
    assert index.totals() == (1, 1, 100)


def test_a_name_is_dropped_for_one_block_only_while_it_is_the_newest(index: Index) -> None:
    first, second = (msgspec.structs.replace(_block("a"), uuid=uuid) for uuid in "12")
    for block in (first, second):
        index.publish(block, lambda: None)

    assert index.drop("a", newest_uuid="1") == []
    assert index.totals() == (1, 2, 200)
    assert sorted(block.uuid for block in index.drop("a", newest_uuid="2")) == ["1", "2"]
    assert index.totals() == (0, 0, 0)
    assert index.drop("a", newest_uuid="2") == []


def test_a_move_that_fails_publishes_nothing(index: Index) -> None:
    index.publish(_block("a"), lambda: None)

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        index.publish(_block("a"), fail)
    assert index.totals() == (1, 1, 100)
    assert index.version("a", 2) is None


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "ä" * 241])
def test_bad_names_are_refused(index: Index, name: str) -> None:
    with pytest.raises(BadParameterError, match="is no name for a dataset"):
        index.publish(_block(name), lambda: None)


def test_two_uses_in_one_process_share_the_file(memory_folder: Path) -> None:
    first, second = Index(prepare(memory_folder)), Index(prepare(memory_folder))
    first.publish(_block("a"), lambda: None)
    first.close()

    assert second.names() == ["a"]
    second.close()
    second.close()
    assert Index(prepare(memory_folder)).names() == ["a"]


def test_a_damaged_index_is_refused_with_the_way_out(memory_folder: Path) -> None:
    folder = prepare(memory_folder)
    (folder / "index" / "data.mdb").write_bytes(b"not an index" * 1000)

    with pytest.raises(HostError, match=r"cannot be used: .*\n.*remove that folder"):
        Index(folder)
