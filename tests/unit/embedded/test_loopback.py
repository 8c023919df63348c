"""Ports: the asked one, else the remembered one, else the next."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from neural_gpu_bus.embedded import loopback
from neural_gpu_bus.embedded.loopback import choose_port, holder, is_free
from neural_gpu_bus.errors import HostError


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_listener_is_seen_and_named(taken: int) -> None:
    assert not is_free(taken)
    assert holder(taken).startswith(f"pid {os.getpid()} (")


def test_a_free_port_has_no_holder() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    assert is_free(port)
    assert holder(port) == ""


def test_the_order_of_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {6000, 6002, 6003, 7000}
    monkeypatch.setattr(loopback, "is_free", free.__contains__)

    assert choose_port(6000, 7000, ()) == 6000
    assert choose_port(6001, 7000, ()) == 7000
    assert choose_port(6001, None, ()) == 6002
    assert choose_port(6001, 7001, {6002}) == 6003


def test_a_machine_without_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "is_free", lambda port: False)

    with pytest.raises(HostError, match=r"no free port .* between 6000 and 6200") as raised:
        choose_port(6000, None, ())

    assert raised.value.port == 6000
