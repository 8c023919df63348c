"""A TCP proxy that does to a connection what networks do: cut, hang, close by half, bend a byte."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["to_server", "to_client"]
Action = Literal["cut", "stall", "half_close", "corrupt", "delay", "insert"]

#: A CancelRequest is all that its connection carries; it never counts as one to be cut.
CANCEL_REQUEST = struct.pack("!II", 16, 80877102)

_CHUNK_BYTES = 1 << 16
_DELAY_S = 0.02


@dataclass
class Fault:
    """What happens, and where.

    ``at``: number of bytes of that direction that still pass, counted over the connections that
    the fault meets from ``arm`` on; or bytes: it happens just before their next occurrence
    (``behind``: just after). Once: the next connection is whole again, but for ``always``.
    """

    direction: Direction
    action: Action
    at: int | bytes = 0
    behind: bool = False
    always: bool = False
    #: What is inserted.
    more: bytes = b""
    happened: threading.Event = field(default_factory=threading.Event)
    #: What passed and may yet be the beginning of ``at``.
    _seen: bytes = b""

    def passing(self, piece: bytes) -> int | None:
        """Bytes of this piece that still pass; None: all of them."""
        if isinstance(self.at, int):
            if len(piece) < self.at or (len(piece) == self.at and self.at > 0):
                self.at -= len(piece)
                return None
            passes, self.at = self.at, 0
            return passes
        window = self._seen + piece
        found = window.find(self.at)
        if found < 0:
            self._seen = window[-len(self.at) + 1 :] if len(self.at) > 1 else b""
            return None
        stop = found + (len(self.at) if self.behind else 0)
        return max(0, stop - len(self._seen))


class CuttingProxy:
    """Listens on ``port`` of the loopback; ``arm`` makes the next matching bytes go wrong."""

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, target_port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        #: Connections taken, cancel requests among them.
        self.connections = 0
        self.cancel_requests = 0
        self._start(self._accept)

    def arm(
        self,
        direction: Direction,
        at: int | bytes = 0,
        *,
        action: Action = "cut",
        behind: bool = False,
        always: bool = False,
        more: bytes = b"",
    ) -> Fault:
        """The fault that comes next; it replaces one that did not happen."""
        with self._lock:
            self._fault = Fault(direction, action, at, behind, always, more)
            return self._fault

    def heal(self) -> None:
        """No more faults; what hangs is cut."""
        with self._lock:
            self._fault = None
            hanging, self._open = self._open, set()
        for each in hanging:
            _shut(each)

    def close(self) -> None:
        """Cut everything and listen no more."""
        self._closed.set()
        _shut(self._listener)
        self._listener.close()
        self.heal()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *given: object) -> None:
        thread = threading.Thread(target=target, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            pair = _Pair(client, server)
            self._start(self._pump, pair, "to_server")
            self._start(self._pump, pair, "to_client")

    def _pump(self, pair: _Pair, direction: Direction) -> None:
        source, target = pair.ends(direction)
        first = direction == "to_server"
        with suppress(OSError):
            while piece := source.recv(_CHUNK_BYTES):
                if first and piece.startswith(CANCEL_REQUEST):
                    self.cancel_requests += 1
                    pair.spared = True
                first = False
                if not self._pass_on(pair, direction, piece):
                    break
            else:
                target.shutdown(socket.SHUT_WR)
        pair.end(self._forget)

    def _pass_on(self, pair: _Pair, direction: Direction, piece: bytes) -> bool:
        """False when this direction is over."""
        _, target = pair.ends(direction)
        fault, passes = self._met(pair, direction, piece)
        if fault is None or passes is None:
            target.sendall(piece)
            return True
        target.sendall(piece[:passes] + fault.more)
        fault.happened.set()
        return self._do(fault, pair, direction, piece[passes:])

    def _met(
        self, pair: _Pair, direction: Direction, piece: bytes
    ) -> tuple[Fault | None, int | None]:
        with self._lock:
            fault = self._fault
            if fault is None or fault.direction != direction or pair.spared:
                return None, None
            passes = fault.passing(piece)
            if passes is not None and not fault.always:
                self._fault = None
            return fault, passes

    def _do(self, fault: Fault, pair: _Pair, direction: Direction, rest: bytes) -> bool:
        source, target = pair.ends(direction)
        if fault.action == "cut":
            _reset(pair.client)
            _reset(pair.server)
            return False
        if fault.action == "half_close":
            target.shutdown(socket.SHUT_WR)
            return False
        if fault.action == "stall":
            while source.recv(_CHUNK_BYTES):
                pass  # nothing arrives at the other end, and nothing says so
            return False
        if fault.action == "corrupt":
            rest = bytes([rest[0] ^ 0xFF]) + rest[1:] if rest else rest
        else:
            self._closed.wait(_DELAY_S)
        target.sendall(rest)
        return True

    def _forget(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open -= set(sockets)


class _Pair:
    """The two ends of one proxied connection; closed when both directions are over."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        #: Carries a cancel request, which no fault meets.
        self.spared = False
        self._directions = 2
        self._lock = threading.Lock()

    def ends(self, direction: Direction) -> tuple[socket.socket, socket.socket]:
        """Source and target."""
        if direction == "to_server":
            return self.client, self.server
        return self.server, self.client

    def end(self, forget: object) -> None:
        with self._lock:
            self._directions -= 1
            last = self._directions == 0
        if last:
            forget(self.client, self.server)
            self.client.close()
            self.server.close()


def _reset(end: socket.socket) -> None:
    """Cut as a router does: the peer gets a reset, not an end."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RD)  # wakes the thread that waits on it, and sends nothing
    end.close()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(target_port: int) -> Iterator[CuttingProxy]:
    """A proxy in front of that port."""
    proxy = CuttingProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
