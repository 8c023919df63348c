"""Errors on their way to another process: the class by its name, the facts as plain values."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from neural_gpu_bus import errors
from neural_gpu_bus.descriptors import ErrorRecord, PlainFact
from neural_gpu_bus.errors import NeuralGpuBusError

#: What msgpack's whole numbers hold.
_INTEGERS = range(-(1 << 63), 1 << 64)


def to_record(error: NeuralGpuBusError) -> ErrorRecord:
    """An error, ready to travel; a fact that is no plain value travels as text."""
    facts = {name: _plain(value) for name, value in error.facts.items()}
    return ErrorRecord(type(error).__name__, error.what, error.hint, facts)


def from_record(
    record: ErrorRecord, *, unknown: type[NeuralGpuBusError] = NeuralGpuBusError, **facts: Any
) -> NeuralGpuBusError:
    """The error that was recorded, with ``facts`` added to its own.

    ``unknown`` is its class where this version knows no error of that name.
    """
    kind = getattr(errors, record.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, NeuralGpuBusError)):
        kind = unknown
    return kind(record.what, hint=record.hint, **(record.facts | facts))


def _plain(value: Any) -> PlainFact:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral) and int(value) in _INTEGERS:
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Integral):
        return float(value)
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return str(value)
