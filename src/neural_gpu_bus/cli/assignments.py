"""``name=value`` arguments as typed values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from neural_gpu_bus.errors import BadParameterError


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["n=3", "desk=EU"]`` as ``{"n": 3, "desk": "EU"}``: JSON where it is, else text."""
    return dict(_parse(assignment) for assignment in assignments)


def _parse(assignment: str) -> tuple[str, Any]:
    name, equals, text = assignment.partition("=")
    if not (name and equals):
        raise BadParameterError(
            f"{assignment!r} is not of the form name=value",
            hint="for example: desk=EU or confidence=0.99",
            parameter=assignment,
        )
    try:
        return name, msgspec.json.decode(text)
    except msgspec.DecodeError:
        return name, text
