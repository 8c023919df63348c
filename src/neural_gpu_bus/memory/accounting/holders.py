"""Who holds a region's memory, in words: for the error of a reservation that finds no room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from neural_gpu_bus.descriptors import REGIONS, Region
from neural_gpu_bus.memory.accounting.maps import Kind, LivingMaps
from neural_gpu_bus.memory.files.folder import uuid_head
from neural_gpu_bus.quantities import span_in_words

if TYPE_CHECKING:
    from neural_gpu_bus.memory.accounting.own_session import OwnSession
    from neural_gpu_bus.memory.accounting.processes import ProcessTable
    from neural_gpu_bus.memory.catalog.index import Index

#: Holders that an error names; `ngb memory` lists all.
SHOWN_MAX = 5


class Holder(NamedTuple):
    """One reason why memory cannot be had."""

    nbytes: int
    words: str


def describe_holders(
    folder: Path,
    index: Index,
    session: OwnSession,
    region: Region,
    *,
    claimed_bytes: int,
    series_bytes: int,
    now_ns: int,
) -> Iterator[str]:
    """The largest first, each with its bytes and age.

    ``claimed_bytes``: what this process asks for, and counts already; it does not hold them.
    """
    found = [*_unnamed(session, region, claimed_bytes, now_ns)]
    found += _datasets(folder, index, session.processes, region, now_ns)
    if series_bytes:
        found.append(Holder(series_bytes, "growing columns"))
    found.sort(key=lambda holder: -holder.nbytes)
    for holder in found[:SHOWN_MAX]:
        yield f"{holder.words} ({holder.nbytes:,} bytes)"
    if len(found) > SHOWN_MAX:
        rest = found[SHOWN_MAX:]
        yield f"{len(rest)} others ({sum(holder.nbytes for holder in rest):,} bytes)"


def _unnamed(
    session: OwnSession, region: Region, claimed_bytes: int, now_ns: int
) -> Iterator[Holder]:
    own, place = uuid_head(session.corner.uuid), REGIONS.index(region)
    for record in session.processes.records():
        nbytes = int(record["unnamed_bytes"][place])
        nbytes -= claimed_bytes if record["session"] == own else 0
        if nbytes > 0:
            age = span_in_words(now_ns - int(record["opened_ns"]))
            yield Holder(nbytes, f"blocks without a name of pid {record['pid']}, open for {age}")


def _datasets(
    folder: Path, index: Index, processes: ProcessTable, region: Region, now_ns: int
) -> Iterator[Holder]:
    pids = _users(folder, processes)
    for block in index.blocks():
        if block.region != region:
            continue
        age = span_in_words(now_ns - block.created_ns)
        if index.ledger.is_pinned(block):
            yield Holder(block.nbytes, f"{block.name!r}, pinned, {age} old")
        elif held := pids.get(block.uuid):
            users = ", ".join(f"pid {pid}" for pid in held)
            yield Holder(block.nbytes, f"{block.name!r}, in use by {users}, {age} old")


def _users(folder: Path, processes: ProcessTable) -> dict[str, list[int]]:
    """Uuid of each block that somebody looks at -> the pids of those who do."""
    pids = {int(record["session"]): int(record["pid"]) for record in processes.records()}
    found: dict[str, list[int]] = {}
    for entry in LivingMaps(folder).entries:
        holders = found.setdefault(entry.uuid, [])
        pid = pids.get(entry.session, 0)
        if entry.kind is not Kind.KEPT and pid not in holders:
            holders.append(pid)
    return found
