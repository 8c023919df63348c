"""The cheaper way, by what was measured before."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_gpu_bus.aggregates.rates import (
    SERVERS_MAX,
    Estimate,
    Rates,
    RatesFile,
    after_database,
    after_resident,
    choose,
)


def test_few_rows_back_from_many_are_asked_for_there() -> None:
    plan = choose(
        Rates(), Estimate(1000.0, 1, 8), Estimate(900.0, 10_000_000, 100), values=3, sql="SELECT 1"
    )

    assert plan.engine == "database"
    assert plan.nbytes == 1_000_000_000
    assert "not yet all measured" in plan.why


def test_a_slow_server_is_only_read_from() -> None:
    slow = Rates(cost_unit_s=1e-3, read_bytes_per_s=1e9, database_runs=1, resident_runs=1)

    plan = choose(slow, Estimate(5000.0, 50, 8), Estimate(900.0, 1000, 8), values=3, sql="")

    assert (plan.engine, plan.measured) == ("resident", True)
    assert plan.why.endswith("(measured on this server)")


def test_rates_follow_measurements_but_not_a_single_odd_one() -> None:
    first = after_database(Rates(), 1000.0, 0.5)
    odd = after_database(first, 1000.0, 500.0)

    assert first.cost_unit_s == pytest.approx(5e-4)
    assert odd.cost_unit_s == pytest.approx(5e-4 + 0.3 * (5e-3 - 5e-4))
    assert after_database(first, 1000.0, 1e-5) == first
    assert after_resident(Rates(), 10**9, 2.0, 10**8, 0.5).read_bytes_per_s == 5e8


def test_rates_are_kept_by_server_and_bounded(tmp_path: Path) -> None:
    file = RatesFile(tmp_path / "cache" / "rates.json")
    for number in range(SERVERS_MAX + 5):
        file.write(f"server {number}", Rates(cost_unit_s=1.0 + number))

    assert file.read(f"server {SERVERS_MAX}").cost_unit_s == 1.0 + SERVERS_MAX
    assert file.read("server 0") == Rates()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["rates.json"]


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "rates.json").write_text('{"a": {"cost_unit_s": -1}}')

    assert RatesFile(tmp_path / "rates.json").read("a") == Rates()
