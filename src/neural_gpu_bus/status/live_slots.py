"""Replication slots of live tables: what they keep of the server's disk, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from neural_gpu_bus.quantities import size
from neural_gpu_bus.status.checks import Check, Verdict
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.replication.slots import (
    SlotFacts,
    all_live_slots,
    judge,
    persistent_slot,
)

if TYPE_CHECKING:
    from neural_gpu_bus.settings import Settings

_VERDICTS = {"good": Verdict.GOOD, "advice": Verdict.LIMITED, "problem": Verdict.BAD}


def slot_advice(slots: Sequence[SlotFacts], home: str, wal_bytes_max: int) -> list[Advice]:
    """Of the home's slots and those of other homes. ``wal_bytes_max``: NGB_LIVE_SLOT_WAL_BYTES_MAX.
    Pure.
    """
    if not slots:
        return [Advice("replication slots", "good", "no home has one for live tables")]
    mine = persistent_slot(home)
    return [
        _of_ours(slot, wal_bytes_max) if slot.name.startswith(mine) else _of_another(slot)
        for slot in slots
    ]


def _of_ours(slot: SlotFacts, wal_bytes_max: int) -> Advice:
    what = f"{_kind(slot)} of this home, keeps {size(slot.retained_bytes)} of WAL"
    if slot.temporary:
        return Advice(slot.name, "good", what)
    verdict, words = judge(slot, wal_bytes_max)
    # While it is read it cannot be dropped, and whoever reads it does that.
    drop = () if slot.active_pid else (f"SELECT pg_drop_replication_slot('{slot.name}')",)
    if verdict == "lost":
        why = "the process of live tables drops it and copies tables anew; where none runs: drop it"
        return Advice(slot.name, "problem", words, why, drop)
    what += f", its budget is {size(wal_bytes_max)}"
    if verdict == "fine" and (slot.active_pid or slot.retained_bytes == 0):
        return Advice(slot.name, "good", what)
    if verdict == "fine":
        why = "nobody reads it now: `ngb up` follows on, `ngb live drop` of the last table drops it"
        return Advice(slot.name, "advice", what, why)
    why = (
        f"{words}; beyond its budget it is dropped and tables are copied anew: see `ngb live list` "
        f"for what holds them up, raise NGB_LIVE_SLOT_WAL_BYTES_MAX{', or drop it' if drop else ''}"
    )
    return Advice(slot.name, "problem" if verdict == "drop" else "advice", what, why, drop)


def _of_another(slot: SlotFacts) -> Advice:
    what = f"{_kind(slot)} of another home, keeps {size(slot.retained_bytes)} of WAL"
    if slot.active_pid:
        return Advice(slot.name, "good", what)
    why = "nobody reads it: if that home is given up for good, drop it"
    return Advice(
        slot.name, "advice", what, why, (f"SELECT pg_drop_replication_slot('{slot.name}')",)
    )


def _kind(slot: SlotFacts) -> str:
    lasting = "temporary" if slot.temporary else "persistent"
    return lasting + (f", read by pid {slot.active_pid}" if slot.active_pid else "")


def slot_advice_of(settings: Settings, dsn: str) -> list[Advice]:
    """Ask the server. Raises ServerError's kinds."""
    from neural_gpu_bus.stores.postgres.connections.connection import connect

    home = str(settings.home.expanduser().resolve())
    with connect(dsn, timeout_s=settings.connect_timeout_s) as connection:
        slots = all_live_slots(connection)
    return slot_advice(slots, home, settings.live_slot_wal_bytes_max)


def as_checks(advice: Iterable[Advice]) -> list[Check]:
    """For ``ngb doctor``, which tells each fact in two lines."""
    return [
        Check(
            "live tables",
            _VERDICTS[one.standing],
            f"{one.subject}: {one.what}",
            "; ".join([*([one.why] if one.why else []), *one.sql]),
        )
        for one in advice
    ]
