"""What a live process leaves for the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from neural_gpu_bus.live.definitions import live_definition
from neural_gpu_bus.live.mirror import stream_record
from neural_gpu_bus.live.mirror.stream_record import KeptTable, RecordFile, StreamRecord
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
from neural_gpu_bus.stores.postgres.replication.append_only import ChangeCounts
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import SnapshotMoment
from neural_gpu_bus.stores.postgres.replication.table_shapes import ColumnShape, TableShape
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

COLUMN = ColumnShape(1, "id", 20, -1, "bigint", not_null=True)
SHAPE = TableShape(7, "public", "bars", (COLUMN,), "d", ("id",), False, ())
MOMENT = SnapshotMoment(
    Snapshot("00000003-1", 5, "2026"), VisibleTransactions(3, 9, frozenset({4, 5})), SHAPE, 100, 5
)
TABLE = KeptTable(live_definition("bars"), 3, MOMENT, ChangeCounts(1, 2, "then"))
RECORD = StreamRecord("ngb_live_1", "7123", 1, "postgres", 4096, (TABLE,))


def test_it_is_read_as_it_was_written_and_by_its_owner_alone(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    assert file.load() is None
    file.save(RECORD)
    found = file.load()
    assert found is not None
    assert replace(found, boot="") == RECORD
    assert (tmp_path / stream_record.FILE).stat().st_mode & 0o777 == 0o600
    file.remove()
    file.remove()
    assert file.load() is None


def test_one_of_another_version_or_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    file.save(replace(RECORD, written_by="0.0.0"))
    assert file.load() is None
    file.save(RECORD)
    path = tmp_path / stream_record.FILE
    path.write_bytes(path.read_bytes()[:-1])
    assert file.load() is None


def test_one_of_another_run_of_the_machine_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RecordFile(tmp_path).save(RECORD)
    boot = tmp_path / "boot"
    monkeypatch.setattr(stream_record, "_BOOT", boot)
    assert RecordFile(tmp_path).load() is None
    boot.write_text("another\n")
    assert RecordFile(tmp_path).load() is None


def test_where_it_cannot_be_written_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RecordFile(tmp_path)
    file.save(RECORD)
    monkeypatch.setattr(stream_record, "RECORD_BYTES_MAX", 10)
    file.save(RECORD)
    assert file.load() is None
