"""What is asked of a table, what was found out about it, and what came."""

from __future__ import annotations

from dataclasses import dataclass

from neural_gpu_bus.ports import Progress
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedPart
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.result_size import Estimate
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
from neural_gpu_bus.stores.postgres.reading.table.in_order import InOrder
from neural_gpu_bus.stores.postgres.reading.table.table_facts import TableFacts
from neural_gpu_bus.stores.postgres.reading.table.table_statement import TableQuestion
from neural_gpu_bus.stores.postgres.reading.time_limits import TimeLimit


@dataclass(frozen=True, slots=True)
class TableRequest:
    """What is asked of a table, how, and how long for."""

    question: TableQuestion
    limit: TimeLimit
    options: ReadOptions
    snapshot: Snapshot | str | None
    #: Wanted; None lets machine and table decide.
    connections: int | None
    progress: Progress | None
    #: Who gets the rows as they come; None: they are kept until all are there.
    batches: InOrder | None = None

    @property
    def lock_limit(self) -> bytes:
        """How long a lock is waited for. Whoever copies a live table holds it by another session:
        a change of the table would wait for that one, and we behind the change.
        """
        return b"" if self.batches is None else b"SET LOCAL lock_timeout = '1s'; "


@dataclass(frozen=True, slots=True)
class TableLook:
    """What is known of it before anything is read."""

    facts: TableFacts
    #: The condition, its parameters bound.
    where: str
    #: The planner's of the whole statement, where it was asked.
    estimate: Estimate | None

    @property
    def expected_rows(self) -> int | None:
        """None where nobody knows."""
        if self.estimate is not None:
            return self.estimate.rows
        return None if self.where else self.facts.rows


@dataclass(frozen=True, slots=True)
class ReceivedTable:
    """All rows of one read, not yet decoded; no parts where they were handed on as they came."""

    parts: list[ReceivedPart]
    connections: int
    ranges: int
    snapshot: str
    why_one: str
    #: Moment just before the snapshot was taken; 0 where not known.
    source_ns: int
    prepare_ns: int
