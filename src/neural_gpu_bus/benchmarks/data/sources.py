"""What every source of demo data yields: tables in the demo's own schemas, and what to say of them.

The schemas, all times UTC: ``daily_prices`` (date, asset, price, panel, field, currency, source);
``factors`` (date, then one float column a factor); ``trades`` (instrument_id, seq = place in the
feed, ts, price, size, and aggressor_side where the source knows it); ``bars`` (instrument_id,
bar_type, ts = open of the bar, open, high, low, close, volume, source).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns that tell the rows of each table apart.
KEYS: Mapping[str, tuple[str, ...]] = {
    "daily_prices": ("panel", "asset", "date", "field"),
    "factors": ("date",),
    "trades": ("instrument_id", "seq"),
    "bars": ("instrument_id", "bar_type", "ts"),
}


@dataclass(frozen=True, slots=True)
class SourceTables:
    """Tables of one source of data."""

    tables: Mapping[str, pa.Table]
    #: Sentences for the reader: origin, licence, what was done.
    notes: tuple[str, ...] = ()
    #: Table that is not there -> why.
    missing: Mapping[str, str] = field(default_factory=dict)
