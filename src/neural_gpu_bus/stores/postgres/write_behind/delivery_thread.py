"""The thread that delivers: begun at first use, woken by new rows, ended by ``close``."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import suppress

import structlog

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.stores.postgres.write_behind.deliverer import Deliverer, Tally
from neural_gpu_bus.stores.postgres.write_behind.delivery import Courier
from neural_gpu_bus.stores.postgres.write_behind.journal import Journal
from neural_gpu_bus.stores.postgres.write_behind.journal_folder import JournalFolder
from neural_gpu_bus.stores.postgres.write_behind.journal_writer import JournalWriter
from neural_gpu_bus.stores.postgres.write_behind.room import Room
from neural_gpu_bus.stores.postgres.write_behind.shelf import Shelf

_log = structlog.get_logger(__name__)

#: How often journals of processes that have ended are looked for.
LOOK_S = 5.0
#: After trouble that is not the server's: the disk's, say.
_TROUBLE_S = 1.0


class DeliveryThread:
    """Delivers what is on the shelf, and takes over what others left. Begins at once."""

    def __init__(self, shelf: Shelf, folder: JournalFolder, courier: Courier, room: Room) -> None:
        self._shelf = shelf
        self._folder = folder
        self._courier = courier
        self._room = room
        self._deliverer = Deliverer(shelf, courier.deliver, folder.set_aside)
        self._own: Journal | None = None
        self._writer: JournalWriter | None = None
        self._woken = threading.Event()
        self._hurried = threading.Event()
        self._end_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="ngb-write-behind", daemon=True)
        self._thread.start()

    @property
    def tally(self) -> Tally:
        """What was delivered so far."""
        return self._deliverer.tally

    def own(self, journal: Journal, writer: JournalWriter) -> None:
        """The journal that this process adds to."""
        self._own, self._writer = journal, writer

    def wake(self) -> None:
        """Rows came. While the server is away they change nothing."""
        self._woken.set()

    def hurry(self) -> None:
        """Somebody waits: try the server now."""
        self._hurried.set()
        self._woken.set()

    def close(self, timeout_s: float) -> None:
        """Deliver for so long at most, then let the journals go."""
        self._end_s = time.monotonic() + timeout_s
        self.hurry()
        # One transaction may be under way when the time is up.
        self._thread.join(timeout_s + _TROUBLE_S)
        if self._thread.is_alive():
            _log.warning(
                "a delivery does not end; its journals stay locked until this process does"
            )
            return
        for journal in self._shelf.journals():
            journal.let_go()

    def _run(self) -> None:
        look_s = 0.0
        while True:
            self._woken.clear()
            if self._hurried.is_set():
                self._hurried.clear()
                self._deliverer.hurry(tables=self._end_s is not None)
            wait_s = self._turn(time.monotonic() >= look_s)
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + LOOK_S
            if self._is_over(wait_s):
                return
            self._wait(min(LOOK_S if wait_s is None else wait_s, look_s - time.monotonic()))

    def _turn(self, look: bool) -> float | None:
        """One turn of everything; seconds until the next, None when nothing waits."""
        try:
            if look:
                self._look()
            wait_s = self._deliverer.turn_all()
            if self._finish_delivered() or look:
                self._forget_finished()
        except Exception as error:  # noqa: BLE001  (rows wait behind this thread)
            # Where, without the values that stood there: those are users' rows.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("write-behind goes on after an error", error=repr(error), where=where)
            return _TROUBLE_S
        return wait_s

    def _is_over(self, wait_s: float | None) -> bool:
        """Whether ``close`` was called, and there is nothing left to do or no time to do it."""
        if self._end_s is None:
            return False
        if wait_s is None and self._finish_own():
            return True
        return self.tally.is_server_away or time.monotonic() >= self._end_s

    def _wait(self, timeout_s: float) -> None:
        if timeout_s > 0:
            event = self._hurried if self.tally.is_server_away else self._woken
            event.wait(timeout_s)

    def _look(self) -> None:
        """Take over what is nobody's, and count what is others'."""
        try:
            taken = self._folder.take_over(self._shelf.names())
        except OSError as error:
            _log.warning("journals of earlier processes cannot be read", error=str(error))
            return
        for journal in taken:
            self._shelf.add(journal)
            records, nbytes = journal.waiting()
            if records:
                _log.info("rows of an earlier process are delivered", records=records, bytes=nbytes)
        with suppress(OSError):
            self._room.note_others(self._folder.others_bytes(self._shelf.names()))

    def _finish_delivered(self) -> bool:
        """Journals that are all in PostgreSQL go; whether there was one."""
        finished = False
        for journal in self._shelf.journals():
            if journal is not self._own and journal.is_delivered:
                self._folder.finish(journal)
                self._shelf.remove(journal)
                finished = True
        own, writer = self._own, self._writer
        is_filling = self._room.used_bytes > self._room.bytes_max // 2
        if is_filling and own is not None and writer is not None and not own.tables():
            writer.retire_segment()
        return finished

    def _finish_own(self) -> bool:
        """At the end: the own journal goes too, where nothing is left in it."""
        if self._own is not None and self._own.is_delivered:
            self._own = None
            self._finish_delivered()
            self._forget_finished()
        return not any(journal.tables() for journal in self._shelf.journals())

    def _forget_finished(self) -> None:
        """What the ledger says of journals that are gone goes too."""
        if self.tally.is_server_away:
            return
        # At the next look, or by the next process: a row more harms nobody.
        with suppress(NeuralGpuBusError):
            for name in self._folder.finished():
                self._courier.forget(name)
                self._folder.forget(name)
            for name in self._folder.settled():
                self._courier.forget(name)
                self._folder.set_aside.forget_settled(name)
