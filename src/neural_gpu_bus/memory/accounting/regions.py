"""How the budget is divided."""

from __future__ import annotations

from collections.abc import Mapping

from neural_gpu_bus.descriptors import REGIONS, Region
from neural_gpu_bus.errors import BadParameterError

#: The original design's 4, 8 and 4 of 16 GB.
SHARES: Mapping[Region, float] = {"neural": 0.25, "gpu": 0.5, "shared": 0.25}


def region_budgets(
    bytes_max: int, shares: Mapping[Region, float] | None = None
) -> dict[Region, int]:
    """Bytes of each region; BadParameterError for shares of more than the whole."""
    given = dict(SHARES) | dict(shares or {})
    for region in given:
        check_region(region)
    if not (min(given.values()) >= 0 and sum(given.values()) <= 1 + 1e-9):  # nor is it a NaN
        raise BadParameterError(
            f"the regions' shares are {given}, in sum {sum(given.values()):.0%}",
            hint="shares run from 0 and are 100 % in sum at most",
            parameter="shares",
        )
    return {region: int(bytes_max * share) for region, share in given.items()}


def check_region(region: str) -> None:
    """BadParameterError for what is no region."""
    if region not in REGIONS:
        raise BadParameterError(
            f"there is no region {region!r}",
            hint=f"regions are {', '.join(REGIONS)}",
            parameter="region",
        )
