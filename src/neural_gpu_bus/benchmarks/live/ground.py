"""Where the questions about live tables are asked: a schema of its own, sizes, a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pathlib import Path

    from neural_gpu_bus.benchmarks.case import CaseWatcher
    from neural_gpu_bus.benchmarks.memory.spread import ClockNs
    from neural_gpu_bus.plane import DataPlane

#: Dropped before and after, also in a database that is somebody's own: nobody else uses the name.
SCHEMA = "ngb_bench_live"
#: Live all the time, so that the process that follows stays between questions.
_KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each question takes."""

    #: How long rows are written while somebody waits for them.
    seconds: float
    #: Transactions in a second, whatever rows one has.
    commits_per_s: int
    #: Rows in a second.
    rates: tuple[int, ...]
    #: Rows of the tables that are applied and copied.
    rows: int
    #: Newest rows that are looked at.
    newest: int
    #: Timed runs of what takes long.
    repeats: int
    #: Of the largest table, and how many partitions it has.
    many_rows: int
    partitions: int
    #: Small tables that are live at once.
    tables: int


FULL = Sizes(
    seconds=5.0,
    commits_per_s=1_000,
    rates=(1_000, 20_000),
    rows=1_000_000,
    newest=10_000,
    repeats=3,
    many_rows=10_000_000,
    partitions=1_000,
    tables=100,
)
QUICK = Sizes(
    seconds=0.2,
    commits_per_s=100,
    rates=(2_000,),
    rows=2_000,
    newest=100,
    repeats=1,
    many_rows=5_000,
    partitions=20,
    tables=2,
)


@dataclass(frozen=True, slots=True)
class LiveGround:
    """Handed to each question."""

    plane: DataPlane
    dsn: str
    sizes: Sizes
    clock_ns: ClockNs
    watcher: CaseWatcher
    #: Autocommit, UTC; makes, fills and empties tables, untimed.
    connection: psycopg.Connection

    @property
    def home(self) -> Path:
        """Where other processes find the same plane."""
        return self.plane.attachment.settings.home

    def table(self, name: str) -> str:
        """Its name in the schema of this run."""
        return f"{SCHEMA}.{name}"

    def run(self, statement: str) -> None:
        """On the untimed connection."""
        self.connection.execute(statement.encode())


@contextmanager
def live_ground(
    plane: DataPlane, sizes: Sizes, clock_ns: ClockNs, watcher: CaseWatcher
) -> Iterator[LiveGround]:
    """An empty schema, which is gone afterwards."""
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with ExitStack() as closing:
        connection = closing.enter_context(psycopg.connect(dsn, autocommit=True))
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        closing.callback(connection.execute, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.execute(f"CREATE TABLE {SCHEMA}.{_KEPT} (id bigint PRIMARY KEY)")
        plane.live(f"{SCHEMA}.{_KEPT}", name=f"ngb_bench_{_KEPT}")
        closing.callback(plane.drop_live, f"ngb_bench_{_KEPT}")
        yield LiveGround(plane, dsn, sizes, clock_ns, watcher, connection)
