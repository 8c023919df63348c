"""Receiving on while a batch is applied: what came stays, what comes follows, faults are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fix_servers import wait_until
from neural_gpu_bus.errors import ServerUnreachableError
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.replication import receiving_ahead
from neural_gpu_bus.stores.postgres.replication.receiving_ahead import ReceivingAhead


class _Filling:
    """A source over one end of a pair of sockets."""

    def __init__(self, end: socket.socket, buffer: ReceiveBuffer) -> None:
        self.end, self.buffer = end, buffer
        end.setblocking(False)

    def fill(self) -> int:
        try:
            count = self.end.recv_into(self.buffer.free())
        except BlockingIOError:
            return 0
        if count == 0:
            raise ServerUnreachableError("it is gone", hint="none", address="here")
        self.buffer.stop += count
        return count


@contextmanager
def _receiving() -> Iterator[tuple[ReceivingAhead, _Filling, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        buffer = ReceiveBuffer(1 << 20)
        buffer.view[:5] = b"first"
        buffer.stop = 5
        ahead = ReceivingAhead(buffer, ours.fileno())
        try:
            yield ahead, _Filling(ours, buffer), theirs
        finally:
            ahead.end()


def test_what_comes_stands_behind_what_was_there() -> None:
    with _receiving() as (ahead, source, theirs):
        ahead.begin(source)  # type: ignore[arg-type]
        for part in (b" second", b" third"):
            theirs.sendall(part)
        wait_until(lambda: source.buffer.stop == 18, "the bytes are there")
        assert ahead.end() is None
        assert bytes(source.buffer.view[:18]) == b"first second third"
        assert ahead.end() is None


def test_it_goes_no_further_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving_ahead, "AHEAD_BYTES_MAX", 3)
    with _receiving() as (ahead, source, theirs):
        theirs.sendall(b"1234")
        ahead.begin(source)  # type: ignore[arg-type]
        wait_until(lambda: source.buffer.stop == 9, "the bytes are there")
        theirs.sendall(b"5678")
        assert ahead.end() is None
        assert source.buffer.stop == 9


def test_what_ended_the_stream_is_told_by_who_ends_it() -> None:
    with _receiving() as (ahead, source, theirs):
        ahead.begin(source)  # type: ignore[arg-type]
        theirs.sendall(b"last")
        theirs.close()
        wait_until(
            lambda: source.buffer.stop == 9 and ahead._failure is not None, "the bytes are there"
        )
        assert isinstance(ahead.end(), ServerUnreachableError)
        assert ahead.end() is None
