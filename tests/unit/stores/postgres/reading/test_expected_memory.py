"""Memory reserved ahead: used where it fits, given back where it does not."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.stores.postgres.reading.expected_memory import (
    BYTES_MAX,
    STATEMENTS_MAX,
    ExpectedMemory,
    Shape,
    Shapes,
)
from plain_reservation import PlainReservation

NUMBERS = pa.schema([("x", pa.float64()), ("t", pa.large_string())])


class Reserving:
    """Reserves in private memory and remembers what it gave."""

    def __init__(self) -> None:
        self.given: list[PlainReservation] = []
        self.full = False

    def __call__(self, schema: pa.Schema, rows: int, **sizes: Any) -> PlainReservation:
        if self.full:
            raise SharedMemoryFullError("full", hint="drop", needed_bytes=1, free_bytes=0)
        sizes.pop("list_values", None), sizes.pop("dictionaries", None)
        self.given.append(PlainReservation(schema, rows, **sizes))
        return self.given[-1]


def read(shapes: Shapes, reserve: Reserving, rows: int, **sizes: Any) -> PlainReservation:
    memory = ExpectedMemory(shapes, "SELECT", reserve)
    memory.prepare()
    found = memory(NUMBERS, rows, **({"text_bytes": {"t": 3}, "null_counts": {}} | sizes))
    memory.close()
    return found


def test_the_second_result_of_the_same_shape_gets_what_was_reserved_ahead() -> None:
    shapes, reserve = Shapes(), Reserving()

    first, second = read(shapes, reserve, 5), read(shapes, reserve, 5)

    assert reserve.given == [first, second]
    assert not second.abandoned


@pytest.mark.parametrize(
    "other", [{"rows": 6}, {"text_bytes": {"t": 4}}, {"null_counts": {"x": 1}}], ids=str
)
def test_what_does_not_fit_is_given_back(other: dict[str, Any]) -> None:
    shapes, reserve = Shapes(), Reserving()
    read(shapes, reserve, 5)

    found = read(shapes, reserve, **({"rows": 5} | other))

    _, ahead, again = reserve.given
    assert found is again
    assert ahead.abandoned
    assert not again.abandoned


def test_what_no_result_came_for_is_given_back() -> None:
    shapes, reserve = Shapes(), Reserving()
    read(shapes, reserve, 5)
    memory = ExpectedMemory(shapes, "SELECT", reserve)

    memory.prepare()
    memory.prepare()
    memory.close()
    memory.close()

    assert len(reserve.given) == 2
    assert reserve.given[1].abandoned


def test_a_full_memory_is_told_when_the_result_is_there() -> None:
    shapes, reserve = Shapes(), Reserving()
    read(shapes, reserve, 5)
    reserve.full = True
    memory = ExpectedMemory(shapes, "SELECT", reserve)

    memory.prepare()

    with pytest.raises(SharedMemoryFullError, match="full"):
        memory(NUMBERS, 5, text_bytes={"t": 3}, null_counts={})


def test_large_results_and_dictionaries_are_not_foreseen() -> None:
    shapes, reserve = Shapes(), Reserving()

    read(shapes, reserve, 1, text_bytes={"t": BYTES_MAX})
    assert shapes.get("SELECT") is None
    read(shapes, reserve, 1, dictionaries={"t": pa.array(["a"])})
    assert shapes.get("SELECT") is None


def test_statements_are_forgotten_the_oldest_first() -> None:
    shapes = Shapes()

    for number in range(STATEMENTS_MAX + 1):
        shapes.note(number, Shape(NUMBERS, number, {}, {}))

    assert shapes.get(0) is None
    assert shapes.get(STATEMENTS_MAX) is not None
