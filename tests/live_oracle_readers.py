"""A process that looks at live tables all the time: what must hold in each transaction, holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import pyarrow.compute as pc

import neural_gpu_bus as ngb
from neural_gpu_bus.errors import NeuralGpuBusError, StaleError
from neural_gpu_bus.live.live_table import LiveTable, live_snapshot
from neural_gpu_bus.stores.postgres.replication.wal_positions import lsn_of

#: How long a look waits for a change, and how often one may come.
CHANGE_S, LOOKS_S, POLL_S = 0.05, 0.004, 0.000_2


def look_all_the_time(
    settings: dict[str, Any], declared: Sequence[dict[str, Any]], answer: Connection
) -> None:
    """Until something comes by ``answer``: then tell how often all was whole, and what was wrong.

    Money of all tables that have it is zero together; within a partition the order never falls; no
    look is as of a position before that of an earlier one.
    """
    looks = stale = seen = 0
    wrong: list[str] = []
    with ngb.open(**settings) as plane:
        tables = [_live(plane, one) for one in declared]
        rich = [one["table"] for one in declared if one["has_money"]]
        answer.send("looking")
        while not wrong and not answer.poll(LOOKS_S):
            try:
                # As soon as something changed: what is half there is so for a moment only.
                _wait_published(tables[0])
                snapshots = live_snapshot(tables)
                wrong += _wrong_sum({name: snapshots[name] for name in rich})
                position = min(lsn_of(one.as_of.lsn) for one in snapshots.values())
                if position < seen:
                    wrong.append(f"as of {position}, and {seen} was seen before")
                seen = max(seen, position)
                wrong += _falling(tables[looks % len(tables)])
                looks += 1
            except StaleError:
                stale += 1
                answer.poll(0.02)
            except (NeuralGpuBusError, RuntimeError) as error:
                wrong.append(f"{type(error).__name__}: {error}")
    answer.send((looks, stale, wrong))


def _wait_published(table: LiveTable) -> None:
    """Whichever table it was of."""
    before, end_s = table.mark.generation, time.monotonic() + CHANGE_S
    while table.mark.generation == before and time.monotonic() < end_s:
        time.sleep(POLL_S)


def _live(plane: ngb.DataPlane, declared: dict[str, Any]) -> LiveTable:
    given = {name: value for name, value in declared.items() if name != "has_money"}
    return plane.live(**given, timeout_s=60)


def _wrong_sum(snapshots: dict[str, Any]) -> list[str]:
    sums = {name: _money(one.arrow()) for name, one in snapshots.items()}
    generations = {one.as_of.generation for one in snapshots.values()}
    total = sum(sums.values())
    told = [] if not total else [f"money is {total}, and not 0: {sums} at {generations}"]
    return told if len(generations) == 1 else [*told, f"several generations: {generations}"]


def _money(table: Any) -> int:
    found = pc.sum(table["money"]).as_py()
    return found or 0


def _falling(table: LiveTable) -> list[str]:
    order = table.order_by
    if order is None:
        return []
    snapshot = table.snapshot()
    wrong = []
    for key in snapshot.partitions():
        values = snapshot.arrow(**key)[order].combine_chunks()
        rises = pc.all(pc.less_equal(values[:-1], values[1:])).as_py() if len(values) > 1 else True
        if rises is False:
            wrong.append(f"{table.name} {key}: {order} falls")
    return wrong
