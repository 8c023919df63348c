"""A mistyped name's hint."""

from __future__ import annotations

from neural_gpu_bus.did_you_mean import did_you_mean, nearest


def test_the_nearest_name_is_asked_for() -> None:
    assert did_you_mean("reed", ["write", "redis", "read"], "use one") == "did you mean 'read'?"


def test_nothing_near_gives_the_other_hint() -> None:
    assert did_you_mean("zzz", ["write", "read"], "use one") == "use one"
    assert nearest("read", []) is None
