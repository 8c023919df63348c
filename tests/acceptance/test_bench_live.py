"""``ngb bench live`` as a person types it: every question, small, equality and all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neural_gpu_bus.benchmarks.live import QUESTIONS

pytestmark = pytest.mark.slow


def test_every_question_is_asked_once(ngb: Any, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    shown = ngb("bench", "live", "--quick", "--json", file)

    assert shown.returncode == 0, shown.stderr
    assert "--quick: a check that everything runs" in shown.stdout
    assert " met " not in shown.stdout
    assert "as published, not measured here" in shown.stdout
    found = json.loads(file.read_text())
    assert [answer["name"] for answer in found["answers"]] == list(QUESTIONS)
    for answer in found["answers"]:
        kinds = {line["kind"] for part in answer["parts"] for line in part["lines"]}
        assert "ours" in kinds
        assert answer["goals"]
    assert "no table is live" in ngb("live", "list").stdout


def test_a_mistyped_question_is_told(ngb: Any) -> None:
    shown = ngb("bench", "live", "--only", "latancy")

    assert shown.returncode == 2
    assert "did you mean 'latency'?" in shown.stderr
