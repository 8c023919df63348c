"""Where to ask: in PostgreSQL, or here over rows read from it. Estimates from measured rates.

The server's own estimate counts in units of its cost model; how long a unit takes is learnt from
statements that ran, as are the bytes a second that are read and the values a second folded here.
Until something was measured the rates of one machine stand in, and the plan says so.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Engine = Literal["resident", "database"]

#: A rate from a file lies above 0, and is no infinity.
_Rate = Annotated[float, msgspec.Meta(gt=0, lt=1e15)]

#: How much a new measurement counts beside all before.
_WEIGHT = 0.3
#: A measurement this far off moves a rate by no more: a machine sleeps, a cache is cold.
_FACTOR_MAX = 10.0
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
    """The cheaper way. ``values``: columns that would be folded here, for each row read."""
    nbytes = read.rows * read.row_bytes
    database_s = asked_there.cost * rates.cost_unit_s
    transfer_s = max(nbytes / rates.read_bytes_per_s, read.cost * rates.cost_unit_s)
    resident_s = transfer_s + read.rows * values / rates.values_per_s
    engine: Engine = "database" if database_s <= resident_s else "resident"
    measured = rates.database_runs > 0 and rates.resident_runs > 0
    basis = "measured on this server" if measured else "not yet all measured on this server"
    first, second = (database_s, resident_s) if engine == "database" else (resident_s, database_s)
    way = "asking PostgreSQL" if engine == "database" else "reading the rows and folding them here"
    why = f"{way} is estimated at {first:.3g} s, the other way at {second:.3g} s ({basis})"
    return AggregatePlan(engine, why, sql, read.rows, nbytes, database_s, resident_s, measured)


def learnt(rate: float, measured: float, runs: int) -> float:
    """The first measurement counts alone, later ones move the rate towards them."""
    if runs == 0:
        return measured
    near = min(max(measured, rate / _FACTOR_MAX), rate * _FACTOR_MAX)
    return rate + _WEIGHT * (near - rate)


def after_database(rates: Rates, cost: float, seconds: float) -> Rates:
    """Rates after a statement of that cost took so long."""
    if seconds < _MEASURED_S_MIN or cost <= 0:
        return rates
    unit_s = learnt(rates.cost_unit_s, seconds / cost, rates.database_runs)
    return msgspec.structs.replace(rates, cost_unit_s=unit_s, database_runs=rates.database_runs + 1)


def after_resident(rates: Rates, nbytes: int, read_s: float, values: int, folded_s: float) -> Rates:
    """Rates after so many bytes were read, and so many values folded."""
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
