"""Which columns of a table say when and of what: told by type first, then by name. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neural_gpu_bus.stores.postgres.advice.facts import ColumnFacts, TableFacts

#: Best first; a table of market data often has the time of the event and that of its arrival.
TIME_NAMES = (
    "ts_event", "event_time", "ts", "time", "timestamp", "datetime", "date", "trade_time",
    "quote_time", "bar_time", "open_time", "ts_init", "ts_recv",
)  # fmt: skip
#: What a series is of.
INSTRUMENT_NAMES = (
    "instrument_id", "instrument", "symbol", "ticker", "security_id", "security", "isin", "figi",
    "ric", "contract", "pair", "asset", "asset_id",
)  # fmt: skip
#: What tells several series of one instrument apart (NautilusTrader has four of them on bars).
QUALIFIER_NAMES = (
    "bar_type", "step", "bar_aggregation", "price_type", "aggregation_source", "timeframe",
    "interval", "resolution", "venue", "exchange",
)  # fmt: skip

_TIME_TYPE = re.compile(r"timestamp|date|time")
#: Times as numbers or their digits, where the name says that it is a time.
_DIGITS_TYPE = re.compile(r"bigint|numeric|text|character varying|double precision")


@dataclass(frozen=True, slots=True)
class Series:
    """A table read as "the last rows of one instrument": its columns by what they are for."""

    instrument: ColumnFacts
    #: Those that tell series of one instrument apart, in this table as it is.
    qualifiers: tuple[ColumnFacts, ...]
    #: The same, and those that have one value so far.
    qualifiers_ever: tuple[ColumnFacts, ...]
    time: ColumnFacts
    #: What is read.
    values: tuple[ColumnFacts, ...]

    @property
    def equal(self) -> tuple[str, ...]:
        """Columns that are compared with one value each."""
        return (self.instrument.name, *(column.name for column in self.qualifiers))

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that most likely tell rows apart."""
        ever = (column.name for column in self.qualifiers_ever)
        return (self.instrument.name, *ever, self.time.name)


def series_of(table: TableFacts) -> Series | None:
    """The table's roles; None where no column is of an instrument or of a time."""
    by_name = {column.name.lower(): column for column in table.columns}
    instrument = next((by_name[name] for name in INSTRUMENT_NAMES if name in by_name), None)
    time = _time_column(table, by_name)
    if instrument is None or time is None:
        return None
    ever = tuple(by_name[name] for name in QUALIFIER_NAMES if name in by_name)
    # One value everywhere tells nothing apart; without it the index also serves who leaves it out.
    qualifiers = tuple(column for column in ever if column.distinct != 1)
    known = {instrument.name, time.name, *(column.name for column in qualifiers)}
    values = tuple(column for column in table.columns if column.name not in known)
    return Series(instrument, qualifiers, ever, time, values)


def _time_column(table: TableFacts, by_name: dict[str, ColumnFacts]) -> ColumnFacts | None:
    for name in TIME_NAMES:
        column = by_name.get(name)
        if column and (_TIME_TYPE.match(column.type) or _DIGITS_TYPE.match(column.type)):
            return column
    # A single time by type, whatever it is called; of several nobody can tell.
    times = [column for column in table.columns if column.type.startswith("timestamp")]
    return times[0] if len(times) == 1 else None
