"""Cores that may be counted on: those that the process is bound to, else the machine's."""

from __future__ import annotations

import os

import pytest

from neural_gpu_bus.machine_cores import usable_cores


def test_a_bound_process_has_the_cores_that_it_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)

    assert usable_cores() == 3


@pytest.mark.parametrize(("machine", "usable"), [(8, 8), (None, 1)])
def test_elsewhere_it_has_the_machines(
    monkeypatch: pytest.MonkeyPatch, machine: int | None, usable: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)

    assert usable_cores() == usable
