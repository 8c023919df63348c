"""All journals that this process delivers, oldest first, and who waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from neural_gpu_bus.stores.postgres.write_behind.journal import Journal
from neural_gpu_bus.stores.postgres.write_behind.record_format import Record
from neural_gpu_bus.stores.postgres.write_behind.record_queue import Place


@dataclass(frozen=True, slots=True)
class Turn:
    """What comes next for one table."""

    journal: Journal
    table: str
    #: Oldest first, never none.
    places: list[Place]


class Shelf:
    """Thread-safe. ``changed`` is notified when records come or go."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._journals: list[Journal] = []

    def add(self, journal: Journal) -> None:
        """Names sort by when journals were made."""
        with self.changed:
            self._journals.append(journal)
            self._journals.sort(key=lambda one: one.name)
            self.changed.notify_all()

    def remove(self, journal: Journal) -> None:
        """It is delivered, or left to another process."""
        with self.changed:
            self._journals.remove(journal)
            self.changed.notify_all()

    def journals(self) -> list[Journal]:
        """All of them, oldest first."""
        with self.changed:
            return list(self._journals)

    def names(self) -> set[str]:
        """Of all of them."""
        return {journal.name for journal in self.journals()}

    def find(self, name: str) -> Journal | None:
        """The journal of that name."""
        return next((one for one in self.journals() if one.name == name), None)

    def notify(self) -> None:
        """Records came."""
        with self.changed:
            self.changed.notify_all()

    def tables(self) -> list[str]:
        """Tables that records wait for, each once, those of older journals first."""
        return list(dict.fromkeys(t for journal in self.journals() for t in journal.tables()))

    def turn(self, table: str, records_max: int, bytes_max: int) -> Turn | None:
        """The oldest records of that table: older journals come before newer ones."""
        for journal in self.journals():
            places = journal.head(table, records_max, bytes_max)
            if places:
                return Turn(journal, table, places)
        return None

    def done(self, journal: Journal, table: str, sequence: int) -> int:
        """Records of that table up to there are delivered or set aside; how many there were."""
        dropped = journal.drop_through(table, sequence)
        self.notify()
        return dropped

    def waiting(self) -> tuple[int, int]:
        """Records that wait, and their bytes."""
        found = [journal.waiting() for journal in self.journals()]
        return sum(records for records, _ in found), sum(nbytes for _, nbytes in found)

    def oldest_ns(self) -> int | None:
        """When the oldest record that waits was acknowledged."""
        times = []
        for table in self.tables():
            turn = self.turn(table, 1, 0)
            record = _readable(turn)
            if record is not None:
                times.append(record.metadata.stored_ns)
        return min(times, default=None)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """False when the condition did not come true in time."""
        with self.changed:
            return self.changed.wait_for(condition, timeout_s)


def _readable(turn: Turn | None) -> Record | None:
    try:
        return turn.journal.read(turn.places[0]) if turn is not None else None
    except OSError:
        return None  # delivered meanwhile
