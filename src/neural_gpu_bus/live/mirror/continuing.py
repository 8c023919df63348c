"""The home's slot, and whether a stream goes on where the one before it ended.

A persistent slot makes the server keep what was committed while nobody read. Live tables go on
from it where the log, the slot and the tables are those of before; else they are copied anew, and
that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError, ReplicationError
from neural_gpu_bus.live.mirror.stream_record import KeptTable, RecordFile, StreamRecord
from neural_gpu_bus.stores.postgres.replication.slots import SlotFacts, judge
from neural_gpu_bus.stores.postgres.replication.timelines import left_at
from neural_gpu_bus.stores.postgres.replication.wal_positions import TimelineIdentity, lsn_text

if TYPE_CHECKING:
    from neural_gpu_bus.live.mirror.source import Source
    from neural_gpu_bus.live.shared.state import LiveState
    from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession

#: WAL that a persistent slot may keep on the server's disk.
SLOT_WAL_BYTES_MAX = 8 << 30
#: The slot is read by another session: ours of before, which the server has not missed yet.
_IN_USE = "55006"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream that can be started: its slot, from where, and the tables that go on with it."""

    slot: str
    position: int
    tables: tuple[KeptTable, ...] = ()
    #: Why tables that could have gone on do not.
    anew: str = ""


class Continuing:
    """Of one home, in the hands of its one live process."""

    def __init__(
        self,
        source: Source,
        file: RecordFile,
        state: LiveState,
        *,
        position: int = 0,
        wal_bytes_max: int = SLOT_WAL_BYTES_MAX,
    ) -> None:
        """``position``: where the columns and what was told of them had come."""
        self._source, self._file, self._state = source, file, state
        self._wal_bytes_max = wal_bytes_max
        self._record = file.load()
        self._why_anew = ""
        self._alarmed = ""
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="ngb-slot")
        self._look: Future[SlotFacts | None] | None = None
        #: Whether the stream that runs has a slot that outlives it.
        self.is_persistent = False
        if self._record is not None and position > self._record.position:
            self._set(replace(self._record, position=position))

    # ---- a stream begins

    def begin(self, session: StreamSession, persistent: bool, told: Callable[[str], None]) -> Begun:
        """Find or make the slot. Raises ServerError."""
        self.is_persistent = persistent
        if not persistent:
            self.forget_all()
            self._source.drop_persistent_slot(session.backend_pid)
            self._state.set_slot("")
            return Begun(*self._source.make_slot(session, told))
        self._source.end_zombies(session.backend_pid)
        identity, facts = session.identify(), self._source.persistent_slot()
        record, anew = self._record, self._refusal(session, identity, facts)
        if record is not None and record.tables and not anew:
            self._set(replace(record, timeline=identity.timeline))
            _log.info("the stream goes on", slot=record.slot, lsn=lsn_text(record.position))
            return Begun(record.slot, record.position, record.tables)
        return self._begin_anew(session, identity, facts, anew, told)

    def _begin_anew(
        self,
        session: StreamSession,
        identity: TimelineIdentity,
        facts: SlotFacts | None,
        anew: str,
        told: Callable[[str], None],
    ) -> Begun:
        if facts is not None and anew:
            _log.warning("live tables are copied anew", slot=facts.name, reason=anew)
        self.forget_all()
        if facts is not None:
            self._source.drop_persistent_slot(session.backend_pid)
        slot, position = self._source.make_persistent_slot(session, told)
        self._why_anew = ""
        self._set(
            StreamRecord(slot, identity.system_id, identity.timeline, identity.database, position)
        )
        return Begun(slot, position, anew=anew)

    def _refusal(
        self, session: StreamSession, identity: TimelineIdentity, facts: SlotFacts | None
    ) -> str:
        """Why the stream cannot go on; empty where it can."""
        record = self._record
        if self._why_anew:
            return self._why_anew
        if record is None:
            return "nothing is known of what was copied before" if facts is not None else ""
        if facts is None:
            return f"slot {record.slot} is gone"
        verdict, words = judge(facts, self._wal_bytes_max)
        if verdict in {"lost", "drop"}:
            return words
        if (record.system_id, record.database) != (identity.system_id, identity.database):
            return "it is another server, or another database of it"
        return (
            _other_history(session, identity, record)
            or _lost_end(identity, record)
            or _moved(facts, record.position)
        )

    def check(self, session: StreamSession, begun: Begun) -> None:
        """After START_REPLICATION: from now on nobody else moves the slot. Raises ReplicationError
        where somebody did, before: the server would leave out what lies between, in silence.
        """
        if not self.is_persistent:
            return
        facts = self._source.persistent_slot()
        if facts is None or facts.active_pid != session.backend_pid:
            raise _broken(begun.slot, "it is not the one that is read")
        moved = _moved(facts, begun.position)
        if moved:
            raise _broken(begun.slot, moved)

    # ---- what follows it

    def keep(self, table: KeptTable) -> None:
        """It is live, and published."""
        if self.is_persistent and self._record is not None:
            name = table.definition.name
            self._set(replace(self._record, tables=(*self._others(name), table)))

    def forget(self, name: str) -> None:
        """It does not follow the stream any more; *before* what it misses is published."""
        if self._record is not None and len(self._others(name)) < len(self._record.tables):
            self._set(replace(self._record, tables=self._others(name)))

    def forget_all(self) -> None:
        """What comes is another stream."""
        self._record = None
        self._file.remove()

    def close(self) -> None:
        """Wait for the look that runs."""
        self._asker.shutdown()

    def lose(self, error: NeuralGpuBusError, position: int) -> None:
        """The stream ended, with all up to ``position`` applied and published."""
        self._look = None
        refused = isinstance(error, ReplicationError) and error.facts.get("sqlstate") != _IN_USE
        if refused or isinstance(error, ProtocolError):
            # Its place in the log would be refused again, or the slot is what is wrong.
            self._why_anew = str(error).partition("\n")[0]
            self.forget_all()
        elif self._record is not None and position > self._record.position:
            self._set(replace(self._record, position=position))

    # ---- what the slot holds back

    def watch(self) -> None:
        """Tell of the WAL that the slot keeps. Raises ReplicationError beyond its budget: the
        stream ends, and the next one has another slot.
        """
        if not self.is_persistent:
            return
        if self._look is None:  # beside the stream, which does not wait for the answer
            self._look = self._asker.submit(self._source.persistent_slot)
        if not self._look.done():
            return
        look, self._look = self._look, None
        facts = look.result()
        if facts is None:
            return
        verdict, words = judge(facts, self._wal_bytes_max)
        if verdict == "drop":
            raise _broken(facts.name, words)
        alarm = words if verdict == "alarm" else ""
        if alarm and not self._alarmed:
            _log.warning("a slot keeps much WAL", slot=facts.name, reason=words)
        if alarm != self._alarmed or not alarm:
            self._state.set_slot(f"persistent slot {facts.name}", alarm=alarm)
        self._alarmed = alarm

    def _others(self, name: str) -> tuple[KeptTable, ...]:
        assert self._record is not None  # noqa: S101  asked before
        return tuple(one for one in self._record.tables if one.definition.name != name)

    def _set(self, record: StreamRecord) -> None:
        self._record = record
        self._file.save(record)


