"""Where changes and other messages lie in what has been received: arrays that grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication import stream_kernels as kernels
from neural_gpu_bus.stores.postgres.replication.receiving_kernels import receive_whole

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer

    Integers = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]

#: Changes, and marks, that there is room for at first; it doubles.
ROOM_MIN = 4096
#: Room for more is given back when what it was for has gone: 33 bytes a change.
ROOM_KEPT_MAX = 1 << 20
#: Memory of the buffer that stays when a large transaction has gone.
KEPT_BYTES_MAX = 128 << 20

#: Arrays with a place for each change.
_CHANGES = ("kinds", "old_kinds", "oids", "new_at", "old_at")

_FAULTS = {
    kernels.BAD_LENGTH: "has a length that none can have",
    kernels.UNKNOWN_CONTENT: "is neither of the log nor a keepalive",
    kernels.BAD_KEEPALIVE: "is no whole keepalive",
    kernels.UNKNOWN_MESSAGE: "is of no kind that was asked for",
    kernels.BAD_TUPLE: "holds a row whose values do not fit into it",
    kernels.BAD_CHANGE: "is no whole change of a row",
    kernels.BAD_BORDER: "is no whole begin or end of a transaction",
    kernels.NESTED: "begins a transaction within another",
    kernels.OUTSIDE: "belongs to a transaction and stands outside of one",
}


class StreamWalk:
    """What a buffer holds, as far as it was looked at."""

    def __init__(self, buffer: ReceiveBuffer) -> None:
        self.buffer = buffer
        self._state = np.zeros(kernels.STATE_SLOTS, np.int64)
        self._state[kernels.RUN] = kernels.NO_CHANGES
        self._make_room()

    def _make_room(self) -> None:
        self.kinds: Bytes = np.empty(ROOM_MIN, np.uint8)
        self.old_kinds: Bytes = np.empty(ROOM_MIN, np.uint8)
        self.oids: Integers = np.empty(ROOM_MIN, np.int64)
        self.new_at: Integers = np.empty(ROOM_MIN, np.int64)
        self.old_at: Integers = np.empty(ROOM_MIN, np.int64)
        self.marks: Integers = np.zeros((ROOM_MIN, kernels.MARK_FIELDS), np.int64)

    def advance(self) -> bool:
        """Look at what has arrived; True where another kind of message stands at ``position``.
        Raises ProtocolError.
        """
        while self.position < self.buffer.stop:
            why = kernels.walk_stream(self.buffer.bytes, self.buffer.stop, *self._arrays)
            if why == kernels.FAULTY:
                raise self._fault()
            if why != kernels.FULL:
                return bool(why == kernels.OTHER_MESSAGE)
            self._grow()
        return False

    def receive(self, socket: int, wait_ms: int, open_bytes_max: int) -> bool:
        """Wait for bytes, and look at them until something is whole; whether any came. Not more
        than about ``open_bytes_max`` of a transaction that goes on.
        """
        buffer = self.buffer
        stop: int = receive_whole(
            *(socket, wait_ms, open_bytes_max, buffer.bytes, buffer.stop, buffer.bytes_max),
            *self._arrays,
        )
        came = stop > buffer.stop
        buffer.stop = stop
        return came

    @property
    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """What loops write to."""
        changes = self.kinds, self.old_kinds, self.oids, self.new_at, self.old_at
        return self._state, *changes, self.marks

    def __getitem__(self, slot: int) -> int:
        """One of the state's slots."""
        return int(self._state[slot])

    @property
    def position(self) -> int:
        """First byte not looked at."""
        return self[kernels.POSITION]

    def reply_wanted(self) -> bool:
        """Whether the server has asked for an answer since the last call."""
        wanted = bool(self._state[kernels.REPLY])
        self._state[kernels.REPLY] = 0
        return wanted

    def forget(self, end: int, *, is_open: bool) -> None:
        """Drop the bytes before ``end``; what follows is looked at again, within a transaction or
        not.
        """
        buffer, state = self.buffer, self._state
        buffer.cut_out(0, end)
        if buffer.touched_bytes > KEPT_BYTES_MAX and buffer.stop < KEPT_BYTES_MAX:
            rest = bytes(buffer.view[: buffer.stop])
            buffer.clear(KEPT_BYTES_MAX)
            buffer.view[: len(rest)] = rest
            buffer.stop = len(rest)
        received, reply = self[kernels.RECEIVED], self[kernels.REPLY]
        state[:] = 0
        state[kernels.RECEIVED], state[kernels.REPLY] = received, reply
        state[kernels.OPEN], state[kernels.RUN] = is_open, kernels.NO_CHANGES
        if len(self.kinds) > ROOM_KEPT_MAX or len(self.marks) > ROOM_KEPT_MAX:
            self._make_room()

    def _grow(self) -> None:
        """Room for twice as many of what there is no room for."""
        full = self[kernels.CHANGES] == len(self.kinds)
        for name in _CHANGES if full else ("marks",):
            found = getattr(self, name)
            grown = np.zeros((2 * len(found), *found.shape[1:]), found.dtype)
            grown[: len(found)] = found
            setattr(self, name, grown)

    def _fault(self) -> ProtocolError:
        position = self[kernels.FAULT_POSITION]
        return ProtocolError(
            f"the stream of changes is broken: the message at byte {position} of what was "
            f"received {_FAULTS[self[kernels.FAULT]]}",
            hint="connect again: nothing of it was applied; check what stands between this "
            "machine and the server",
            position=position,
        )
