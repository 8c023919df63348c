"""Which transactions a snapshot sees, given the lower half of their numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

#: No two transactions that live are further apart; the first ones of a cluster are 0 to 2.
FAR = 2**31
EPOCH = 2**32


@st.composite
def snapshots(draw: st.DrawFn) -> VisibleTransactions:
    """Anywhere in the first four epochs, often close to where the lower half begins anew."""
    near = draw(st.integers(-20, 20)) + EPOCH * draw(st.integers(1, 4))
    xmax = draw(st.one_of(st.just(near), st.integers(FAR, 4 * EPOCH)))
    xmin = xmax - draw(st.integers(0, 1000))
    running = draw(st.frozensets(st.integers(xmin, xmax - 1), max_size=20)) if xmin < xmax else ()
    return VisibleTransactions(xmin, xmax, frozenset(running))


@given(snapshots(), st.integers(-FAR + 1, FAR - 1))
def test_the_lower_half_is_as_good_as_the_whole_number(
    snapshot: VisibleTransactions, distance: int
) -> None:
    """As pg_visible_in_snapshot(xid8, pg_snapshot) has it."""
    xid = max(0, snapshot.xmax + distance)
    expected = xid < snapshot.xmin or (xid < snapshot.xmax and xid not in snapshot.running)

    assert snapshot.full(xid % EPOCH) == xid
    assert snapshot.sees(xid % EPOCH) == expected


@given(snapshots())
def test_a_snapshot_reads_as_it_is_written(snapshot: VisibleTransactions) -> None:
    assert VisibleTransactions.parse(str(snapshot)) == snapshot


def test_a_snapshot_at_the_turn_of_an_epoch() -> None:
    snapshot = VisibleTransactions.parse(f"{EPOCH - 2}:{EPOCH + 3}:{EPOCH - 2},{EPOCH + 1}")

    assert not snapshot.sees(EPOCH - 2)
    assert snapshot.sees(EPOCH - 3)
    assert snapshot.sees(EPOCH - 1)
    assert snapshot.sees(0)
    assert not snapshot.sees(1)
    assert snapshot.sees(2)
    assert not snapshot.sees(3)


@pytest.mark.parametrize(
    "text", ["", "1:2", "3:2:", "1:2:2", "1:2:0", "1:2:1,", "a:b:", "1:2:1 ", "1" * 30 + ":2:"]
)
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="is no snapshot"):
        VisibleTransactions.parse(text)
