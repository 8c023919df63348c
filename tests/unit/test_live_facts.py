"""docs/reference/live-facts.md: each fact has code and tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    [part.strip() for part in line.strip("|").split("|")]
    for line in (ROOT / "docs/reference/live-facts.md").read_text().splitlines()
    if line.startswith("| F")
]


def functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {one.name for one in body if isinstance(one, ast.FunctionDef)}


def test_each_fact_is_held_once() -> None:
    assert [row[0] for row in ROWS] == [f"F{number}" for number in range(1, 23)]


def test_named_code_and_tests_are_there() -> None:
    for number, _, code, tests in ROWS:
        assert (ROOT / "src/neural_gpu_bus" / code.strip("`")).is_file(), (number, code)
        named = re.findall(r"`([\w/]+\.py)::(\w+)`( \(soak\))?", tests)
        assert named, number
        assert tests.count("`") == 2 * len(named), (number, tests)
        for path, name, _ in named:
            assert name in functions(ROOT / "tests" / path), (number, path, name)


def test_what_is_said_to_be_soak_is() -> None:
    for number, _, _, tests in ROWS:
        for path, name, soak in re.findall(r"`([\w/]+\.py)::(\w+)`( \(soak\))?", tests):
            source = (ROOT / "tests" / path).read_text()
            before = source[: source.index(f"def {name}(")].rsplit("\n\n", 1)[-1]
            assert bool(soak) == ("@pytest.mark.soak" in before), (number, name)
