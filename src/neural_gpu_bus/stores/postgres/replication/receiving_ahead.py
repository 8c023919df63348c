"""Receives on while what came before is applied.

A server's process that sends sleeps as soon as the socket is full: a Unix socket after 300 rows,
however few bytes they are, because each is sent by itself. So without this the server and we worked
in turns: 1,000,000 updates took as long as both together.
"""

from __future__ import annotations

import select
import threading
import time
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import NeuralGpuBusError

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
    from neural_gpu_bus.stores.postgres.replication.stream_sources import StreamSource

#: A batch with fewer bytes is applied before a thread has begun: about 2,000 rows.
AHEAD_FROM_BYTES = 1 << 18
#: So much is received while one batch is applied, at most.
AHEAD_BYTES_MAX = 32 << 20
#: Between two looks where bytes come: the server is to find room, and not to wake us for each row.
PAUSE_S = 0.000_3
#: How long one look waits: who ends this waits as long at most.
WAIT_MS = 1


class ReceivingAhead:
    """A thread from ``begin`` to ``end``, which alone fills the buffer meanwhile. Bytes that were
    there before stay where they are.
    """

    def __init__(self, buffer: ReceiveBuffer, fileno: int) -> None:
        self._buffer = buffer
        self._poll = select.poll()
        self._poll.register(fileno, select.POLLIN)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: NeuralGpuBusError | None = None

    def begin(self, source: StreamSource) -> None:
        """Receive on."""
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._run, args=(source,), name="ngb-wal-ahead", daemon=True
        )
        self._thread.start()

    def end(self) -> NeuralGpuBusError | None:
        """The buffer is the caller's again; what ended the stream, if anything did."""
        if self._thread is None:
            return None
        self._ended.set()
        self._thread.join()
        self._thread = None
        failure, self._failure = self._failure, None
        return failure

    def _run(self, source: StreamSource) -> None:
        limit = min(self._buffer.stop + AHEAD_BYTES_MAX, self._buffer.bytes_max)
        try:
            while not self._ended.is_set() and self._buffer.stop < limit:
                if source.fill():
                    time.sleep(PAUSE_S)
                else:
                    self._poll.poll(WAIT_MS)
        except NeuralGpuBusError as error:
            self._failure = error
