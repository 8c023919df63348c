"""The models in the package are those that the tool makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

import neural_gpu_bus

REPOSITORY = Path(__file__).parents[3]
MODELS = Path(neural_gpu_bus.__file__).parent / "engines" / "models"


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_models", REPOSITORY / "tools/make_models.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool_makes_what_is_committed() -> None:
    """Bytes may change with onnx's version, the network may not."""
    import onnx

    made = onnx.load_model_from_string(tool().shape_patterns())
    committed = onnx.load(MODELS / "shape_patterns.onnx")

    assert list(made.graph.node) == list(committed.graph.node)
    assert list(made.opset_import) == list(committed.opset_import)
    for mine, theirs in zip(made.graph.initializer, committed.graph.initializer, strict=True):
        mine_values, their_values = (onnx.numpy_helper.to_array(t) for t in (mine, theirs))
        # The last bit of a template may follow the processor's square root of a sum.
        np.testing.assert_allclose(mine_values, their_values, rtol=1e-6)


def test_the_tool_is_deterministic() -> None:
    made = tool()

    assert made.shape_patterns() == made.shape_patterns()


def test_no_other_file_lies_beside_them() -> None:
    assert {path.name for path in MODELS.iterdir() if path.suffix != ".pyc"} - {"__pycache__"} == {
        "__init__.py",
        "shape_patterns.onnx",
    }
