"""Every array backend keeps the contract of ``ports.ArrayBackend``."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.engines import array_cupy, array_mlx, array_numpy, array_torch

MODULES = (array_cupy, array_mlx, array_numpy, array_torch)


@pytest.fixture(params=MODULES, ids=lambda module: module.LIBRARY)
def backend(request: pytest.FixtureRequest) -> Any:
    """The backend on an accelerator where there is one, else on its CPU device."""
    module = request.param
    opened = module.open_backend(accelerated=True) or module.open_backend(accelerated=False)
    if opened is None:
        pytest.skip(module.capability().detail)
    with opened.active():
        yield opened


def public_names(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_all_modules_define_the_same_public_functions() -> None:
    own = [
        {n for n, f in vars(m).items() if inspect.isfunction(f) and f.__module__ == m.__name__}
        for m in MODULES
    ]

    assert all({n for n in names if n[0] != "_"} == {"open_backend", "capability"} for names in own)


def test_all_backends_define_the_same_public_methods() -> None:
    classes = (
        array_cupy.CupyBackend,
        array_mlx.MlxBackend,
        array_numpy.NumpyBackend,
        array_torch.TorchBackend,
    )
    methods = [{n for n in public_names(c) if callable(vars(c)[n])} for c in classes]

    assert methods[1:] == methods[:-1]


def test_numbers_come_back_as_they_went(backend: Any) -> None:
    floats = np.array([[1.5, -2.25], [np.inf, 1e-3]])
    floats.flags.writeable = False
    back = backend.to_numpy(backend.from_numpy(floats))

    assert np.dtype(backend.float_type) == back.dtype
    np.testing.assert_allclose(back, floats, rtol=np.finfo(back.dtype).eps)


def test_integers_keep_their_type(backend: Any) -> None:
    values = np.array([1, -(2**40), 2**62])

    assert np.array_equal(values, backend.to_numpy(backend.from_numpy(values)))


def test_what_is_not_the_devices_passes_through(backend: Any) -> None:
    texts = np.array(["a", "b"], dtype=object)

    assert backend.to_numpy(texts) is texts


def test_sort_is_ascending_along_an_axis(backend: Any) -> None:
    values = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 0.0]])

    for axis in (0, 1):
        got = backend.to_numpy(backend.sort(backend.from_numpy(values), axis=axis))
        assert np.array_equal(np.sort(values, axis=axis), got)


#: What the kernels call, on numpy and on the backend alike.
CALLS = {
    "sum": lambda xp, x: xp.sum(x, axis=0),
    "mean": lambda xp, x: xp.mean(x, axis=1, keepdims=True),
    "matmul": lambda xp, x: xp.matmul(x, x.T),
    "sqrt": lambda xp, x: xp.sqrt(x * x + 1.0),
    "where": lambda xp, x: xp.where(x > 0, x, xp.zeros_like(x)),
    "full_like": lambda xp, x: xp.where(x > 0, x, xp.full_like(x, 7.0)),
    "ones_like": lambda xp, x: xp.ones_like(x) / 3.0,
    "clip": lambda xp, x: xp.clip(x, -1.0, 1.0),
    "argmax": lambda xp, x: xp.argmax(x, axis=1),
    "maximum": lambda xp, x: xp.maximum(x[1:], xp.abs(x[:-1])),
    "concatenate": lambda xp, x: xp.concatenate([x[:1], x[2:]]),
    "reshape": lambda xp, x: xp.reshape(x, (-1,))[1:4],
    "power": lambda xp, x: (x - 1.0) ** 2,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_calls_of_the_kernels_mean_the_same_as_in_numpy(backend: Any, call: Any) -> None:
    values = np.random.default_rng(1).normal(size=(4, 3))
    result = call(backend.xp, backend.from_numpy(values))
    backend.wait_ready(result)
    got = backend.to_numpy(result)
    expected = call(np, values)

    assert expected.shape == got.shape
    assert got.dtype == (backend.float_type if expected.dtype == float else expected.dtype) or (
        got.dtype.kind in "iu" and expected.dtype.kind in "iu"
    )
    exact = 1e-12 if backend.float_type == "float64" else 1e-4
    np.testing.assert_allclose(got, expected, rtol=exact, atol=exact)
