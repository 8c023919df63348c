"""What a live table answers where it is not as fresh as was asked for."""

from __future__ import annotations

import math

from neural_gpu_bus.errors import BadParameterError, DatasetEvictedError, StaleError
from neural_gpu_bus.live.shared.freshness import LiveAsOf
from neural_gpu_bus.live.shared.manifest import TableState
from neural_gpu_bus.live.waiting import spelled


def too_old(found: LiveAsOf, max_lag_s: float) -> StaleError:
    """``max_lag_s`` was asked for."""
    age = "of unknown age" if math.isinf(found.lag_s) else f"up to {found.lag_s:.3f} s old"
    why = found.stale or "that is how far it is behind"
    return StaleError(
        f"live table {found.table!r} is {age}, {max_lag_s:g} s were asked for: {why}",
        hint="read without max_lag_s to see what there is; `ngb live show` tells how it stands",
        table=found.table,
        lag_s=found.lag_s,
        max_lag_s=max_lag_s,
        lsn=spelled(found.lsn),
        why=why,
    )


def nothing_to_see(state: TableState, found: LiveAsOf) -> StaleError:
    """No version of it was ever whole, or it failed, or it is not as of the others' position."""
    why = found.stale or f"it is {state.state} {state.detail}".strip()
    if state.how != "stream" and not found.stale:
        why += ", so as of no position of the stream"
    if state.error is not None:
        why += f" ({state.error.what})"
    hint = state.error.hint if state.error is not None and state.error.hint else ""
    return StaleError(
        f"live table {state.name!r} has no rows as of now: {why}{copied(state)}",
        hint=hint or "wait for it: table.wait_live(timeout_s=60); `ngb live show` tells more",
        table=state.name,
        why=why,
    )


def not_reached(state: TableState, found: LiveAsOf, wanted: int, timeout_s: float) -> StaleError:
    """It was waited for a position, or with 0 until it is live."""
    why = found.stale or "the stream is behind"
    what = f"did not reach {spelled(wanted)}" if wanted else "was not live"
    at = f", it shows {spelled(found.lsn)}" if found.lsn else ""
    return StaleError(
        f"live table {state.name!r} {what} in {timeout_s:g} s{at}: {why}{copied(state)}",
        hint="wait longer (timeout_s=); `ngb live show` tells how it stands",
        table=state.name,
        lsn=spelled(wanted),
        timeout_s=timeout_s,
        why=why,
    )


def passed(table: str, wanted: int, shown: int) -> DatasetEvictedError:
    """A position that nobody kept."""
    return DatasetEvictedError(
        f"live table {table!r} has passed {spelled(wanted)}: it shows {spelled(shown)}",
        hint="positions that were passed are not kept; take a snapshot() when you are there, and "
        "hold it for as long as you need it",
        name=table,
        version=0,
    )


def without_positions(table: str) -> BadParameterError:
    """A position was waited for, of a table that is polled."""
    return BadParameterError(
        f"live table {table!r} is followed by polling, which knows no positions",
        hint="ask for an age (max_lag_s=), wait_for_change(), or follow it by triggers",
        parameter="lsn",
    )


def copied(state: TableState) -> str:
    """How far its copy is."""
    if not state.rows_copied and not state.rows_expected:
        return ""
    of = f" of about {state.rows_expected:,}" if state.rows_expected > state.rows_copied else ""
    return f"; {state.rows_copied:,}{of} rows are copied"
