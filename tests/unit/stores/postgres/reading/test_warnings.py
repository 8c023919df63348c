"""The same warning from many threads is said once a minute."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.reading.table.table_read import WARN_S, WARNINGS_MAX, WarnedOf


def test_a_warning_is_said_again_after_a_while() -> None:
    warned = WarnedOf()

    assert warned.is_new(("bars", "a view"), 0.0)
    assert not warned.is_new(("bars", "a view"), WARN_S - 1)
    assert warned.is_new(("bars", "row security"), WARN_S - 1)
    assert warned.is_new(("bars", "a view"), WARN_S)


def test_what_was_said_has_a_limit() -> None:
    warned = WarnedOf()
    for number in range(3 * WARNINGS_MAX):
        assert warned.is_new((str(number), ""), 0.0)

    assert len(warned._said_s) <= WARNINGS_MAX
