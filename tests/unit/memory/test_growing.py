"""Series of a memory by their names: which are refused, and what one spoilt folder leaves."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    DatasetNotFoundError,
    UsageError,
)
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.accounting.maps import LivingMaps
from neural_gpu_bus.memory.series.group import MIB

SCHEMA = pa.schema([("k", pa.string()), ("x", pa.float64())])
NO_NAMES = [
    5,
    "",
    None,
    b"bars",
    "half\ud800",
    "two\nlines",
    "x" * 481,
    "jobs/1",
    "tensors/1",
    "queries/1",
]


def _made(memory: UnifiedMemory, name: Any, group: Any = None) -> Any:
    return memory.growing.series(name, SCHEMA, ["k"], None, group)


@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
@pytest.mark.parametrize(
    "use",
    [
        _made,
        lambda memory, name: memory.growing.series(name, None, (), None, "desk"),
        lambda memory, name: memory.growing.writer(name),
        lambda memory, name: memory.growing.drop(name),
    ],
    ids=["make", "series", "writer", "drop"],
)
def test_what_is_no_name_is_refused_and_nothing_is_made(
    memory: UnifiedMemory, use: Callable[..., Any], name: Any
) -> None:
    with pytest.raises(BadParameterError, match=r"is no name for|is a name for"):
        use(memory, name)

    assert list((memory.folder / "series").iterdir()) == []


@pytest.mark.parametrize("group", [name for name in NO_NAMES if name is not None], ids=repr)
def test_nor_is_it_a_group_s(memory: UnifiedMemory, group: Any) -> None:
    with pytest.raises(BadParameterError, match=r"is no name for|is a name for"):
        _made(memory, "bars", group)

    assert list((memory.folder / "series").iterdir()) == []


@pytest.mark.parametrize(
    ("key", "order", "match"),
    [
        (["none"], None, "'none'"),
        (["x"], None, "cannot be part of a key"),
        (["k"], "x", "cannot be ordered by 'x'"),
        (5, None, "key is 5"),
    ],
)
def test_a_series_that_is_refused_leaves_no_group(
    memory: UnifiedMemory, key: Any, order: str | None, match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        memory.growing.series("bars", SCHEMA, key, order, "desk")

    assert list((memory.folder / "series").iterdir()) == []


@pytest.mark.parametrize("meta", [b"", b"x", b"\x84\xa4name\x05", b"\x81\xa4name\xa1\xff", None])
def test_a_spoilt_folder_breaks_no_other(
    memory: UnifiedMemory, memory_folder: Path, meta: bytes | None
) -> None:
    """As one that another process drops at this moment, whose file is gone already."""
    spoilt = _made(memory, "spoilt", "lost")
    _made(memory, "bars", "desk")
    _made(memory, "ticks", "desk")
    _spoil(_folder_of(memory, spoilt.name, "lost").parent, meta)
    _spoil(_folder_of(memory, "ticks", "desk"), meta)
    other = UnifiedMemory(memory_folder, 64 << 20)
    try:
        with other.growing.writer("desk") as writer:
            writer.append("bars", {"k": ["a"], "x": [1.5]})
            writer.publish()

        assert _made(other, "bars", "desk").last(1, k="a")["x"].tolist() == [1.5]
        assert other.growing._group("desk", make=False).names() == ["bars"]
        assert _made(other, "quotes", "second").rows() == 0
        with pytest.raises(DatasetNotFoundError, match="has no series 'ticks'"):
            other.growing.series("ticks", None, (), None, "desk")
        with pytest.raises(DatasetNotFoundError, match=r"no group .* 'lost'\nhint: .*plane\.ser"):
            other.growing.writer("lost")
    finally:
        other.close()


@pytest.mark.parametrize("content", [None, b"", b"x" * 4096], ids=["gone", "empty", "foreign"])
def test_a_spoilt_clock_keeps_nobody_from_putting(
    memory: UnifiedMemory, memory_folder: Path, content: bytes | None
) -> None:
    """As that of a group which another process drops at this moment."""
    _made(memory, "bars", "desk")
    clock = _folder_of(memory, "bars", "desk").parent / "clock"
    clock.rename(clock.with_name("another"))
    if content is not None:
        clock.write_bytes(content)
    other = UnifiedMemory(memory_folder, 64 << 20)
    try:
        assert other.put("prices", {"x": [1.0]}).rows == 1
        assert other.statistics().series_bytes == 0
    finally:
        other.close()


def test_an_arena_s_bytes_count_at_every_moment(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that claim when the claim is given back find the group's own count."""
    _made(memory, "bars")
    use, seen = memory._use, []
    give_back = use.give_back

    def used_bytes() -> int:
        return use.occupancy.used_bytes(use.session, "shared")

    def given_back(*arguments: Any) -> None:
        give_back(*arguments)
        seen.append(used_bytes())

    before = used_bytes()
    with memory.growing.writer("bars") as writer:
        monkeypatch.setattr(use, "give_back", given_back)
        writer.append("bars", {"k": ["a"], "x": [1.5]})

    assert len(seen) == 1
    assert seen[0] >= before + MIB


def test_files_of_a_dropped_group_count_while_somebody_has_them_mapped(
    memory: UnifiedMemory, memory_folder: Path
) -> None:
    series = _made(memory, "bars")
    with memory.growing.writer("bars") as writer:
        writer.append("bars", {"k": ["a"], "x": [1.5]})
        writer.publish()
    frame = series.last(1, k="a")

    def gone_bytes() -> int:
        maps = LivingMaps(memory_folder)
        return sum(entry.nbytes for entry in maps.entries if maps.is_gone(entry))

    assert gone_bytes() == 0
    memory.growing.drop("bars")
    assert gone_bytes() == MIB
    with pytest.raises(DatasetEvictedError, match="'bars'"):
        series.last(1, k="a")
    assert frame["x"].tolist() == [1.5]
    del frame
    gc.collect()
    assert gone_bytes() == 0


def test_facts_of_all_groups_are_told_without_opening_one(memory: UnifiedMemory) -> None:
    _made(memory, "bars", "desk")
    _made(memory, "ticks", "desk")
    _made(memory, "alone")
    _spoil(_folder_of(memory, _made(memory, "spoilt").name, "spoilt").parent, b"x")
    with memory.growing.writer("desk") as writer:
        writer.append("bars", {"k": ["a", "b"], "x": [1.5, 2.5]})
        writer.publish()
        alone, desk = memory.growing.facts()
        assert (alone.group, alone.series, alone.partitions) == ("alone", ("alone",), 0)
        assert (desk.group, desk.series, desk.partitions) == ("desk", ("bars", "ticks"), 2)
        assert (desk.generation, desk.writer_pid) == (1, os.getpid())
        assert desk.nbytes > MIB
        assert desk.published_ns > alone.published_ns

    assert [one.writer_pid for one in memory.growing.facts()] == [0, 0]


def _folder_of(memory: UnifiedMemory, series: str, group: str) -> Path:
    folder: Path = memory.growing._group(group, make=False).place(series).folder
    return folder


def _spoil(folder: Path, meta: bytes | None) -> None:
    (folder / "meta").chmod(0o600)
    if meta is None:
        (folder / "meta").unlink()
    else:
        (folder / "meta").write_bytes(meta)
