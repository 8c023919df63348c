"""Tells the server how far we are, from a thread of its own.

A server that hears nothing for ``wal_sender_timeout`` ends the stream, and it keeps its log from
the last position that was acknowledged on. So the status goes out by a timer, whatever becomes of
the transactions meanwhile, and at once when there is news.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable

from neural_gpu_bus.errors import BadParameterError, NeuralGpuBusError
from neural_gpu_bus.stores.postgres.replication.wal_positions import EPOCH_US, lsn_text

#: Also how often a server is asked for its position, which an idle one does not tell by itself.
STATUS_INTERVAL_S = 1.0

#: Message, written, flushed, applied, clock, whether an answer is wanted.
_STATUS = struct.Struct("!cQQQqB")


def status_message(received_lsn: int, durable_lsn: int, unix_us: int, *, ask: bool) -> bytes:
    """A standby status update, without its frame. ``ask``: for a keepalive in return."""
    clock_us = unix_us - EPOCH_US
    return _STATUS.pack(b"r", received_lsn, durable_lsn, durable_lsn, clock_us, ask)


class StatusSender:
    """Positions never go back. ``send`` takes a message, in any thread, one at a time."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        interval_s: float,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._send = send
        self.interval_s = interval_s
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._received = self._durable = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        #: Why the last status could not be sent; whoever receives meets it too.
        self.failure: NeuralGpuBusError | None = None

    def start(self, lsn: int) -> None:
        """Begin to send; ``lsn``: where the stream starts."""
        self._received, self._durable = max(self._received, lsn), max(self._durable, lsn)
        self._thread = threading.Thread(target=self._run, name="ngb-wal-status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def acknowledged_lsn(self) -> int:
        """What the server was told to be safe."""
        return self._durable

    def received(self, lsn: int, *, reply_wanted: bool = False) -> None:
        """The log has come so far; told by the timer, at once where the server asks."""
        self._received = max(self._received, lsn)
        if reply_wanted:
            self.send_status()

    def acknowledge(self, lsn: int) -> None:
        """Everything before ``lsn`` is safe: the server may drop its log. Sent at once; an earlier
        position than before changes nothing. Raises BadParameterError for one that has not come.
        """
        if lsn > self._received:
            raise BadParameterError(
                f"{lsn_text(lsn)} cannot be acknowledged: the stream has come to "
                f"{lsn_text(self._received)}",
                hint="acknowledge the end_lsn of a transaction that is applied, or a batch's "
                "keepalive_lsn",
                parameter="lsn",
            )
        if lsn > self._durable:
            self._durable = lsn
            self.send_status()

    def send_status(self, *, ask: bool = False) -> None:
        """Say it now."""
        with self._lock:
            durable, received = self._durable, self._received
            try:
                self._send(status_message(received, durable, self._clock_ns() // 1000, ask=ask))
            except NeuralGpuBusError as error:
                self.failure = error

    def _run(self) -> None:
        while not self._stopped.wait(self.interval_s):
            self.send_status(ask=True)
