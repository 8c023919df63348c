"""``ngb live watch`` where no terminal is: a line for each table and look."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from neural_gpu_bus.cli.console import printable
from neural_gpu_bus.live.waiting import spelled
from neural_gpu_bus.quantities import plural, size, span

if TYPE_CHECKING:
    from neural_gpu_bus.live.looking import LiveNow, LiveTableNow


def live_lines(before: LiveNow, now: LiveNow, *, wall_ns: int) -> Iterator[str]:
    """``12:30:01 bars live 1,200 rows/s lag 42 ms 3,000 rows at 0/1A2B3C8``; ``wall_ns``: now."""
    seconds = max(1e-9, (now.at_ns - before.at_ns) / 1e9)
    earlier = {one.name: one for one in before.tables}
    at = datetime.fromtimestamp(wall_ns // 10**9, UTC).strftime("%H:%M:%S")
    for one in now.tables:
        told = [at, printable(one.name), *_standing(one)]
        changes = _changes(one) - _changes(earlier.get(one.name))
        told.append(f"{max(0.0, changes / seconds):,.0f} rows/s")
        if one.rows is not None:
            told.append(plural(one.rows, "row"))
        if one.as_of is not None and one.as_of.lsn:
            told.append(f"at {spelled(one.as_of.lsn)}")
        yield " ".join(told)
    if now.tables:
        received = max(0, now.received_lsn - before.received_lsn)
        taken = f", {size(now.nbytes)} of shared memory" if now.nbytes else ""
        yield f"{at} {size(received / seconds)}/s of WAL, process {now.pid or 'none'}{taken}"
    else:
        yield f"{at} no table is live"


def _standing(one: LiveTableNow) -> Iterator[str]:
    if one.state is None or one.as_of is None:
        yield "not begun"
        return
    yield one.state.state
    lag_s = one.as_of.lag_s
    yield "lag ?" if math.isinf(lag_s) else f"lag {span(lag_s * 1e9)}"


def _changes(one: LiveTableNow | None) -> int:
    return one.state.changes if one is not None and one.state is not None else 0
