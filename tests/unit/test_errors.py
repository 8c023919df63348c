"""Errors: one root, picklable, facts as attributes, messages without unrendered templates."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_gpu_bus import errors


def all_errors(kind: type[errors.NeuralGpuBusError]) -> Iterator[type[errors.NeuralGpuBusError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from all_errors(child)


@pytest.mark.parametrize("kind", sorted(all_errors(errors.NeuralGpuBusError), key=str))
def test_every_error_has_a_docstring_and_survives_pickling(
    kind: type[errors.NeuralGpuBusError],
) -> None:
    error = kind("3 of 2 rows are wrong", hint="mend row 3", row=3)

    there_and_back = pickle.loads(pickle.dumps(error))

    assert kind.__doc__
    assert type(there_and_back) is kind
    assert there_and_back.row == 3
    assert str(there_and_back) == "3 of 2 rows are wrong\nhint: mend row 3"


def test_a_fact_that_an_error_lacks_is_named_with_those_it_has() -> None:
    error = errors.BadFileError("bad", file="a.csv", row=1)

    with pytest.raises(AttributeError, match=r"no attribute 'column'; it knows \['file', 'row'\]"):
        _ = error.column


def test_branches_have_their_own_exit_codes() -> None:
    branches = [errors.UsageError, errors.ServerError, errors.HostError, errors.JobError]

    assert [branch.exit_code for branch in branches] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.BadParameterError, ValueError),
        (errors.DatasetNotFoundError, KeyError),
        (errors.ServerUnreachableError, ConnectionError),
        (errors.QueryTimeoutError, TimeoutError),
        (errors.SharedMemoryFullError, MemoryError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_an_error_is_also_the_builtin_that_fits(
    kind: type[errors.NeuralGpuBusError], builtin: type[Exception]
) -> None:
    assert issubclass(kind, builtin)


SOURCE = Path(errors.__file__).parent


def promised_facts(kind: type[errors.NeuralGpuBusError]) -> set[str]:
    """Those that its docstring names without "where known" before them."""
    said = re.search(r"Facts: (.*?)\.", " ".join((kind.__doc__ or "").split()))
    sure = said[1].split("where")[0] if said else ""
    return set(re.findall(r"``(\w+)``", sure))


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_every_error_has_the_facts_that_its_docstring_names(path: Path) -> None:
    lacking = []
    for call in ast.walk(ast.parse(path.read_text())):
        if not isinstance(call, ast.Call):
            continue
        kind = getattr(errors, ast.unparse(call.func).removeprefix("errors."), None)
        given = {keyword.arg for keyword in call.keywords}
        if isinstance(kind, type) and None not in given and (lacks := promised_facts(kind) - given):
            lacking.append(f"line {call.lineno}: {kind.__name__} lacks {sorted(lacks)}")

    assert lacking == []
