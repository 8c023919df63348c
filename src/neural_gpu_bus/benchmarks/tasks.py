"""What each workload reads, with which parameters: the same for every way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString

from psycopg import sql

from neural_gpu_bus.benchmarks.data.prepare import DemoData

#: Equal-volume buckets over the whole of the data: enough of them for a picture.
BUCKETS = 400
WINDOW = 50

#: TA-Lib takes the variance from running sums of squares and so loses digits where prices stand
#: still (1.4e-8 of the price on E-mini seconds); pandas does not.
BOLLINGER_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the data one run takes."""

    last_bars: int = 10_000
    trades_max: int = 500_000


FULL = Scale()
QUICK = Scale(last_bars=2_000, trades_max=40_000)


@dataclass(frozen=True, slots=True)
class Task:
    """One workload from database to stored result."""

    workload: str
    title: str
    question: str
    #: Input name of the workload -> SQL that reads it.
    inputs: Mapping[str, str]
    params: Mapping[str, Any]
    #: Result column that tells the rows apart.
    key: str
    #: Columns that are compared less strictly than the others.
    tolerances: Mapping[str, float] = field(default_factory=dict)
    #: Engine that the direct way names; None leaves it to the planner.
    engine: Literal["cpu", "gpu", "neural"] | None = None

    @property
    def slug(self) -> str:
        """The name as part of a table's or a key's name."""
        return self.workload.replace(".", "_")


def tasks(data: DemoData, scale: Scale) -> tuple[list[Task], dict[str, str]]:
    """Tasks that this data allows, and for each other workload the sentence why not."""
    made: list[Task] = []
    skipped: dict[str, str] = {}
    for workload, (needs, make) in _MAKERS.items():
        if needs in data.files and (workload != "vpin.bars" or data.volume_bars is not None):
            made.append(make(data, scale))
        else:
            skipped[workload] = data.missing.get(needs, f"none of the {needs} knows its volume")
    return made, skipped


def statement(text: LiteralString, data: DemoData, columns: str = "", **values: Any) -> str:
    """SQL text with the schema, columns and values quoted by psycopg's own rules."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns.split(", ")))
    parts = {name: sql.Literal(value) for name, value in values.items()}
    composed = sql.SQL(text).format(schema=sql.Identifier(data.schema), columns=names, **parts)
    return composed.as_string(None)


def _risk(data: DemoData, _scale: Scale) -> Task:
    prices = "SELECT date, asset, price FROM {schema}.daily_prices WHERE panel = {panel}"
    return Task(
        "risk.portfolio",
        "Portfolio risk",
        f"Historical value at risk and expected shortfall of six desks over all daily prices of "
        f"{len(data.price_assets)} assets.",
        {
            "prices": statement(prices, data, panel=data.price_panel),
            "positions": statement("SELECT desk, asset, quantity FROM {schema}.positions", data),
        },
        {"confidence": 0.95},
        "desk",
    )


def _correlation(data: DemoData, _scale: Scale) -> Task:
    return Task(
        "factor.correlation",
        "Factor correlation",
        "The correlation matrix of all daily factor returns.",
        {"factors": statement("SELECT * FROM {schema}.factors ORDER BY date", data)},
        {},
        "factor",
    )


def _last_bars(data: DemoData, scale: Scale, columns: str) -> str:
    series = data.bars
    assert series is not None, "tasks() asks for bars only where there are some"  # noqa: S101
    text = (
        "SELECT {columns} FROM (SELECT {columns} FROM {schema}.bars "
        "WHERE instrument_id = {instrument} AND bar_type = {kind} "
        "ORDER BY ts DESC LIMIT {limit}) AS latest ORDER BY ts"
    )
    return statement(
        text,
        data,
        columns,
        instrument=series.instrument_id,
        kind=series.bar_type,
        limit=scale.last_bars,
    )


def _indicators(data: DemoData, scale: Scale) -> Task:
    return Task(
        "indicators.technical",
        "Technical indicators",
        f"SMA, EMA, RSI, MACD, ATR and Bollinger bands of the last {scale.last_bars:,} bars; "
        "every bar's row is stored.",
        {"bars": _last_bars(data, scale, "ts, high, low, close")},
        {},
        "ts",
        {"bollinger_upper": BOLLINGER_TOLERANCE, "bollinger_lower": BOLLINGER_TOLERANCE},
    )


def _shapes(data: DemoData, scale: Scale) -> Task:
    return Task(
        "patterns.shape",
        "Shape patterns",
        f"Each window of 32 closes among the last {scale.last_bars:,} bars against a bank of "
        "named shapes; every window's scores are stored.",
        {"bars": _last_bars(data, scale, "ts, close")},
        {},
        "ts",
        # The network computes in float32: right to 1e-5, and here every way has to agree to 1e-9.
        engine="cpu",
    )


def _vpin_trades(data: DemoData, scale: Scale) -> Task:
    columns = "ts, price, size" + (", aggressor_side" if data.trades_have_side else "")
    text = (
        "SELECT {columns} FROM {schema}.trades "
        "WHERE instrument_id = {instrument} AND seq < {limit} ORDER BY seq"
    )
    rows = min(scale.trades_max, data.trades_rows)
    return Task(
        "vpin.trades",
        "VPIN from trades",
        f"Order-flow toxicity over equal-volume buckets of {rows:,} trades.",
        {"trades": statement(text, data, columns, instrument=data.trades_instrument, limit=rows)},
        {
            "bucket_volume": bucket_volume(data.trades_volume * rows / data.trades_rows),
            "window": WINDOW,
        },
        "bucket",
    )


def _vpin_bars(data: DemoData, _scale: Scale) -> Task:
    series = data.volume_bars
    assert series is not None, "tasks() skips this workload otherwise"  # noqa: S101
    text = (
        "SELECT ts, open, close, volume FROM {schema}.bars "
        "WHERE instrument_id = {instrument} AND bar_type = {kind} ORDER BY ts"
    )
    return Task(
        "vpin.bars",
        "VPIN from bars",
        f"The same from {series.rows:,} bars by bulk volume classification.",
        {"bars": statement(text, data, instrument=series.instrument_id, kind=series.bar_type)},
        {"bucket_volume": bucket_volume(series.volume), "window": WINDOW},
        "bucket",
    )


def bucket_volume(total: float) -> float:
    """A round volume so that about ``BUCKETS`` buckets fill; whole where sizes are large."""
    volume = total / BUCKETS
    return float(round(volume)) if volume >= WINDOW else volume


_MAKERS = {
    "risk.portfolio": ("daily_prices", _risk),
    "factor.correlation": ("factors", _correlation),
    "indicators.technical": ("bars", _indicators),
    "vpin.trades": ("trades", _vpin_trades),
    "vpin.bars": ("bars", _vpin_bars),
    "patterns.shape": ("bars", _shapes),
}
