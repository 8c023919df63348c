"""Aggregates over groups of rows: arrays in, arrays out, and the SQL that asks the same."""

from __future__ import annotations

from neural_gpu_bus.aggregates.conditions import condition_of
from neural_gpu_bus.aggregates.operations import Aggregate, operations_of
from neural_gpu_bus.aggregates.request import Request, bucket_of, make_request
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
