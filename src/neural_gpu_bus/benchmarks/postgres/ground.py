"""Where the questions about PostgreSQL are asked: a schema of its own, sizes, connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from neural_gpu_bus.machine_cores import usable_cores

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseWatcher
    from neural_gpu_bus.benchmarks.memory.spread import ClockNs
    from neural_gpu_bus.plane import DataPlane

#: Dropped before and after, also in a database that is somebody's own: nobody else uses the name.
SCHEMA = "ngb_bench_postgres"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each question takes."""

    #: Rows of the tables that are read.
    rows: int
    #: Newest rows of one instrument.
    newest: int
    #: Rows that are stored, upserted, and stored durably at once.
    stored: int
    upserted: int
    few: int
    #: Rows and columns of the scaling question.
    scaled_rows: tuple[int, ...]
    scaled_columns: tuple[int, ...]
    #: Rows of the table whose columns are scaled.
    wide_rows: int
    #: Timed runs of everything that takes long, and of what takes milliseconds.
    repeats: int
    repeats_short: int


FULL = Sizes(
    rows=1_000_000,
    newest=10_000,
    stored=100_000,
    upserted=100_000,
    few=100,
    scaled_rows=(10_000, 100_000, 1_000_000, 10_000_000),
    scaled_columns=(2, 6, 12, 25, 50),
    wide_rows=200_000,
    repeats=7,
    repeats_short=41,
)
QUICK = Sizes(
    rows=5_000,
    newest=200,
    stored=2_000,
    upserted=1_000,
    few=50,
    scaled_rows=(1_000, 5_000),
    scaled_columns=(2, 5),
    wide_rows=2_000,
    repeats=2,
    repeats_short=3,
)


@dataclass(frozen=True, slots=True)
class PostgresGround:
    """Handed to each question."""

    plane: DataPlane
    dsn: str
    sizes: Sizes
    clock_ns: ClockNs
    watcher: CaseWatcher
    #: Autocommit, UTC; makes and empties tables, untimed.
    connection: psycopg.Connection
    #: Cores that this process may use.
    cores: int

    def table(self, name: str) -> str:
        """Its name in the schema of this run."""
        return f"{SCHEMA}.{name}"

    def run(self, statement: str) -> None:
        """On the untimed connection."""
        self.connection.execute(statement.encode())


@contextmanager
def postgres_ground(
    plane: DataPlane, sizes: Sizes, clock_ns: ClockNs, watcher: CaseWatcher
) -> Iterator[PostgresGround]:
    """An empty schema, which is gone afterwards."""
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with ExitStack() as closing:
        connection = closing.enter_context(psycopg.connect(dsn, autocommit=True))
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        closing.callback(connection.execute, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        yield PostgresGround(plane, dsn, sizes, clock_ns, watcher, connection, usable_cores())
