"""Every engine keeps the contract of ``ports.Engine``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from every_engine import ENGINES, engine_for
from neural_gpu_bus.engines import CpuEngine, GpuEngine, NeuralEngine
from neural_gpu_bus.engines.choice import ENGINE_NAMES
from neural_gpu_bus.errors import EngineUnavailableError
from neural_gpu_bus.workloads import WORKLOADS, check_params
from plain_columns import PlainColumns

COUNT = 200


def inputs_of(name: str) -> dict[str, PlainColumns]:
    """Something that every workload can be run on."""
    rng = np.random.default_rng(2)
    ts = np.arange(COUNT).astype("datetime64[s]").astype("datetime64[us]")
    close = 100 + rng.normal(size=COUNT).cumsum()
    bars = PlainColumns(
        ts=ts,
        open=close - 0.5,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=np.full(COUNT, 2.0),
    )
    trades = PlainColumns(ts=ts, price=close, size=np.full(COUNT, 3.0))
    prices = PlainColumns(
        date=ts.astype("datetime64[D]") + np.arange(COUNT), asset=["A"] * COUNT, price=close
    )
    positions = PlainColumns(desk=["d"], asset=["A"], quantity=[5.0])
    if name == "risk.portfolio":
        return {"prices": prices, "positions": positions}
    if name == "factor.correlation":
        return {"factors": PlainColumns(a=close, b=rng.normal(size=COUNT))}
    return {"trades": trades} if name == "vpin.trades" else {"bars": bars}


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Any:
    """Each engine and backend that can run here."""
    return engine_for(request.param)


def test_says_who_it_is(engine: Any) -> None:
    can, reason = engine.available()

    assert can is True
    assert reason
    assert engine.name in ENGINE_NAMES
    assert engine.backend()
    assert engine.float_type() in ("float32", "float64")


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_runs_what_it_supports_and_leaves_its_inputs_alone(engine: Any, name: str) -> None:
    workload = WORKLOADS[name]
    if not engine.supports(workload):
        assert engine.name != "cpu", "the cpu engine runs everything"
        return
    params = check_params(workload, {})
    arrays = workload.prepare(inputs_of(name), params)
    for values in arrays.values():
        values.flags.writeable = False
    outputs = engine.run(workload, arrays, params)

    assert all(isinstance(values, np.ndarray) for values in outputs.values())
    assert workload.table(outputs, params).num_rows > 0
    assert workload.cost(arrays, params) > 0


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (GpuEngine("cupy"), "array backend cupy cannot be used here"),
        (NeuralEngine("CoreMLExecutionProvider"), "has no CoreMLExecutionProvider"),
    ],
    ids=["gpu", "neural"],
)
def test_what_is_not_here_is_a_reason_and_an_error(engine: Any, reason: str) -> None:
    if engine.available()[0]:
        pytest.skip("it is here")
    workload = WORKLOADS["patterns.shape"]
    params = check_params(workload, {})
    arrays = workload.prepare(inputs_of("patterns.shape"), params)

    assert reason in engine.available()[1]
    with pytest.raises(EngineUnavailableError, match=f"engine '{engine.name}' cannot run here"):
        engine.run(workload, arrays, params)


def test_kernels_run_side_by_side() -> None:
    """Compiled kernels hold no state: threads get what one thread gets."""
    from concurrent.futures import ThreadPoolExecutor

    workload = WORKLOADS["indicators.technical"]
    params = check_params(workload, {})
    arrays = workload.prepare(inputs_of("indicators.technical"), params)
    alone = workload.table(CpuEngine().run(workload, arrays, params), params)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(CpuEngine().run, workload, arrays, params) for _ in range(8)]

    for run in runs:
        assert run.result()["rsi"].tobytes() == alone["rsi"].to_numpy().tobytes()
