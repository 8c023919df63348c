"""The rivals' maths on made-up data: pandas and the libraries give the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from made_up_market import bars, factors, prices, trades
from neural_gpu_bus.benchmarks import library_maths, traditional_maths
from neural_gpu_bus.benchmarks.data.positions import make_positions
from neural_gpu_bus.benchmarks.equality import require_equal
from neural_gpu_bus.benchmarks.tasks import BOLLINGER_TOLERANCE
from neural_gpu_bus.benchmarks.ways import sorted_rows

SEED = 20_130_901
BUCKETS = {"bucket_volume": 333.0, "window": 20}


def inputs(workload: str) -> tuple[dict[str, pa.Table], dict[str, float], str]:
    random = np.random.default_rng(SEED)
    if workload == "risk.portfolio":
        made = prices(random)
        held = make_positions(sorted(set(made["asset"].to_pylist())), SEED)
        return {"prices": made, "positions": held}, {"confidence": 0.9}, "desk"
    if workload == "factor.correlation":
        return {"factors": factors(random)}, {}, "factor"
    if workload == "vpin.trades":
        return {"trades": trades(random)}, BUCKETS, "bucket"
    if workload == "vpin.bars":
        return {"bars": bars(random)}, BUCKETS, "bucket"
    return {"bars": bars(random)}, {}, "ts"


@pytest.mark.parametrize("workload", sorted(traditional_maths.COMPUTE))
def test_pandas_and_libraries_agree(workload: str) -> None:
    tables, params, key = inputs(workload)
    frames = {name: table.to_pandas() for name, table in tables.items()}

    plain: Any = traditional_maths.COMPUTE[workload](**frames, **params)
    fast = library_maths.COMPUTE[workload](**tables, **params)

    rows = require_equal(
        sorted_rows({name: plain[name].tolist() for name in plain}, key),
        sorted_rows({name: fast[name] for name in fast.column_names}, key),
        workload=workload,
        way="library",
        place="memory",
        reference="pandas",
        tolerances=dict.fromkeys(("bollinger_upper", "bollinger_lower"), BOLLINGER_TOLERANCE),
    )
    assert rows > 0


def test_given_sides_replace_the_tick_rule() -> None:
    made = trades(np.random.default_rng(SEED), rows=2000)
    sided = made.append_column("aggressor_side", pa.array(["BUY", "SELL"] * 1000))

    ruled = library_maths.vpin_trades(made, **BUCKETS)
    given = library_maths.vpin_trades(sided, **BUCKETS)
    plain = traditional_maths.vpin_trades(sided.to_pandas(), **BUCKETS)

    assert not np.allclose(ruled["buy_volume"].to_numpy(), given["buy_volume"].to_numpy())
    np.testing.assert_allclose(plain["buy_volume"], given["buy_volume"].to_numpy(), rtol=1e-9)


def test_both_know_the_same_workloads() -> None:
    assert set(traditional_maths.COMPUTE) == set(library_maths.COMPUTE)
