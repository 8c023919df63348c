"""Names of slots, and what is done about those that keep too much."""

from __future__ import annotations

import re

import msgspec
import pytest

from neural_gpu_bus.stores.postgres.replication.publications import publication_names
from neural_gpu_bus.stores.postgres.replication.slots import (
    SlotFacts,
    judge,
    persistent_slot,
    session_name,
    temporary_slot,
)

FACTS = SlotFacts(
    name="s",
    temporary=False,
    database="d",
    active_pid=0,
    restart_lsn=1,
    confirmed_flush_lsn=1,
    retained_bytes=10 << 20,
    wal_status="reserved",
)


def test_names_are_the_homes_own_and_fit() -> None:
    """A slot's name has lower case letters, digits and underscores, and 63 bytes."""
    names = {persistent_slot("a"), persistent_slot("b"), temporary_slot("a"), temporary_slot("a")}

    assert len(names) == 4
    assert persistent_slot("a") == session_name("a") == publication_names("a").changes
    assert all(re.fullmatch("[a-z0-9_]{1,63}", name) for name in names)
    assert temporary_slot("a").startswith(persistent_slot("a") + "_")


@pytest.mark.parametrize(
    ("other", "budget_bytes", "verdict"),
    [
        ({}, 100 << 20, "fine"),
        ({}, 20 << 20, "fine"),
        ({}, 19 << 20, "alarm"),
        ({}, 10 << 20, "alarm"),
        ({}, (10 << 20) - 1, "drop"),
        ({"wal_status": "unreserved"}, 100 << 20, "alarm"),
        ({"wal_status": "extended"}, 100 << 20, "fine"),
        ({"lost_because": "wal_removed", "wal_status": "lost"}, 100 << 20, "lost"),
    ],
)
def test_a_slot_is_judged_by_what_it_keeps(
    other: dict[str, object], budget_bytes: int, verdict: str
) -> None:
    found, why = judge(msgspec.structs.replace(FACTS, **other), budget_bytes)

    assert found == verdict
    assert why.startswith("slot s ")
