"""patterns.shape: every engine equals the plain twin."""

from __future__ import annotations

import numpy as np
import pytest

from every_engine import compute, engine_for, every_engine_of
from naive import shape_scores
from neural_gpu_bus.workloads import shape_patterns
from neural_gpu_bus.workloads.shape_patterns import SHAPES, WINDOW, templates
from plain_columns import PlainColumns

BANK = {name: templates()[:, place].tolist() for place, name in enumerate(SHAPES)}


def closes(kind: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    if kind == "fx":  # a pip is a hundred-thousandth of the price, and float32 has seven digits
        return 1.23456 + 1e-5 * rng.integers(-1, 2, count).cumsum()
    walk = 1600 + 0.25 * rng.integers(-1, 2, count).cumsum()
    walk[50:120] = walk[50:51]
    return walk


@every_engine_of("patterns.shape")
@pytest.mark.parametrize(("kind", "count"), [("grid", 300), ("fx", 300), ("grid", WINDOW)])
def test_every_engine_equals_the_plain_twin(engine_name: str, kind: str, count: int) -> None:
    engine = engine_for(engine_name)
    exact = 1e-5 if engine.name == "neural" or "float32" in engine.backend() else 1e-12
    close = closes(kind, count)
    ts = np.arange(count).astype("datetime64[s]").astype("datetime64[us]")
    table = compute(engine, "patterns.shape", {"bars": PlainColumns(ts=ts, close=close)})
    expected = shape_scores(close.tolist(), BANK)

    assert np.array_equal(ts[WINDOW - 1 :], table["ts"].to_numpy())
    for row, (best, scores) in zip(table.to_pylist(), expected, strict=True):
        for name, score in scores.items():
            assert score == pytest.approx(row[name], abs=exact * 100 if kind == "fx" else exact)
        ranked = sorted(scores.values(), reverse=True)
        if best == "flat" or ranked[0] - ranked[1] > 1e-6:
            assert best == row["shape"]
        assert row["score"] == (0.0 if best == "flat" else row[row["shape"]])


@every_engine_of("patterns.shape")
def test_batches_join_without_a_seam(engine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees 64 windows at a time here, and the rows stay those of one run."""
    engine = engine_for(engine_name)
    close = closes("grid", 300)
    frame = {"bars": PlainColumns(ts=np.arange(300).astype("datetime64[us]"), close=close)}
    whole = compute(engine, "patterns.shape", frame)
    monkeypatch.setattr(shape_patterns, "WINDOWS_PER_BATCH", 64)

    assert compute(engine, "patterns.shape", frame).equals(whole)
