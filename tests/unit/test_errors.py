"""Errors: one root, picklable, facts as attributes, messages without unrendered templates."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

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
