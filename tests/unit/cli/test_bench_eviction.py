"""``ngb bench eviction`` prints a table a trace and names the winner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from neural_gpu_bus.benchmarks.eviction.traces import KINDS
from neural_gpu_bus.cli.bench_eviction import bench_eviction
from neural_gpu_bus.memory.catalog.eviction import DEFAULT_POLICY, POLICIES

CAPACITY = 0.07
QUICK = ("--requests", "100", "--capacity", str(CAPACITY))


def bench(*arguments: str, columns: int = 80) -> Result:
    application = typer.Typer()
    application.command()(bench_eviction)
    return CliRunner().invoke(application, [*QUICK, *arguments], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_and_nothing_is_cut(columns: int) -> None:
    printed = bench(columns=columns)

    assert printed.exit_code == 0, printed.output
    lines = printed.output.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in printed.output
    for name in (*(kind.name for kind in KINDS), "demo"):
        assert any(line.startswith(f"{name}: ") for line in lines)
    for policy in (*POLICIES, "belady", "at most"):
        assert printed.output.count(f" {policy} ") >= len(KINDS) + 1
    assert f"the default policy is {DEFAULT_POLICY}" in " ".join(printed.output.split())


def test_the_file_holds_what_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "eviction.json"

    printed = bench("--seed", "11", "--json", str(file))

    found = json.loads(file.read_bytes())
    assert printed.exit_code == 0, printed.output
    assert (found["seed"], found["requests"]) == (11, 100)
    assert {match["capacity"] for match in found["matches"]} == {CAPACITY}


@pytest.mark.parametrize("capacity", ["30", "0"])
def test_a_capacity_is_a_share(capacity: str) -> None:
    printed = bench("--capacity", capacity, columns=120)

    assert printed.exit_code == 2
    assert "Invalid value for '--capacity'" in printed.output
