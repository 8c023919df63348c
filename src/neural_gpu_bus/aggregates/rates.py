"""Where to ask: in PostgreSQL, or here over rows read from it. Estimates from measured rates.

The server's own estimate counts in units of its cost model; how long a unit takes is learnt from
statements that ran, as are the bytes a second that are read and the values a second folded here.
Until something was measured the rates of one machine stand in, and the plan says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Engine = Literal["resident", "database"]

_WAYS: Mapping[Engine, str] = {
    "database": "asking PostgreSQL",
    "resident": "folding the rows here",
}

#: A rate from a file lies above 0, and is no infinity.
_Rate = Annotated[float, msgspec.Meta(gt=0, lt=1e15)]

#: How much a new measurement counts beside all before, at least.
_WEIGHT = 0.3
#: A measurement this far off moves a rate by no more, the first one too: a machine sleeps, a cache
#: is cold.
_FACTOR_MAX = 10.0
#: The other way is tried again once this many times its estimate were spent on the one taken: what
#: it was measured by may have been a bad moment. So trying costs a twentieth at most.
_TRIED_AFTER = 20.0
#: Measurements of it after which that holds; before, it is tried sooner.
_TRIED_RUNS = 5
#: What is tried takes no longer, and no more memory.
_TRIED_S_MAX = 2.0
_TRIED_BYTES_MAX = 64 << 20
#: Servers remembered in the file; the one measured longest ago goes first.
SERVERS_MAX = 100
#: Shorter runs measure the round trip.
_MEASURED_S_MIN = 0.001


class Rates(msgspec.Struct, frozen=True):
    """What was measured of one server. Defaults: PostgreSQL 18 on loopback, two cores of an AMD
    EPYC, 2026-11-22 (``docs/decisions/015-aggregates.md``).
    """

    #: Seconds that one unit of the server's cost takes.
    cost_unit_s: _Rate = 8e-6
    #: Bytes of columns that arrive in a second, decoded.
    read_bytes_per_s: _Rate = 1.5e8
    #: Values folded here in a second.
    values_per_s: _Rate = 2e8
    #: Statements that each way was measured by.
    database_runs: Annotated[int, msgspec.Meta(ge=0)] = 0
    resident_runs: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: Seconds that the other way took in all since this one was last measured.
    database_unmeasured_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    resident_unmeasured_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class AggregatePlan(msgspec.Struct, frozen=True):
    """Which way one question goes, and why; seconds are estimates."""

    engine: Engine
    #: In words.
    why: str
    #: The statement that would run on the server; empty where no server is asked.
    sql: str = ""
    #: Rows and bytes that would be read to answer here.
    rows: int = 0
    nbytes: int = 0
    database_s: float = 0.0
    resident_s: float = 0.0
    #: Whether both ways were measured on this server before.
    measured: bool = False

    def __str__(self) -> str:
        lines = [f"way        {_WAYS[self.engine]}", f"why        {self.why}"]
        if self.sql:
            estimates = (("database", self.database_s), ("resident", self.resident_s))
            lines += [f"{name:<10} {shown_s(seconds)}, estimated" for name, seconds in estimates]
        lines.append(f"rows       {self.rows:,}, {self.nbytes / 1e6:,.1f} MB")
        return "\n".join([*lines, f"statement  {self.sql}"] if self.sql else lines)


class Estimate(msgspec.Struct, frozen=True):
    """The server's own estimate of a statement (EXPLAIN)."""

    #: In units of its cost model, all rows returned.
    cost: float
    rows: int
    #: Bytes of one row on the server.
    row_bytes: int


