"""Market data tables that are known by their columns: their keys, and what a CSV of them holds.

Bars are unique by instrument, kind and time; daily prices by panel, asset, day and field; factors
by model, frequency and day. Trades, quotes and books have no unique key (thousands of rows share
a time, equal rows are ordinary), so they get an index to find an instrument's stretch of time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

_TEXT = pa.string()
_NUMBER = pa.float64()
_MICROSECONDS = pa.timestamp("us", "UTC")
_NANOSECONDS = pa.timestamp("ns", "UTC")
_DAY = pa.date32()


def _types(type_: pa.DataType, names: str) -> dict[str, pa.DataType]:
    return dict.fromkeys(names.split(), type_)


def _ladder(names: Iterable[str]) -> str:
    return " ".join(f"{name}_{level:02}" for name in names for level in range(10))


@dataclass(frozen=True, slots=True)
class KnownSchema:
    """One kind of table."""

    #: Columns by which it is recognised; all must be there.
    marks: frozenset[str]
    key: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    #: Types of its columns where a file has none of its own.
    types: Mapping[str, pa.DataType] = field(default_factory=dict)


_FEED_TEXT = _types(_TEXT, "instrument_id source venue condition")
_FEED_TIMES = _types(_NANOSECONDS, "ts ts_recv")
_FEED_INDEX = ("instrument_id", "ts")

#: The first that matches counts: what has more marks stands before what has fewer.
KNOWN_SCHEMAS: tuple[KnownSchema, ...] = (
    KnownSchema(
        frozenset({"instrument_id", "bar_type", "ts", "open", "high", "low", "close"}),
        key=("instrument_id", "bar_type", "ts"),
        types=_types(_TEXT, "instrument_id bar_type source")
        | _types(_MICROSECONDS, "ts")
        | _types(_NUMBER, "open high low close volume"),
    ),
    KnownSchema(
        frozenset({"instrument_id", "ts", "update_id", "is_snapshot", "side", "price", "size"}),
        index=_FEED_INDEX,
        types=_FEED_TEXT
        | _FEED_TIMES
        | _types(pa.int64(), "update_id")
        | _types(pa.bool_(), "is_snapshot")
        | _types(_TEXT, "side")
        | _types(_NUMBER, "price size"),
    ),
    KnownSchema(
        frozenset({"instrument_id", "ts", "bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00"}),
        index=_FEED_INDEX,
        types=_FEED_TEXT
        | _FEED_TIMES
        | _types(pa.int64(), "update_id")
        | _types(_NUMBER, _ladder(("bid_px", "bid_sz", "ask_px", "ask_sz"))),
    ),
    KnownSchema(
        frozenset({"instrument_id", "ts", "price", "size", "aggressor_side"}),
        index=_FEED_INDEX,
        types=_FEED_TEXT
        | _FEED_TIMES
        | _types(_TEXT, "aggressor_side trade_id")
        | _types(pa.bool_(), "suspicious")
        | _types(_NUMBER, "price size"),
    ),
    KnownSchema(
        frozenset({"instrument_id", "ts", "bid_price", "ask_price"}),
        index=_FEED_INDEX,
        types=_FEED_TEXT | _FEED_TIMES | _types(_NUMBER, "bid_price bid_size ask_price ask_size"),
    ),
    KnownSchema(
        frozenset({"date", "asset", "price", "panel", "field"}),
        key=("panel", "asset", "date", "field"),
        types=_types(_TEXT, "asset panel field currency source")
        | _types(_DAY, "date")
        | _types(_NUMBER, "price"),
    ),
    KnownSchema(
        frozenset({"date", "model", "freq", "mkt_rf"}),
        key=("model", "freq", "date"),
        types=_types(_TEXT, "model freq source")
        | _types(_DAY, "date")
        | _types(_NUMBER, "mkt_rf smb hml rmw cma mom rf"),
    ),
    KnownSchema(
        frozenset({"date", "portfolio", "ret"}),
        key=("portfolio", "date"),
        types=_types(_TEXT, "portfolio") | _types(_DAY, "date") | _types(_NUMBER, "ret"),
    ),
)

#: What everything else is: no key, types from the file.
UNKNOWN = KnownSchema(frozenset())


def recognise(columns: Collection[str]) -> KnownSchema:
    """The known schema that these columns are, or ``UNKNOWN``."""
    names = set(columns)
    return next((schema for schema in KNOWN_SCHEMAS if schema.marks <= names), UNKNOWN)
