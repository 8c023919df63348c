"""Results of different readers brought into one form, to be compared value by value. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.equality import Rows, require_equal

Kind = Literal["number", "time", "text", "bool"]

#: What is no number, by the name of its column.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "ts": "time",
        "is_open": "bool",
        "instrument_id": "text",
        "venue": "text",
        "side": "text",
        "note": "text",
    }
)
_TIME = pa.timestamp("us", tz="UTC")


def require_same(
    question: str, first: tuple[str, Rows], title: str, found: Mapping[str, Any], key: str
) -> None:
    """ResultsDifferError where it is not what the first one found; numeric counts as its float64,
    because not every reader has anything better.
    """
    reference, expected = first
    require_equal(
        expected,
        in_order(found, key),
        workload=question,
        way=title,
        place="its result",
        reference=reference,
    )


def in_order(columns: Mapping[str, Any], key: str) -> Rows:
    """Comparable columns, rows by their key: readers bring them in any order."""
    plain = {
        name: comparable(values, KINDS.get(name, "number")) for name, values in columns.items()
    }
    order = np.argsort(np.asarray(plain[key]), kind="stable")
    return {name: values[order] for name, values in plain.items()}


def comparable(values: Any, kind: Kind) -> Any:
    """Numbers as float64 with NaN for NULL, times as microseconds, others as objects."""
    array = _as_arrow(values, kind)
    if kind == "time":
        return np.asarray(_utc(array).cast(pa.int64()).to_numpy(zero_copy_only=False))
    if kind == "number":
        return np.asarray(_as_float(array).to_numpy(zero_copy_only=False), np.float64)
    found = np.empty(len(array), dtype=object)
    found[:] = array.to_pylist()
    return found


def _as_arrow(values: Any, kind: Kind) -> Any:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of no chunks, or too long for one
        values = pa.array(values.to_pylist(), values.type)
    if not isinstance(values, pa.Array):
        values = pa.array(values, _TIME) if kind == "time" else pa.array(values)
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values


def _utc(array: Any) -> Any:
    """Readers that give no time zone give UTC, for the session is in UTC."""
    unit = pa.timestamp("us", tz=array.type.tz) if array.type.tz else pa.timestamp("us")
    return array.cast(unit, safe=False)


def _as_float(array: Any) -> Any:
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.float64(), safe=False)
