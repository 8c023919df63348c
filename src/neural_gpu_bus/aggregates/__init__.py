"""Aggregates over groups of rows: arrays in, arrays out, and the SQL that asks the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.aggregates.conditions import condition_of
from neural_gpu_bus.aggregates.operations import Aggregate, operations_of
from neural_gpu_bus.aggregates.request import Request, bucket_of, make_request

if TYPE_CHECKING:
    from neural_gpu_bus.aggregates.resident import aggregate_table

__all__ = [
    "Aggregate",
    "Request",
    "aggregate_table",
    "bucket_of",
    "condition_of",
    "make_request",
    "operations_of",
]


def __getattr__(name: str) -> Any:
    """Loaded on first use: Arrow's functions take a tenth of a second, and a plane needs none."""
    if name == "aggregate_table":
        from neural_gpu_bus.aggregates.resident import aggregate_table

        return aggregate_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
