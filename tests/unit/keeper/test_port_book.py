"""Ports of one home never collide with each other."""

from __future__ import annotations

import pytest

from neural_gpu_bus.embedded import loopback
from neural_gpu_bus.keeper import ports
from neural_gpu_bus.keeper.ports import PortBook


def test_a_replacement_is_never_another_servers_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "is_free", lambda port: port != 6380)
    monkeypatch.setattr(ports, "holder", lambda port: f"pid 7 on {port}")
    book = PortBook({"market_data_redis": 6380, "engine_logic_redis": 6381}, {})

    assert book.choose("market_data_redis") == 6382
    assert book.choose("engine_logic_redis") == 6381
    assert book.holders == {"market_data_redis": "pid 7 on 6380"}


def test_the_asked_port_comes_back_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {6380}
    monkeypatch.setattr(loopback, "is_free", lambda port: port not in taken)
    monkeypatch.setattr(ports, "holder", lambda port: "pid 7")
    book = PortBook({"market_data_redis": 6380}, {"market_data_redis": 7000})
    assert book.choose("market_data_redis") == 7000

    taken.clear()

    assert book.choose("market_data_redis") == 6380
    assert book.holders == {}
