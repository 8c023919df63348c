"""``ngb doctor`` says of the host what holds and what does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from neural_gpu_bus.host_traps import Trap
from neural_gpu_bus.status import host
from neural_gpu_bus.status.checks import Verdict


def test_every_fact_of_a_folder_that_can_be_used(memory_folder: Path) -> None:
    found = {check.name: check for check in host.check_host(memory_folder / "made" / "later", 1)}

    assert {"Python", "memory", "shared memory", "memory budget", "open files"} <= found.keys()
    assert found["memory budget"].verdict is Verdict.GOOD
    assert str(memory_folder) in found["shared memory"].detail


def test_a_budget_that_does_not_fit_is_a_problem(memory_folder: Path) -> None:
    found = {check.name: check for check in host.check_host(memory_folder, 1 << 60)}

    assert found["memory budget"].verdict is Verdict.BAD
    assert "NGB_MEMORY_BYTES_MAX" in found["memory budget"].advice


def test_the_budget_in_force_is_at_most_the_file_system(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SimpleNamespace(total=6 << 20, used=0, free=6 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: small)
    budgets = {}
    for asked in (2 << 20, 90 << 20):
        checks = host.check_host(memory_folder, asked)
        budgets[asked] = next(check for check in checks if check.name == "memory budget").detail

    assert budgets[2 << 20] == "2 MiB"
    assert budgets[90 << 20] == "6 MiB, all that its file system has, of 90 MiB"


def test_a_trap_keeps_the_fact_beside_it() -> None:
    check = host._check("open files", "256 of at most 256", Trap("open files", "few", "more"))

    assert check.detail == "256 of at most 256; few"
    assert (check.verdict, check.advice) == (Verdict.LIMITED, "more")
