"""Make the networks in ``engines/models``, the same bytes every time.

    python tools/make_models.py

``shape_patterns.onnx``: closes (float64, any number from 32 on) to ``scores`` (windows, 8;
float32) and ``best`` (windows; int64, 8 for a flat window). Windows are cut and moved to their
first close in float64, so that float32 and smaller types lose nothing to the price level; the rest
is float32.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from neural_gpu_bus.workloads.shape_patterns import SHAPES, WINDOW, templates

FOLDER = Path(__file__).parents[1] / "src" / "neural_gpu_bus" / "engines" / "models"

#: Old enough for every onnxruntime that the package allows (1.20 reads IR 10 and opset 21).
OPSET, IR_VERSION = 17, 8


def shape_patterns() -> bytes:
    """The network of ``patterns.shape``."""
    nodes = [*_windows(), *_normalised(), *_scored()]
    graph = helper.make_graph(
        nodes,
        "shape_patterns",
        [helper.make_tensor_value_info("close", TensorProto.DOUBLE, ["closes"])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["windows", len(SHAPES)]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["windows"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in _constants().items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="neural-gpu-bus"
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _constants() -> dict[str, Any]:
    return {
        "zero_index": np.array(0, dtype=np.int64),
        "one_index": np.array(1, dtype=np.int64),
        "window_less_one": np.array([WINDOW - 1], dtype=np.int64),
        "offsets": np.arange(WINDOW, dtype=np.int64)[None, :],
        "first_index": np.array([0], dtype=np.int64),
        "second_axis": np.array([1], dtype=np.int64),
        "no_axes": np.array([], dtype=np.int64),
        "zero": np.array(0.0, dtype=np.float32),
        "one": np.array(1.0, dtype=np.float32),
        "bank": templates().astype(np.float32),
        "flat_index": np.array(len(SHAPES), dtype=np.int64),
    }


def _windows() -> list[Any]:
    """Closes to (windows, 32) float32, each window relative to its first close."""
    return [
        helper.make_node("Shape", ["close"], ["closes_list"]),
        helper.make_node("Sub", ["closes_list", "window_less_one"], ["windows_list"]),
        helper.make_node("Reshape", ["windows_list", "no_axes"], ["windows"]),
        helper.make_node("Range", ["zero_index", "windows", "one_index"], ["starts_row"]),
        helper.make_node("Unsqueeze", ["starts_row", "second_axis"], ["starts"]),
        helper.make_node("Add", ["starts", "offsets"], ["places"]),
        helper.make_node("Gather", ["close", "places"], ["framed"]),
        helper.make_node("Gather", ["framed", "first_index"], ["first"], axis=1),
        helper.make_node("Sub", ["framed", "first"], ["moved_wide"]),
        helper.make_node("Cast", ["moved_wide"], ["moved"], to=TensorProto.FLOAT),
    ]


def _normalised() -> list[Any]:
    """Windows less their mean, and their lengths."""
    return [
        helper.make_node("ReduceMean", ["moved"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["moved", "mean"], ["centred"]),
        helper.make_node("ReduceSumSquare", ["centred"], ["squares"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["squares", "zero"], ["moving"]),
        helper.make_node("Sqrt", ["squares"], ["length"]),
        helper.make_node("Where", ["moving", "length", "one"], ["divisor"]),
    ]


def _scored() -> list[Any]:
    """Correlations with the bank, and the place of the best."""
    return [
        helper.make_node("MatMul", ["centred", "bank"], ["products"]),
        helper.make_node("Div", ["products", "divisor"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["highest"], axis=1, keepdims=0),
        helper.make_node("Squeeze", ["moving", "second_axis"], ["moving_row"]),
        helper.make_node("Where", ["moving_row", "highest", "flat_index"], ["best"]),
    ]


def main() -> int:
    """Write every model; print name and size."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "shape_patterns.onnx"
    path.write_bytes(shape_patterns())
    print(f"{path.name}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
