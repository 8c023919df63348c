"""What comes next: one delivery, one refusal set aside, or how long to wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pyarrow as pa
import structlog

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError
from neural_gpu_bus.stores.postgres.write_behind.backoff import (
    LONGEST_S,
    LONGEST_TABLE_S,
    Backoff,
)
from neural_gpu_bus.stores.postgres.write_behind.coalescing import goes_with
from neural_gpu_bus.stores.postgres.write_behind.delivery import (
    LOCK_TIMEOUT_S,
    LOCK_TIMEOUT_S_MAX,
    Batch,
    Delivered,
)
from neural_gpu_bus.stores.postgres.write_behind.payload import decode_payload
from neural_gpu_bus.stores.postgres.write_behind.record_format import Record
from neural_gpu_bus.stores.postgres.write_behind.set_aside import SetAside
from neural_gpu_bus.stores.postgres.write_behind.shelf import Shelf, Turn
from neural_gpu_bus.stores.postgres.write_behind.verdicts import Verdict, verdict_on

_log = structlog.get_logger(__name__)

#: Of one transaction. Beyond this a second one costs less than the memory of one.
RECORDS_MAX = 1_000
ROWS_MAX = 100_000
BYTES_MAX = 16 << 20

#: Tries of one record that may never go in.
DOUBTFUL_TRIES = 5

#: Jobs found to be repeated that are still told to who waits for them.
_REPEATED_KEPT = 10_000


@dataclass(slots=True)
class Tally:
    """What was delivered so far, by this process."""

    records: int = 0
    rows: int = 0
    refused: int = 0
    #: The log has everything delivered so far up to here; empty before the first delivery.
    lsn: str = ""
    last_error: str = ""
    is_server_away: bool = False
    #: Journal and sequence of records whose job had been stored before, newest last.
    repeated: dict[tuple[str, int], None] = field(default_factory=dict)


@dataclass(slots=True)
class _TableState:
    backoff: Backoff
    #: Records that the next batch may have: halved by a refusal until one record is left.
    records_max: int = RECORDS_MAX


class Deliverer:
    """Takes turns among the tables. Used by one thread.

    ``deliver`` writes a batch (``Courier.deliver``). ``clock``: seconds, never going back.
    """

    def __init__(
        self,
        shelf: Shelf,
        deliver: Callable[[Batch], Delivered],
        set_aside: SetAside,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self.tally = Tally()
        self._shelf = shelf
        self._deliver = deliver
        self._set_aside = set_aside
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311  (spreads retries, keeps no secret)
        self._server = Backoff(clock, self._chance, LONGEST_S)
        self._states: dict[str, _TableState] = {}

    def hurry(self, *, tables: bool) -> None:
        """The server is tried at once, whatever failed before; with ``tables``, each table too."""
        self._server.hurry()
        for state in self._states.values() if tables else ():
            state.backoff.hurry()

    def turn_all(self) -> float | None:
        """One turn for each table that is ready, unless the server goes away. Seconds until the
        next one may come; None when nothing waits.
        """
        tables = self._shelf.tables()
        self._states = {table: self._states[table] for table in tables if table in self._states}
        if not tables:
            return None
        waits_s = []
        for table in tables:
            if self._server.left_s():
                return self._server.left_s()
            state = self._state(table)
            if not state.backoff.left_s():
                self._take_turn(table, state)
            waits_s.append(state.backoff.left_s())
        return min(waits_s)

    def _state(self, table: str) -> _TableState:
        state = self._states.get(table)
        if state is None:
            state = _TableState(Backoff(self._clock, self._chance, LONGEST_TABLE_S))
            self._states[table] = state
        return state

    def _take_turn(self, table: str, state: _TableState) -> None:
        turn = self._shelf.turn(table, state.records_max, BYTES_MAX)
        if turn is None:
            return
        try:
            patience_s = min(
                LOCK_TIMEOUT_S_MAX, LOCK_TIMEOUT_S * 2.0 ** min(state.backoff.failures, 9)
            )
            batch = replace(self._read(turn), lock_timeout_s=patience_s)
            delivered = self._deliver(batch)
        except Exception as error:  # noqa: BLE001  (what it means is told by ``verdict_on``)
            self._failed(turn, state, error)
        else:
            self._succeeded(turn, state, delivered)

    def _read(self, turn: Turn) -> Batch:
        """The records that go together, within the limits of one transaction."""
        records: list[Record] = []
        tables: list[pa.Table] = []
        rows_left = ROWS_MAX
        for place in turn.places:
            record = turn.journal.read(place)
            if record is None and not records:
                raise ProtocolError(
                    "the record's bytes on disk are no longer what was written",
                    hint="check the disk; store the rows again if you have them, then drop these",
                    position=place.position,
                )
            if record is None:
                break
            rows_left -= record.metadata.rows
            if records and (rows_left < 0 or not goes_with(records[0].metadata, record.metadata)):
                break
            table = decode_payload(record.payload)
            if records and not table.schema.equals(tables[0].schema):
                break
            records.append(record)
            tables.append(table)
        return Batch(turn.journal.name, turn.table, records, tables)

    def _succeeded(self, turn: Turn, state: _TableState, delivered: Delivered) -> None:
        tally = self.tally
        tally.lsn, tally.is_server_away = delivered.lsn, False
        tally.rows += delivered.rows
        for sequence in delivered.repeated:
            tally.repeated[turn.journal.name, sequence] = None
        while len(tally.repeated) > _REPEATED_KEPT:
            del tally.repeated[next(iter(tally.repeated))]
        tally.records += self._shelf.done(turn.journal, turn.table, delivered.through)
        self._server.succeeded()
        state.backoff.succeeded()
        state.records_max = min(RECORDS_MAX, 2 * state.records_max)

    def _failed(self, turn: Turn, state: _TableState, error: Exception) -> None:
        verdict = verdict_on(error)
        self.tally.last_error = _words(error)
        self._note_server(verdict, error)
        if verdict is Verdict.SERVER_AWAY:
            return
        state.backoff.failed()
        if verdict is Verdict.TABLE_BUSY:
            return
        if len(turn.places) > 1:
            # Halved until the bad record is alone: those before it go in on the way.
            state.records_max = len(turn.places) // 2
        elif not self._is_hopeless(verdict, state) or not self._refused(turn, error):
            return
        state.backoff.succeeded()

    @staticmethod
    def _is_hopeless(verdict: Verdict, state: _TableState) -> bool:
        return verdict is Verdict.REFUSED or state.backoff.failures >= DOUBTFUL_TRIES

    def _note_server(self, verdict: Verdict, error: Exception) -> None:
        is_away = verdict is Verdict.SERVER_AWAY
        if is_away:
            self._server.failed()
            if not self.tally.is_server_away:
                _log.warning("rows wait on disk for PostgreSQL", error=_words(error))
        else:
            self._server.succeeded()
        self.tally.is_server_away = is_away

    def _refused(self, turn: Turn, error: Exception) -> bool:
        """Whether the first record could be set aside; else its table waits, and no other."""
        try:
            self._refuse(turn, error)
        except OSError as trouble:
            self.tally.last_error = f"{_words(error)}; the rows cannot be set aside: {trouble}"
            _log.warning("rows cannot be set aside", table=turn.table, error=str(trouble))
            return False
        return True

    def _refuse(self, turn: Turn, error: Exception) -> None:
        place = turn.places[0]
        data = turn.journal.read_bytes(place)
        record = turn.journal.read(place)
        refused = self._set_aside.add(turn.journal.name, place.sequence, data, record, error)
        self.tally.refused += 1
        self._shelf.done(turn.journal, turn.table, place.sequence)
        _log.warning(
            "rows were refused and are set aside",
            table=turn.table,
            id=refused.id,
            rows=refused.rows,
            reason=refused.reason,
        )


def _words(error: Exception) -> str:
    return error.what if isinstance(error, NeuralGpuBusError) else repr(error)
