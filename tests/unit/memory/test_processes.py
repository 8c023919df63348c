"""Counters of all processes in one table: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory.accounting import processes
from neural_gpu_bus.memory.accounting.processes import OwnCounters, ProcessTable
from neural_gpu_bus.memory.files import folder as folders


@pytest.fixture
def table(memory_folder: Path) -> ProcessTable:
    folders.prepare(memory_folder)
    return ProcessTable(memory_folder)


def claimed(table: ProcessTable) -> tuple[OwnCounters, str]:
    session = uuid.uuid4().hex
    return table.claim(session, os.getpid()), session


def count(own: OwnCounters) -> None:
    """A different number everywhere, so that a swapped field shows."""
    for place, region in enumerate((own.neural, own.gpu, own.shared)):
        region.hits = 10 + place
        region.misses = 20 + place
        region.evictions = 30 + place
        region.evicted_bytes = 40 + place
        region.saved_ns = 50 + place
    own.uses.update(cpu=60, gpu=61, neural=62)
    own.puts, own.put_bytes, own.attaches, own.attach_misses, own.reused_bytes = 70, 71, 72, 73, 74
    own.write_down()


COUNTED = {
    "hits": [10, 11, 12],
    "misses": [20, 21, 22],
    "evictions": [30, 31, 32],
    "evicted_bytes": [40, 41, 42],
    "saved_ns": [50, 51, 52],
    "uses": [60, 61, 62],
    "puts": 70,
    "put_bytes": 71,
    "attaches": 72,
    "attach_misses": 73,
    "reused_bytes": 74,
}


def sums(table: ProcessTable) -> dict[str, object]:
    found = table.sums()
    return {name: found[name].tolist() for name in found.dtype.names}


def test_the_layout_is_what_the_page_says() -> None:
    record = processes.RECORD

    offsets = [record.fields[name][1] for name in record.names]

    assert record.itemsize == 256
    assert offsets == [0, 8, 16, 24, 32, 216, 240, 248]


def test_another_mapping_of_the_table_sees_what_was_written_down(
    table: ProcessTable, memory_folder: Path
) -> None:
    count(claimed(table)[0])

    assert sums(ProcessTable(memory_folder)) == COUNTED


def test_what_was_not_written_down_is_seen_at_the_end(table: ProcessTable) -> None:
    own, _ = claimed(table)
    own.shared.hits += 5
    before = table.sums()["hits"].tolist()

    table.release(own)

    assert before == [0, 0, 0]
    assert table.sums()["hits"].tolist() == [0, 0, 5]


def test_the_counts_of_the_ended_stay(table: ProcessTable) -> None:
    own, _ = claimed(table)
    count(own)

    table.release(own)

    assert sums(table) == COUNTED
    assert len(table.records()) == 0


def test_a_dead_record_is_folded_once_and_a_living_one_is_not(table: ProcessTable) -> None:
    dead, _ = claimed(table)
    living, session = claimed(table)
    count(dead)
    living.puts = 1
    living.write_down()

    table.fold_dead([session])
    table.fold_dead([session])

    assert sums(table) == COUNTED | {"puts": 71}
    assert [folders.uuid_head(session)] == table.records()["session"].tolist()


def test_a_fold_that_its_process_did_not_live_to_end_is_mended(table: ProcessTable) -> None:
    count(claimed(table)[0])
    table._words[0, processes._FOLDS] = 7

    assert sums(table) == COUNTED  # after a bounded number of looks
    table.fold_dead([])

    assert table._words[0, processes._FOLDS] == 8


def test_bytes_without_a_name_are_told_at_once_and_go_with_their_session(
    table: ProcessTable, memory_folder: Path
) -> None:
    other = ProcessTable(memory_folder)
    (own, _), (second, _) = claimed(table), claimed(other)
    own.add_unnamed("shared", 4096)
    own.add_unnamed("gpu", 1)
    second.add_unnamed("shared", 8192)
    own.add_unnamed("shared", -1096)

    assert other.unnamed_bytes("shared") == 3000 + 8192
    table.release(own)
    own.add_unnamed("shared", -3000)  # a finalizer that runs late

    assert other.unnamed_bytes("shared") == 8192
    assert other.unnamed_bytes("gpu") == 0


def test_a_free_place_is_taken_again_with_empty_counters(table: ProcessTable) -> None:
    first, _ = claimed(table)
    count(first)
    table.release(first)

    again, _ = claimed(table)
    again.write_down()

    assert again.place == first.place
    assert sums(table) == COUNTED


def test_a_closed_counter_writes_to_nobody_elses_record(table: ProcessTable) -> None:
    first, _ = claimed(table)
    table.release(first)
    claimed(table)

    first.puts = 1000
    first.write_down()

    assert table.sums()["puts"] == 0


def test_a_forked_child_counts_nothing_for_its_parent(table: ProcessTable) -> None:
    own, _ = claimed(table)
    own._pid += 1  # as the child sees it

    own.puts = 5
    own.write_down()
    own.add_unnamed("shared", 100)
    own.add_mapped(100)

    assert table.sums()["puts"] == 0
    assert (table.unnamed_bytes("shared"), table.mapped_bytes()) == (0, 0)


def test_mapped_bytes_are_told_at_once(table: ProcessTable, memory_folder: Path) -> None:
    own, _ = claimed(table)
    own.add_mapped(500)
    own.add_mapped(-200)

    assert ProcessTable(memory_folder).mapped_bytes() == 300


def test_a_full_table_is_a_sentence(table: ProcessTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "process_started_ns", lambda _pid: 0)
    held = [claimed(table)[0] for _ in range(processes.RECORDS_MAX - 1)]
    for own in held:
        own.puts = 1
        own.write_down()

    with pytest.raises(HostError, match="1,023 processes have the memory folder") as caught:
        claimed(table)

    assert "ngb memory" in caught.value.hint
    assert table.sums()["puts"] == len(held)


def test_a_file_of_another_layout_is_refused(memory_folder: Path) -> None:
    folders.prepare(memory_folder)
    (memory_folder / "tables" / "processes").write_bytes(b"something else")

    with pytest.raises(HostError, match="processes' is no table of this version"):
        ProcessTable(memory_folder)


def test_a_table_of_the_right_size_that_is_not_ours_is_refused(memory_folder: Path) -> None:
    folders.prepare(memory_folder)
    nbytes = processes.RECORDS_MAX * processes.RECORD.itemsize
    (memory_folder / "tables" / "processes").write_bytes(b"x" * nbytes)

    with pytest.raises(HostError, match="processes' is no table of this version"):
        ProcessTable(memory_folder)


def test_a_record_says_which_process_it_is(table: ProcessTable) -> None:
    _, session = claimed(table)

    (record,) = table.records()

    assert record["pid"] == os.getpid()
    assert record["session"] == folders.uuid_head(session)
    assert 0 < record["started_ns"] < record["opened_ns"]


def test_a_pid_that_nobody_has_started_never() -> None:
    assert processes.process_started_ns(np.iinfo(np.int32).max) == 0
