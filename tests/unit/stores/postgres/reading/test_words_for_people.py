"""What reading gives, as a person sees it in a shell."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from neural_gpu_bus.stores.postgres.reading.read_report import ReadReport
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot, SnapshotBlock

REPORT = ReadReport(
    table="public.bars",
    rows=1_000_000,
    bytes=76 << 20,
    connections=3,
    ranges=24,
    snapshot="00000003-1",
    why_one="",
    prepare_ms=3.14159265,
    receive_ms=410.123456,
    decode_ms=0.5,
)


def test_a_report_has_a_line_for_each_question() -> None:
    assert str(REPORT).splitlines() == [
        "table    public.bars: 1,000,000 rows, 76.0 MiB received",
        "read by  3 connections, which took 24 ranges of pages",
        "moment   snapshot 00000003-1",
        "time     3.1 ms to prepare, 410.1 ms to receive, 0.5 ms to decode",
    ]


def test_a_report_says_why_one_connection_read() -> None:
    lines = str(replace(REPORT, connections=1, why_one="it is a view", snapshot="")).splitlines()

    assert lines[1:3] == ["read by  1 connection: it is a view", "moment   of the statement"]


def test_a_snapshot_says_when_it_was_taken() -> None:
    taken = Snapshot("00000003-1", 1_700_000_000_000_000_000)

    assert str(taken) == "snapshot 00000003-1, taken 2023-11-14 22:13:20 UTC"
    assert "with plane.snapshot() as s:" in repr(SnapshotBlock(nullcontext(taken)))
    with SnapshotBlock(nullcontext(taken)) as found:
        assert found is taken
