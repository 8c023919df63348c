"""How the budget is divided."""

from typing import Any

import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory.accounting.regions import check_region, region_budgets


def test_shares_that_are_not_given_are_the_usual() -> None:
    assert region_budgets(1600) == {"neural": 400, "gpu": 800, "shared": 400}
    assert region_budgets(1600, {"gpu": 0.25}) == {"neural": 400, "gpu": 400, "shared": 400}
    assert region_budgets(0) == {"neural": 0, "gpu": 0, "shared": 0}


def test_shares_may_be_the_whole_in_sum() -> None:
    thirds = {"neural": 1 / 3, "gpu": 1 / 3, "shared": 1 - 2 / 3}
    assert sum(region_budgets(1 << 40, thirds).values()) <= 1 << 40


@pytest.mark.parametrize(
    "shares",
    [{"shared": 0.5}, {"gpu": -0.1}, {"gpu": 1.5, "shared": -1}, {"gpu": float("nan")}],
)
def test_more_than_the_whole_is_refused(shares: Any) -> None:
    with pytest.raises(BadParameterError, match=r"the regions' shares are .*in sum"):
        region_budgets(100, shares)


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(BadParameterError, match=r"no region 'gpus?2'\nhint: regions are neural"):
        check_region("gpu2")
    with pytest.raises(BadParameterError, match="no region 'cpu'"):
        region_budgets(100, {"cpu": 0.1, "gpu": 0.1})  # type: ignore[dict-item]
