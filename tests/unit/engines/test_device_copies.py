"""Device copies: a block's bytes are sent once, and never served for another block or version.

The libraries' CPU devices stand in for a card here: ``unified`` is set to False on them.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.engines import (
    DeviceCopies,
    GpuEngine,
    array_cupy,
    array_mlx,
    array_numpy,
    array_torch,
)
from neural_gpu_bus.memory.files.mapping import FileMapping
from neural_gpu_bus.memory.frames.origin import origin
from neural_gpu_bus.ports import ArrayBackend
from neural_gpu_bus.workloads import check_params, find

MANY = 1 << 20


class Card:
    """numpy as a device with a memory of its own, which counts what it is sent."""

    def __new__(cls) -> Any:
        card: Any = array_numpy.NumpyBackend()
        card.unified = False
        card.sent = []
        card.from_numpy = lambda array: card.sent.append(array) or array.copy()
        return card


@pytest.fixture(params=["numpy", "torch"])
def card(request: pytest.FixtureRequest) -> Any:
    if request.param == "numpy":
        return Card()
    opened: Any = array_torch.open_backend(accelerated=False)
    if opened is None:
        pytest.skip("torch is not installed")
    opened.unified = False
    opened.sent = []
    send = opened.from_numpy
    opened.from_numpy = lambda array: opened.sent.append(array) or send(array)
    return opened


def sealed(folder: Path, block: str, values: Any) -> Any:
    """Those values as a view of a block of that name, mapped anew."""
    path = folder / block
    path.write_bytes(values.tobytes())
    file = os.open(path, os.O_RDONLY)
    try:
        return FileMapping(file, values.nbytes, block=block).array().view(values.dtype)
    finally:
        os.close(file)


def blocks_of(places: dict[int, tuple[str, int]]) -> Any:
    """An origin that knows arrays by their identity."""
    return lambda array: places.get(id(array))


def test_every_backend_says_whose_memory_it_computes_in() -> None:
    assert array_numpy.NumpyBackend.unified
    assert array_mlx.MlxBackend.unified
    assert not array_cupy.CupyBackend.unified


@pytest.mark.parametrize(("device", "unified"), [("cuda", False), ("mps", True), ("cpu", True)])
def test_torch_shares_memory_but_on_cuda(
    monkeypatch: pytest.MonkeyPatch, device: str, unified: bool
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", SimpleNamespace())

    assert array_torch.TorchBackend(device).unified is unified


def test_the_same_bytes_are_sent_once(tmp_path: Path, card: Any) -> None:
    copies = DeviceCopies(MANY, origin)
    backend = copies.behind(card)

    first = backend.from_numpy(sealed(tmp_path, "a", np.arange(100.0)))
    again = backend.from_numpy(sealed(tmp_path, "a", np.arange(100.0)))
    other = backend.from_numpy(sealed(tmp_path, "b", np.arange(100)))

    assert again is first
    assert len(card.sent) == 2
    np.testing.assert_array_equal(backend.to_numpy(other), np.arange(100))
    told = copies.statistics()
    assert (told.hits, told.misses, told.copies, told.bytes_used) == (1, 2, 2, 1600)


def test_parts_and_shapes_of_a_column_are_copies_of_their_own(tmp_path: Path, card: Any) -> None:
    close = sealed(tmp_path, "a", np.arange(100.0))
    backend = DeviceCopies(MANY, origin).behind(card)

    for part in (
        close,
        close[10:],
        close[:90],
        close[::2],
        close.reshape(10, 10),
        close.view("i8"),
    ):
        for _ in range(2):
            np.testing.assert_array_equal(backend.to_numpy(backend.from_numpy(part)), part)
    assert len(card.sent) == 6


def test_arrays_of_no_block_are_never_kept(tmp_path: Path, card: Any) -> None:
    copies = DeviceCopies(MANY, origin)
    own = np.arange(10.0)
    for _ in range(3):
        copies.behind(card).from_numpy(own)
        copies.behind(card).from_numpy(sealed(tmp_path, "a", own) + 1)
        own += 1

    assert len(card.sent) == 6
    assert copies.statistics().copies == copies.statistics().misses == 0


def test_where_memory_is_unified_nothing_is_kept() -> None:
    plain = array_numpy.NumpyBackend()

    assert DeviceCopies(MANY, origin).behind(plain) is plain


def test_the_least_recently_used_goes_first() -> None:
    arrays = [np.full(10, float(number)) for number in range(4)]
    places = {id(array): (f"block{number}", 0) for number, array in enumerate(arrays)}
    card = Card()
    copies = DeviceCopies(3 * 80, blocks_of(places))
    backend = copies.behind(card)
    for number in (0, 1, 2, 0, 3, 0, 2, 1):
        backend.from_numpy(arrays[number])

    assert [int(array[0]) for array in card.sent] == [0, 1, 2, 3, 1]
    told = copies.statistics()
    assert (told.evictions, told.copies, told.bytes_used) == (2, 3, 240)


def test_what_is_larger_than_the_budget_or_empty_is_not_kept() -> None:
    large, empty = np.zeros(11), np.zeros(0)
    places = {id(large): ("block", 0), id(empty): ("block", 0)}
    copies = DeviceCopies(80, blocks_of(places))
    for array in (large, empty):
        assert copies.behind(Card()).from_numpy(array).shape == array.shape

    assert copies.statistics().copies == 0


def test_copies_of_blocks_that_are_gone_go_at_the_next_miss() -> None:
    one, two = np.zeros(10), np.ones(10)
    places = {id(one): ("gone", 0), id(two): ("here", 0)}
    living = {"gone", "here"}
    copies = DeviceCopies(MANY, blocks_of(places), lives=living.__contains__)
    backend = copies.behind(Card())
    backend.from_numpy(one)
    living.remove("gone")
    backend.from_numpy(two)

    told = copies.statistics()
    assert (told.copies, told.bytes_used, told.evictions) == (1, 80, 1)


def test_a_full_device_is_emptied_and_tried_once_more() -> None:
    one, two = np.zeros(10), np.ones(10)
    places = {id(one): ("one", 0), id(two): ("two", 0)}
    card = Card()
    copies = DeviceCopies(MANY, blocks_of(places))
    backend = copies.behind(card)
    backend.from_numpy(one)
    send = card.from_numpy

    def full(array: Any) -> Any:
        if copies.statistics().copies:
            raise MemoryError("out of memory on the device")
        return send(array)

    card.from_numpy = full

    np.testing.assert_array_equal(backend.from_numpy(two), two)
    assert copies.statistics().evictions == 1


def test_an_error_that_is_not_for_want_of_room_is_raised() -> None:
    card = Card()

    def broken(array: Any) -> Any:
        raise RuntimeError("no such type on the device")

    card.from_numpy = broken
    one = np.zeros(10)
    backend = DeviceCopies(MANY, blocks_of({id(one): ("one", 0)})).behind(card)

    with pytest.raises(RuntimeError, match="no such type on the device"):
        backend.from_numpy(one)


def _scaled(backend: ArrayBackend, arrays: Any, params: Any) -> dict[str, Any]:
    return {"y": backend.from_numpy(arrays["x"]) * params}


def test_the_engines_kernels_send_through_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, card: Any
) -> None:
    module = SimpleNamespace(LIBRARY="card", open_backend=lambda *, accelerated: card)
    monkeypatch.setattr("neural_gpu_bus.engines.gpu.BACKENDS", (module,))
    engine = GpuEngine(copies=DeviceCopies(MANY, origin))
    workload: Any = SimpleNamespace(name="scale", kernels=SimpleNamespace(array=_scaled))
    runs = [
        engine.run(workload, {"x": sealed(tmp_path, "a", np.arange(5.0))}, factor)["y"]
        for factor in (2.0, 3.0)
    ]

    np.testing.assert_array_equal(runs, [np.arange(5.0) * 2, np.arange(5.0) * 3])
    assert len(card.sent) == 1
    assert engine.backend() == f"{card.name}:cpu:float64"


@pytest.mark.parametrize("name", ["indicators.technical", "factor.correlation", "risk.portfolio"])
def test_kernels_leave_the_copies_as_they_were(
    monkeypatch: pytest.MonkeyPatch, card: Any, name: str
) -> None:
    """A copy serves many jobs, so a kernel that wrote into one would spoil the next."""
    module = SimpleNamespace(LIBRARY="card", open_backend=lambda *, accelerated: card)
    monkeypatch.setattr("neural_gpu_bus.engines.gpu.BACKENDS", (module,))
    held: list[Any] = []
    everything = lambda array: ("block", len(held)) if held.append(array) is None else None  # noqa: E731
    copies = DeviceCopies(MANY, everything)
    engine = GpuEngine(copies=copies)
    workload = find(name)
    rng = np.random.default_rng(1)
    price = 100 + rng.normal(size=(60, 4)).cumsum(axis=0)
    arrays = {
        "ts": np.arange(60), "ts_zone": np.array([""]),
        "close": price[:, 0], "high": price[:, 0] + 1, "low": price[:, 0] - 1,
        "values": price.T.copy(), "factor": np.array(list("abcd")),
        "price": price, "exposure": np.ones((4, 2)), "desk": np.array(["a", "all"]),
        "dates_left_out": np.array([0]),
    }  # fmt: skip
    engine.run(workload, arrays, check_params(workload, {}))
    sent = [array.copy() for array in held]
    kept = list(copies._copies.values())

    assert len(kept) == len(sent) > 0
    for before, after in zip(sent, kept, strict=True):
        np.testing.assert_array_equal(before, card.to_numpy(after))
