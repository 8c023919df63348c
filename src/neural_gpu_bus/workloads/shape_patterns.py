"""Shapes in closing prices: each window of 32 closes is compared with a bank of named shapes.

Window and shape are z-normalised, and the score is their correlation, -1 to 1 (the matrix
profile's measure: Mueen et al. 2010, Yeh et al. 2016 section II). The best shape of a window is the
one with the highest score, the first in ``SHAPES`` of equals. A window whose closes are all equal
has no z-normal form: it is ``flat``, with score 0 for all shapes. Input (n_bars,), output
(n_bars - 31,) rows; NaN closes are refused.

This bank is a first, hand-made network without training: a fixed linear layer over normalised
windows. It describes; it does not predict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from neural_gpu_bus.workloads.columns import Input
from neural_gpu_bus.workloads.workload import (
    Kernels,
    NeuralModel,
    Workload,
    numeric_table,
    stamps_of,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import ArrayBackend, Columns
    from neural_gpu_bus.workloads.workload import Array, Arrays

    Floats = npt.NDArray[np.float64]

#: Closes in a window.
WINDOW = 32

#: Corners of each shape: (place from 0 to 1, height), joined by straight lines.
CORNERS: Mapping[str, Sequence[tuple[float, float]]] = {
    "rise": ((0, 0), (1, 1)),
    "fall": ((0, 1), (1, 0)),
    "peak": ((0, 0), (0.5, 1), (1, 0)),
    "trough": ((0, 1), (0.5, 0), (1, 1)),
    "double_top": ((0, 0), (0.25, 1), (0.5, 0.4), (0.75, 1), (1, 0)),
    "double_bottom": ((0, 1), (0.25, 0), (0.5, 0.6), (0.75, 0), (1, 1)),
    "breakout": ((0, 0), (0.7, 0), (1, 1)),
    "breakdown": ((0, 1), (0.7, 1), (1, 0)),
}
SHAPES = tuple(CORNERS)

#: What a window without any movement is called.
FLAT = "flat"

#: Windows that go through the network at once: 65,536 x 32 float64 are 16 MiB.
WINDOWS_PER_BATCH = 65_536


class ShapePatternsParams(msgspec.Struct, frozen=True, kw_only=True):
    """``patterns.shape`` has no parameters yet: windows and shapes are the model's."""


@cache
def templates() -> Floats:
    """Shapes (32, 8), each column with mean 0 and length 1; read-only."""
    place = np.linspace(0.0, 1.0, WINDOW)
    columns = []
    for corners in CORNERS.values():
        height = np.interp(place, [at for at, _ in corners], [up for _, up in corners])
        centred = height - height.mean()
        columns.append(centred / np.sqrt((centred**2).sum()))
    bank = np.ascontiguousarray(np.stack(columns, axis=1))
    bank.flags.writeable = False
    return bank


def prepare(
    inputs: Mapping[str, Columns],
    params: ShapePatternsParams,  # noqa: ARG001
) -> dict[str, Array]:
    """``ts`` of each window's last bar, and ``close``."""
    bars = Input(inputs, "bars", rows_min=WINDOW)
    stamps = bars.stamps("ts", strictly=True)
    stamps["ts"] = stamps["ts"][WINDOW - 1 :]
    return {**stamps, "close": bars.floats("close")}


def cpu(arrays: Arrays, params: ShapePatternsParams) -> dict[str, Array]:  # noqa: ARG001
    """One pass: eight correlations of a window side by side."""
    from neural_gpu_bus.workloads import shape_patterns_compiled as compiled

    close = arrays["close"]
    windows = len(close) - WINDOW + 1
    scores, best = np.empty((windows, len(SHAPES))), np.empty(windows, dtype=np.int64)
    compiled.correlate(close, templates(), scores, best)
    return {**stamps_of(arrays), "scores": scores, "best": best}


def array(backend: ArrayBackend, arrays: Arrays, params: ShapePatternsParams) -> dict[str, Any]:  # noqa: ARG001
    """The same with windows laid out as a matrix; closes relative to their window's first."""
    xp = backend.xp
    close = arrays["close"]
    windows = len(close) - WINDOW + 1
    framed = np.lib.stride_tricks.sliding_window_view(close, WINDOW)
    moved = backend.from_numpy(np.ascontiguousarray(framed - framed[:, :1]))
    centred = moved - xp.mean(moved, axis=1, keepdims=True)
    length = xp.sqrt(xp.sum(centred * centred, axis=1, keepdims=True))
    moving = length > 0
    product = xp.matmul(centred, backend.from_numpy(templates()))
    scores = product / xp.where(moving, length, xp.ones_like(length))
    best = xp.argmax(scores, axis=1)
    flat = xp.reshape(length, (windows,)) == 0
    return {
        **stamps_of(arrays),
        "scores": scores,
        "best": xp.where(flat, xp.full_like(best, len(SHAPES)), best),
    }


def tensors(arrays: Arrays) -> Iterator[dict[str, Array]]:
    """Stretches of closes for the network, each overlapping the next by a window less one."""
    close = arrays["close"]
    for start in range(0, len(close) - WINDOW + 1, WINDOWS_PER_BATCH):
        yield {"close": close[start : start + WINDOWS_PER_BATCH + WINDOW - 1]}


def outputs_of(arrays: Arrays, batches: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The network's tensors as the other kernels' outputs."""
    return {
        **stamps_of(arrays),
        "scores": np.concatenate([batch["scores"] for batch in batches]).astype(np.float64),
        "best": np.concatenate([batch["best"] for batch in batches]),
    }


def table(outputs: Mapping[str, Array], params: ShapePatternsParams) -> pa.Table:  # noqa: ARG001
    """One row a window: its end, the best shape, its score, and every shape's score."""
    import pyarrow as pa

    scores, best = outputs["scores"], np.asarray(outputs["best"])
    names = pa.array([*SHAPES, FLAT], type=pa.large_string())
    columns = {
        **stamps_of(outputs),
        "score": np.where(best < len(SHAPES), scores.max(axis=1), 0.0),
        **{shape: np.ascontiguousarray(scores[:, place]) for place, shape in enumerate(SHAPES)},
    }
    whole = numeric_table(columns, ("ts", "score", *SHAPES))
    return whole.add_column(1, "shape", names.take(pa.array(best)))


def cost(arrays: Arrays, params: ShapePatternsParams) -> float:  # noqa: ARG001
    """Two operations for each pair of close and shape, and the normalising."""
    return 2.0 * len(arrays["close"]) * WINDOW * (len(SHAPES) + 2)


WORKLOAD = Workload(
    name="patterns.shape",
    summary="Best of eight named shapes, by correlation, for each window of 32 closes.",
    params_type=ShapePatternsParams,
    inputs={"bars": {"ts": "time", "close": "float"}},
    prepare=prepare,
    kernels=Kernels(
        cpu=cpu,
        array=array,
        neural=NeuralModel(model="shape_patterns.onnx", tensors=tensors, outputs=outputs_of),
    ),
    table=table,
    cost=cost,
)
