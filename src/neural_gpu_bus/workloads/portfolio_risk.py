"""Historical value at risk and expected shortfall of today's positions, by desk and in total.

Scenario profit and loss: ``pnl[t, desk] = sum_a quantity[desk, a] * last price[a] * return[t, a]``
with simple returns between consecutive dates on which every held asset has a price. VaR and ES are
the empirical ones, equal weights, in skfolio's convention (skfolio.measures.value_at_risk and
cvar): with n scenarios and k = (1 - confidence) n, VaR is the (floor(k) + 1)-th largest loss, ES
the mean of the k largest, the last of them counted in part (Rockafellar and Uryasev 2002, section
3). Losses are positive, in the prices' currency.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.columns import Input, integers
from neural_gpu_bus.workloads.workload import Kernels, Workload, labels, numeric_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import ArrayBackend, Columns
    from neural_gpu_bus.workloads.workload import Array, Arrays

    Floats = npt.NDArray[np.float64]

#: Label of the row over all desks.
TOTAL = "TOTAL"

#: Longest span of days that is counted through a table (4 bytes a day); beyond it, by sorting.
DAY_TABLE_MAX = 1 << 20


class PortfolioRiskParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of ``risk.portfolio``."""

    #: Share of scenarios that lose less than the value at risk.
    confidence: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    #: Newest scenarios that count; None for all.
    window_days: Annotated[int, Meta(ge=1)] | None = None


def prepare(inputs: Mapping[str, Columns], params: PortfolioRiskParams) -> dict[str, Array]:
    """``price`` (dates, assets) complete and in order, ``exposure`` (assets, desks + total)."""
    prices, positions = Input(inputs, "prices"), Input(inputs, "positions")
    quantity, desks, assets = _quantities(positions)
    matrix, left_out = _pivot(prices, assets)
    if params.window_days is not None:
        matrix = matrix[-params.window_days - 1 :]
    return {
        "price": np.ascontiguousarray(matrix),
        "exposure": np.ascontiguousarray((quantity * matrix[-1]).T),
        "desk": labels([*desks, TOTAL]),
        "dates_left_out": np.array([left_out]),
    }


def _quantities(positions: Input) -> tuple[Floats, list[str], list[str]]:
    """Quantity (desks + total, assets); positions of one desk and asset add up."""
    desk_code, desks = positions.complete_texts("desk")
    asset_code, assets = positions.complete_texts("asset")
    quantity = positions.floats("quantity")
    used = sorted({desks[code] for code in np.unique(desk_code)})
    held = sorted({assets[code] for code in np.unique(asset_code)})
    if TOTAL in used:
        raise BadParameterError(
            f"a desk is named {TOTAL!r}, the label of the row over all desks",
            hint="rename that desk in the query",
            parameter="positions.desk",
        )
    row, column = _places(desks, used)[desk_code], _places(assets, held)[asset_code]
    matrix = np.zeros((len(used) + 1, len(held)))
    np.add.at(matrix, (row, column), quantity)
    matrix[-1] = matrix[:-1].sum(axis=0)
    return matrix, used, held


def _places(texts: list[str], chosen: list[str]) -> npt.NDArray[np.int32]:
    """Place of each text among the chosen ones, -1 where it is not."""
    place = {text: index for index, text in enumerate(chosen)}
    return np.array([place.get(text, -1) for text in texts], dtype=np.int32)


def _pivot(prices: Input, assets: list[str]) -> tuple[Floats, int]:
    """Prices (dates, held assets) of the dates that have them all; number of dates left out."""
    from neural_gpu_bus.workloads import portfolio_risk_compiled as compiled

    code, texts = prices.complete_texts("asset")
    price = prices.floats("price", positive=True)
    date = prices.times("date")
    place = _places(texts, assets)
    _check_priced(assets, texts, code)
    day, days = _day_numbers(integers(date))
    rank = np.zeros(days, dtype=np.int32)
    dates = compiled.rank_days(day, code, place, rank)
    matrix = np.full((dates, len(assets)), np.nan)
    twice = compiled.fill_prices(day, code, place, rank, price, matrix)
    if twice >= 0:
        what = f"has two rows for {texts[code[twice]]!r} on {date[twice]}, the second"
        raise prices.fault("price", twice + 1, what, "keep one price a date and asset")
    whole = ~np.isnan(matrix).any(axis=1)
    complete = int(whole.sum())
    if complete < 2:
        raise BadParameterError(
            f"input 'prices' has {complete} dates on which all {len(assets)} held assets have a "
            "price, and needs at least 2",
            hint="leave assets with a short history out of the positions, or load more prices",
            parameter="prices.date",
        )
    return matrix if complete == dates else matrix[whole], dates - complete


