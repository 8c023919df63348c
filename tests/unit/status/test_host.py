"""``ngb doctor`` says of the host what holds and what does not."""

from __future__ import annotations

from pathlib import Path

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


def test_a_trap_keeps_the_fact_beside_it() -> None:
    check = host._check("open files", "256 of at most 256", Trap("open files", "few", "more"))

    assert check.detail == "256 of at most 256; few"
    assert (check.verdict, check.advice) == (Verdict.LIMITED, "more")
