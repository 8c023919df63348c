"""Results: column names and types, time zones, and what importing the workloads loads."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine
from plain_columns import PlainColumns

CLOSE = np.arange(40.0)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.date32(), pa.int64()], ids=str
)
@pytest.mark.parametrize("name", ["indicators.technical", "patterns.shape", "vpin.bars"])
def test_times_keep_their_type_and_zone(name: str, kind: pa.DataType) -> None:
    ticks = pa.array(range(40), type=pa.int32() if kind == pa.date32() else pa.int64())
    bars = PlainColumns(open=CLOSE, high=CLOSE, low=CLOSE, close=CLOSE, volume=np.ones(40))
    bars._table = bars._table.append_column("ts", ticks.cast(kind))
    bars._arrays["ts"] = bars._table["ts"].to_numpy()
    table = compute(CpuEngine(), name, {"bars": bars})

    assert table.schema.field("ts").type == kind
    assert table["ts"][-1] == bars.arrow()["ts"][-1]


def test_columns_are_the_documented_ones() -> None:
    bars = PlainColumns(ts=np.arange(40), open=CLOSE, close=CLOSE, volume=np.ones(40))
    schema = compute(CpuEngine(), "vpin.bars", {"bars": bars}).schema

    assert schema.names == ["bucket", "ts", "buy_volume", "sell_volume", "vpin"]
    assert [str(kind) for kind in schema.types] == ["int64", "int64", "double", "double", "double"]


def test_importing_workloads_and_engines_loads_no_compiler_and_no_device_library() -> None:
    program = (
        "import sys, neural_gpu_bus.workloads, neural_gpu_bus.engines as engines; "
        "engines.build_planner(); "
        "print([name for name in ('numba', 'onnxruntime', 'mlx', 'torch', 'cupy', 'pyarrow') "
        "if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