def _check_priced(assets: list[str], texts: list[str], code: npt.NDArray[np.int32]) -> None:
    counted = np.bincount(code, minlength=len(texts))
    priced = {text for text, rows in zip(texts, counted, strict=True) if rows}
    without = [asset for asset in assets if asset not in priced]
    if without:
        names = ", ".join(map(repr, without[:5])) + (" and more" if without[5:] else "")
        raise BadParameterError(
            f"input 'prices' has no row for {len(without)} held asset(s): {names}",
            hint="load their prices, or leave these positions out",
            parameter="prices.asset",
        )


def _day_numbers(ticks: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """A small number for each row's date, in the order of dates, and how many there can be."""
    first = int(ticks.min())
    span = int(ticks.max()) - first + 1
    if span <= DAY_TABLE_MAX:
        return ticks - first, span
    dates, number = np.unique(ticks, return_inverse=True)
    return number.astype(np.int64, copy=False), len(dates)


def tail_places(scenarios: int, confidence: float) -> tuple[int, int, float]:
    """Places among the worst scenarios of the value at risk and of the shortfall's last; and k."""
    k = (1.0 - confidence) * scenarios
    # The slack absorbs the rounding of k: (1 - 0.9) * 10 is a little below 1.
    slack = 4 * np.finfo(np.float64).eps * scenarios
    at_risk = min(scenarios - 1, math.floor(k + slack))
    return at_risk, max(0, math.ceil(k) - 1), k


def cpu(arrays: Arrays, params: PortfolioRiskParams) -> dict[str, Array]:
    """One matrix product (BLAS), and a partition a desk: numpy's own are the fastest here."""
    price, exposure = arrays["price"], arrays["exposure"]
    scenarios = len(price) - 1
    returns = price[1:] / price[:-1]
    returns -= 1.0
    pnl = np.ascontiguousarray((returns @ exposure).T)
    at_risk, last, k = tail_places(scenarios, params.confidence)
    tail = np.partition(pnl, at_risk, axis=1)[:, : at_risk + 1]
    tail.sort(axis=1)
    shortfall = -tail[:, :last].sum(axis=1) / k + tail[:, last] * (last / k - 1.0)
    return _outputs(arrays, exposure.sum(axis=0), -tail[:, at_risk], shortfall, scenarios)


def array(backend: ArrayBackend, arrays: Arrays, params: PortfolioRiskParams) -> dict[str, Any]:
    """The same through one matrix product and a sort."""
    xp = backend.xp
    price = backend.from_numpy(arrays["price"])
    exposure = backend.from_numpy(arrays["exposure"])
    scenarios = price.shape[0] - 1
    returns = price[1:] / price[:-1] - 1.0
    pnl = xp.matmul(returns, exposure)
    at_risk, last, k = tail_places(scenarios, params.confidence)
    tail = backend.sort(pnl, axis=0)
    shortfall = -xp.sum(tail[:last], axis=0) / k + tail[last] * (last / k - 1.0)
    return _outputs(arrays, xp.sum(exposure, axis=0), -tail[at_risk], shortfall, scenarios)


def _outputs(
    arrays: Arrays, value: Any, value_at_risk: Any, shortfall: Any, scenarios: int
) -> dict[str, Any]:
    desk = arrays["desk"]
    return {
        "desk": desk,
        "value": value,
        "value_at_risk": value_at_risk,
        "expected_shortfall": shortfall,
        "observations": np.full(len(desk), scenarios, dtype=np.int64),
        "dates_left_out": arrays["dates_left_out"],
    }


def table(outputs: Mapping[str, Array], params: PortfolioRiskParams) -> pa.Table:  # noqa: ARG001
    """One row a desk, sorted, then the total; dates left out stand in the schema's metadata."""
    names = ("desk", "value", "value_at_risk", "expected_shortfall", "observations")
    left_out = str(int(outputs["dates_left_out"][0]))
    return numeric_table(outputs, names).replace_schema_metadata({"dates_left_out": left_out})


def cost(arrays: Arrays, params: PortfolioRiskParams) -> float:  # noqa: ARG001
    """Multiply-adds of the product, and the partitions."""
    dates, assets = arrays["price"].shape
    desks = arrays["exposure"].shape[1]
    return float(2 * dates * assets * (desks + 1) + 10 * dates * desks)


WORKLOAD = Workload(
    name="risk.portfolio",
    summary="Historical value at risk and expected shortfall of positions, by desk and in total.",
    params_type=PortfolioRiskParams,
    inputs={
        "prices": {"date": "time", "asset": "text", "price": "float"},
        "positions": {"desk": "text", "asset": "text", "quantity": "float"},
    },
    prepare=prepare,
    kernels=Kernels(cpu=cpu, array=array),
    table=table,
    cost=cost,
)
