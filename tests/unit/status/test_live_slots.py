"""What the doctor says of replication slots of live tables."""

from __future__ import annotations

import pytest

from neural_gpu_bus.status.checks import Verdict
from neural_gpu_bus.status.live_slots import as_checks, slot_advice
from neural_gpu_bus.stores.postgres.replication.slots import SlotFacts, persistent_slot

HOME, GIB = "/home/somebody/.ngb", 1 << 30
MINE = persistent_slot(HOME)
DROP = "SELECT pg_drop_replication_slot('{}')"


def slot(
    name: str = MINE,
    *,
    temporary: bool = False,
    pid: int = 4242,
    kept: int = 3 << 20,
    lost: str = "",
) -> SlotFacts:
    return SlotFacts(name, temporary, "postgres", pid, 1, 1, kept, "reserved", lost_because=lost)


@pytest.mark.parametrize(
    ("found", "standing", "said", "drops"),
    [
        (slot(), "good", "persistent, read by pid 4242 of this home, keeps 3.0 MiB", False),
        (slot(f"{MINE}_0a1b2c3d", temporary=True), "good", "temporary, read by pid 4242", False),
        (slot(pid=0), "advice", "its budget is 8.0 GiB", False),
        (slot(kept=5 * GIB), "advice", "keeps 5.0 GiB of WAL", False),  # it cannot be: it is read
        (slot(kept=5 * GIB, pid=0), "advice", "keeps 5.0 GiB of WAL", True),
        (slot(kept=9 * GIB, pid=0), "problem", "keeps 9.0 GiB of WAL", True),
        (slot(lost="wal_removed", pid=0), "problem", "is lost: wal_removed", True),
        (slot("ngb_live_0123456789ab"), "good", "of another home", False),
        (slot("ngb_live_0123456789ab", pid=0), "advice", "of another home", True),
    ],
)
def test_a_slot_is_told_with_what_it_keeps_and_how_it_is_dropped(
    found: SlotFacts, standing: str, said: str, drops: bool
) -> None:
    (told,) = slot_advice([found], HOME, 8 * GIB)
    assert (told.standing, told.subject) == (standing, found.name)
    assert said in told.what
    assert told.sql == ((DROP.format(found.name),) if drops else ())
    assert (standing == "good") == (told.why == "")


def test_no_slot_is_good() -> None:
    (told,) = slot_advice([], HOME, 8 * GIB)
    assert told.standing == "good"


def test_the_short_doctor_has_the_statement_too() -> None:
    (check,) = as_checks(slot_advice([slot(lost="wal_removed", pid=0)], HOME, 8 * GIB))
    assert (check.name, check.verdict) == ("live tables", Verdict.BAD)
    assert DROP.format(MINE) in check.advice
