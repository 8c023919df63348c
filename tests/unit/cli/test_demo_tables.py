"""The demo's table fits a terminal of 80 columns without losing a word."""

from __future__ import annotations

import pytest

from neural_gpu_bus.benchmarks.wording import TIMES
from neural_gpu_bus.cli import demo_tables
from neural_gpu_bus.cli.console import out
from sample_results import sample_results


def test_the_table_fits_into_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "_width", 80)

    demo_tables.print_demo(sample_results())

    table = capsys.readouterr().out.split("measured")[0]
    assert "…" not in table
    assert all(len(line.rstrip()) <= 80 for line in table.splitlines())
    for word in (
        "traditional",
        "library",
        "resident",
        "Technical indicators",
        f"116{TIMES}/19{TIMES}",
    ):
        assert word in table
