"""Market data is recognised by its columns."""

from __future__ import annotations

import pytest

from neural_gpu_bus.stores.postgres.loading.known_schemas import UNKNOWN, recognise

BARS = "instrument_id bar_type ts open high low close volume source"
TRADES = "instrument_id ts price size aggressor_side trade_id ts_recv source venue condition"
DELTAS = "instrument_id ts ts_recv update_id is_snapshot side price size source"


@pytest.mark.parametrize(
    ("columns", "key", "index"),
    [
        (BARS, ("instrument_id", "bar_type", "ts"), ()),
        (TRADES, (), ("instrument_id", "ts")),
        (DELTAS, (), ("instrument_id", "ts")),
        ("date asset price panel field currency source", ("panel", "asset", "date", "field"), ()),
        ("date model freq mkt_rf smb hml", ("model", "freq", "date"), ()),
    ],
)
def test_known_schemas_have_their_keys(
    columns: str, key: tuple[str, ...], index: tuple[str, ...]
) -> None:
    found = recognise(columns.split())

    assert (key, index) == (found.key, found.index)


def test_anything_else_has_none() -> None:
    assert recognise(["date", "MMM", "AAPL"]) is UNKNOWN
