"""What the server is told: positions that never go back, and none that has not come."""

from __future__ import annotations

import struct

import pytest

from neural_gpu_bus.errors import BadParameterError, ServerUnreachableError
from neural_gpu_bus.stores.postgres.replication.status_sender import StatusSender, status_message

CLOCK_NS = 946_684_800_000_000_000 + 5_000


class Server:
    """Hears what is said."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, int, int, int, int, int]] = []
        self.is_gone = False
        self.sender = StatusSender(self.hear, 3600, clock_ns=lambda: CLOCK_NS)

    def hear(self, message: bytes) -> None:
        if self.is_gone:
            raise ServerUnreachableError("gone", server="PostgreSQL", address="here")
        self.heard.append(struct.unpack("!cQQQqB", message))


def test_a_status_is_written_as_the_protocol_says() -> None:
    message = status_message(7, 5, 946_684_800_000_009, ask=True)

    assert message == b"r" + struct.pack("!QQQqB", 7, 5, 5, 9, 1)


def test_what_is_acknowledged_is_said_at_once_and_what_came_by_the_timer() -> None:
    server = Server()

    server.sender.received(100)
    server.sender.received(90)
    assert server.heard == []

    server.sender.acknowledge(60)
    server.sender.acknowledge(50)
    server.sender.send_status(ask=True)

    assert server.heard == [(b"r", 100, 60, 60, 5, 0), (b"r", 100, 60, 60, 5, 1)]
    assert server.sender.acknowledged_lsn == 60


def test_a_server_that_asks_is_answered_at_once() -> None:
    server = Server()

    server.sender.received(100, reply_wanted=True)

    assert server.heard == [(b"r", 100, 0, 0, 5, 0)]


def test_what_has_not_come_is_not_acknowledged() -> None:
    server = Server()
    server.sender.received(0x1_0000_0010)

    with pytest.raises(BadParameterError, match=r"1/11 cannot be acknowledged.* come to 1/10"):
        server.sender.acknowledge(0x1_0000_0011)
    assert server.heard == []


def test_a_server_that_is_gone_is_noted() -> None:
    server = Server()
    server.is_gone = True

    server.sender.received(100, reply_wanted=True)

    assert isinstance(server.sender.failure, ServerUnreachableError)


def test_a_stream_starts_at_its_own_position() -> None:
    server = Server()

    server.sender.start(500)
    server.sender.stop()

    assert server.sender.acknowledged_lsn == 500
    server.sender.acknowledge(500)
    assert server.heard == []
