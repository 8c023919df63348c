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


def test_rows_are_counted_there() -> None:
    """A slow server too: it would have to send them."""
    slow = Rates(cost_unit_s=1e-3, read_bytes_per_s=1e9, resident_unmeasured_s=99.0)

    plan = choose(slow, Estimate(5000.0, 1, 8), Estimate(900.0, 1000, 8), values=0, sql="")

    assert plan.engine == "database"
    assert "counted by PostgreSQL" in plan.why


def test_a_slow_server_is_only_read_from() -> None:
    slow = Rates(cost_unit_s=1e-3, read_bytes_per_s=1e9, database_runs=1, resident_runs=1)

    plan = choose(slow, Estimate(5000.0, 50, 8), Estimate(900.0, 1000, 8), values=3, sql="")

    assert (plan.engine, plan.measured) == ("resident", True)
    assert plan.why.endswith("(measured on this server)")


def test_rates_follow_measurements_but_not_a_single_odd_one() -> None:
    usual = Rates().cost_unit_s
    first = after_database(Rates(), 1000.0, 2000 * usual)
    odd = after_database(first, 1000.0, 1e6)

    assert first.cost_unit_s == pytest.approx(2 * usual)
    assert odd.cost_unit_s == pytest.approx(2 * usual * 10**0.5)
    assert after_database(first, 1000.0, 1e-5).cost_unit_s == first.cost_unit_s
    assert after_resident(Rates(), 10**9, 5.0, 10**8, 0.5).read_bytes_per_s == pytest.approx(2e8)


def test_a_first_measurement_that_is_far_off_is_not_believed() -> None:
    """A machine that compiled meanwhile: 50 s for what takes 50 ms."""
    compiled = after_resident(Rates(), 8_000_000, 50.0, 10**6, 50.0)

    assert compiled.read_bytes_per_s == pytest.approx(Rates().read_bytes_per_s / 10)
    assert compiled.values_per_s == pytest.approx(Rates().values_per_s / 10)


def test_the_way_that_lost_is_tried_again_and_recovers() -> None:
    """Truth: here in 20 ms, there in 60 ms; the first measurement here was a bad one."""
    rates = after_resident(Rates(), 8_000_000, 50.0, 10**6, 50.0)
    asked, read = Estimate(5000.0, 50, 8), Estimate(1000.0, 10**6, 8)
    taken = []
    for _ in range(300):
        plan = choose(rates, asked, read, values=1, sql="")
        taken.append(plan.engine)
        if plan.engine == "resident":
            rates = after_resident(rates, plan.nbytes, 0.015, 10**6, 0.005)
        else:
            rates = after_database(rates, 5000.0, 0.060)

    assert taken[0] == "database"
    assert taken[-100:].count("resident") > 90
    tries = taken.index("resident")
    assert 10 < tries < 250


def test_trying_again_costs_a_twentieth_and_no_large_read() -> None:
    """Truth: there in 10 ms, here in 100 ms."""
    rates = Rates(cost_unit_s=1e-5, read_bytes_per_s=1e8, database_runs=9, resident_runs=9)
    spent = {"database": 0.0, "resident": 0.0}
    for _ in range(2000):
        plan = choose(rates, Estimate(1000.0, 5, 8), Estimate(500.0, 10**6, 8), values=2, sql="")
        spent[plan.engine] += 0.1 if plan.engine == "resident" else 0.01
        if plan.engine == "resident":
            assert "tried again" in plan.why
            rates = after_resident(rates, plan.nbytes, 0.08, 2 * 10**6, 0.02)
        else:
            rates = after_database(rates, 1000.0, 0.01)
    large = choose(rates, Estimate(1000.0, 5, 8), Estimate(500.0, 10**8, 8), values=2, sql="")

    assert 0.0 < spent["resident"] < 0.07 * spent["database"]
    assert large.engine == "database"


def test_a_plan_reads_well() -> None:
    rates = Rates(cost_unit_s=1e-5, read_bytes_per_s=1e8, database_runs=1, resident_runs=1)

    plan = choose(
        rates, Estimate(1234.5, 5, 8), Estimate(500.0, 10**6, 8), values=2, sql="SELECT 1"
    )

    assert plan.why == (
        "asking PostgreSQL is estimated at 12 ms, folding the rows here at 90 ms "
        "(measured on this server)"
    )
    assert str(plan).splitlines() == [
        "way        asking PostgreSQL",
        f"why        {plan.why}",
        "database   12 ms, estimated",
        "resident   90 ms, estimated",
        "rows       1,000,000, 8.0 MB",
        "statement  SELECT 1",
    ]


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