def _other_history(session: StreamSession, identity: TimelineIdentity, record: StreamRecord) -> str:
    """A promoted standby has what was committed before it left the old log, and nothing else."""
    if identity.timeline == record.timeline:
        return ""
    left = left_at(session.timeline_history(identity.timeline), record.timeline)
    if left is not None and record.position <= left:
        return ""
    at = "never" if left is None else f"at {lsn_text(left)}"
    return (
        f"the server was promoted or restored (timeline {identity.timeline}): it left timeline "
        f"{record.timeline} {at}, and tables are as of {lsn_text(record.position)}"
    )


def _lost_end(identity: TimelineIdentity, record: StreamRecord) -> str:
    if identity.flushed_lsn >= record.position:
        return ""
    return (
        f"the server's log ends at {lsn_text(identity.flushed_lsn)}, before "
        f"{lsn_text(record.position)} that tables are as of: it was put back"
    )


def _moved(facts: SlotFacts, position: int) -> str:
    if facts.confirmed_flush_lsn <= position:
        return ""
    return (
        f"somebody moved slot {facts.name} to {lsn_text(facts.confirmed_flush_lsn)}, and tables "
        f"are as of {lsn_text(position)}"
    )


def _broken(slot: str, why: str) -> ReplicationError:
    return ReplicationError(
        f"slot {slot} cannot be read on: {why}",
        hint="nothing is to be done: another slot is made, and its tables are copied again",
        slot=slot,
        sqlstate="",
    )
