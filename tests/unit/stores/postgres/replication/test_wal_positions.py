"""Positions in the log, as text and as numbers."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication.wal_positions import lsn_of, lsn_text, unix_ns


@pytest.mark.parametrize(
    ("lsn", "text"),
    [(0, "0/0"), (0x16_B374D848, "16/B374D848"), ((1 << 64) - 1, "FFFFFFFF/FFFFFFFF")],
)
def test_a_position_is_written_as_postgresql_does(lsn: int, text: str) -> None:
    assert lsn_text(lsn) == text
    assert lsn_of(text) == lsn
    assert lsn_of(text.lower()) == lsn


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/123456789", "0/G", "0/0 ", "-1/0"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="is no position in PostgreSQL's log"):
        lsn_of(text)


def test_postgresql_counts_from_2000() -> None:
    assert unix_ns(0) == 946_684_800_000_000_000
    assert unix_ns(-946_684_800_000_000) == 0
