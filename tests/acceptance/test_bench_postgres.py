"""``ngb bench postgres`` as a person types it: every question, small, equality and all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neural_gpu_bus.benchmarks.postgres import QUESTIONS

pytestmark = pytest.mark.slow


def test_every_question_is_asked_once(ngb: Any, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    shown = ngb("bench", "postgres", "--quick", "--json", file)

    assert shown.returncode == 0, shown.stderr
    assert "--quick: a check that everything runs" in shown.stdout
    assert " met " not in shown.stdout
    assert "warning" not in shown.stderr
    found = json.loads(file.read_text())
    assert [answer["name"] for answer in found["answers"]] == list(QUESTIONS)
    assert "PostgreSQL" in found["versions"]
    for answer in found["answers"]:
        kinds = {line["kind"] for part in answer["parts"] for line in part["lines"]}
        assert "ours" in kinds
        assert answer["goals"]


def test_a_mistyped_question_is_told(ngb: Any) -> None:
    shown = ngb("bench", "postgres", "--only", "fixt")

    assert shown.returncode == 2
    assert "did you mean 'fixed'?" in shown.stderr