def choose(
    rates: Rates, asked_there: Estimate, read: Estimate, *, values: int, sql: str
) -> AggregatePlan:
    """The cheaper way. ``values``: columns that would be folded here, for each row read; a count of
    rows folds none, and then nothing is gained by reading them.
    """
    nbytes = read.rows * read.row_bytes
    database_s = asked_there.cost * rates.cost_unit_s
    transfer_s = max(nbytes / rates.read_bytes_per_s, read.cost * rates.cost_unit_s)
    resident_s = transfer_s + read.rows * values / rates.values_per_s
    engine: Engine = "database" if database_s <= resident_s or not values else "resident"
    measured = rates.database_runs > 0 and rates.resident_runs > 0
    basis = "measured on this server" if measured else "not yet all measured on this server"
    ways = {
        "database": (_WAYS["database"], database_s),
        "resident": (_WAYS["resident"], resident_s),
    }
    (way, way_s), (other, other_s) = ways[engine], ways[_other(engine)]
    why = f"{way} is estimated at {shown_s(way_s)}, {other} at {shown_s(other_s)} ({basis})"
    if not values:
        why = "rows are counted by PostgreSQL: to read them is more work"
    elif _is_tried(rates, _other(engine), other_s, nbytes):
        engine = _other(engine)
        why += f"; {other} is tried again, to measure it"
    return AggregatePlan(engine, why, sql, read.rows, nbytes, database_s, resident_s, measured)


def _other(engine: Engine) -> Engine:
    return "resident" if engine == "database" else "database"


def _is_tried(rates: Rates, engine: Engine, estimate_s: float, nbytes: int) -> bool:
    """Whether the slower way is due again, and cheap enough."""
    if engine == "database":
        due_s, runs = rates.database_unmeasured_s, rates.database_runs
    else:
        due_s, runs = rates.resident_unmeasured_s, rates.resident_runs
        if nbytes > _TRIED_BYTES_MAX:
            return False
    # What was measured once or twice is soonest wrong.
    patience = _TRIED_AFTER * min(max(runs, 1) / _TRIED_RUNS, 1.0)
    return estimate_s <= _TRIED_S_MAX and due_s >= patience * max(estimate_s, _MEASURED_S_MIN)


def shown_s(seconds: float) -> str:
    """A time for people: ``12 ms``, ``3.4 s``."""
    if seconds >= 1.0:
        return f"{seconds:,.1f} s"
    return f"{1e3 * seconds:.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.2g} ms"


def learnt(rate: float, measured: float, runs: int) -> float:
    """The rate after a measurement more: a geometric mean, in which the first one moves the default
    by a factor of 10 at most, and the second counts as much as the first.
    """
    near = min(max(measured, rate / _FACTOR_MAX), rate * _FACTOR_MAX)
    weight = max(_WEIGHT, 1.0 / (runs + 1))
    return float(rate * (near / rate) ** weight)


def after_database(rates: Rates, cost: float, seconds: float) -> Rates:
    """Rates after a statement of that cost took so long."""
    waited_s = rates.resident_unmeasured_s + seconds
    rates = msgspec.structs.replace(
        rates, resident_unmeasured_s=waited_s, database_unmeasured_s=0.0
    )
    if seconds < _MEASURED_S_MIN or cost <= 0:
        return rates
    unit_s = learnt(rates.cost_unit_s, seconds / cost, rates.database_runs)
    return msgspec.structs.replace(rates, cost_unit_s=unit_s, database_runs=rates.database_runs + 1)


def after_resident(rates: Rates, nbytes: int, read_s: float, values: int, folded_s: float) -> Rates:
    """Rates after so many bytes were read, and so many values folded."""
    waited_s = rates.database_unmeasured_s + read_s + folded_s
    rates = msgspec.structs.replace(
        rates, database_unmeasured_s=waited_s, resident_unmeasured_s=0.0
    )
    if read_s < _MEASURED_S_MIN or nbytes <= 0:
        return rates
    runs = rates.resident_runs
    values_per_s = values / max(folded_s, _MEASURED_S_MIN)
    return msgspec.structs.replace(
        rates,
        read_bytes_per_s=learnt(rates.read_bytes_per_s, nbytes / read_s, runs),
        values_per_s=learnt(rates.values_per_s, max(values_per_s, 1.0), runs),
        resident_runs=runs + 1,
    )


class RatesFile:
    """Rates of all servers in one file; what cannot be read counts as never measured."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, server: str) -> Rates:
        """Of that server."""
        return self._all().get(server, Rates())

    def write(self, server: str, rates: Rates) -> None:
        """Replace that server's; a full disk loses a measurement and nothing else."""
        known = self._all()
        known.pop(server, None)
        known[server] = rates
        kept = dict(list(known.items())[-SERVERS_MAX:])
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_bytes(msgspec.json.encode(kept))
            beside.replace(self._path)

    def _all(self) -> dict[str, Rates]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Rates])
        except (OSError, msgspec.MsgspecError):
            return {}
