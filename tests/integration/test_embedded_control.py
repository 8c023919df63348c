"""The keeper's control socket, spoken to line by line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fix_servers import private_settings, short_folder
from neural_gpu_bus.embedded.control import (
    Attach,
    Attached,
    Refused,
    Reply,
    Status,
    StatusReport,
    decode_reply,
    encode,
)
from neural_gpu_bus.embedded.handover import existing_digests
from neural_gpu_bus.embedded.home import Home, open_home
from neural_gpu_bus.keeper.keeper import Keeper
from neural_gpu_bus.settings import Settings
from neural_gpu_bus.version import __version__

pytestmark = pytest.mark.slow

Talk = Callable[[Keeper, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def without_servers(home: Path, **other: object) -> Settings:
    """All four named as existing, so that a keeper is ready at once."""
    urls = {
        f"{name}_url": "redis://127.0.0.1:1"
        for name in ("compute_redis", "market_data_redis", "engine_logic_redis")
    }
    return private_settings(home, postgres_dsn="postgresql://127.0.0.1:1/x", **urls, **other)


def attach_to(keeper: Keeper) -> bytes:
    return encode(Attach(__version__, True, existing_digests(keeper.settings)))


async def next_reply(reader: asyncio.StreamReader) -> Reply:
    return decode_reply(await reader.readline())


def talk_to_keeper(talk: Talk, **settings: object) -> int:
    """Run a keeper and one talk with it; the keeper's exit status."""

    async def life(keeper: Keeper, home: Home) -> int:
        running = asyncio.create_task(keeper.run())
        while not home.control_socket.exists():
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_unix_connection(str(home.control_socket))
        try:
            await talk(keeper, reader, writer)
        finally:
            writer.close()
            keeper.stop()
        return await running

    with short_folder() as folder:
        made = without_servers(folder / "home", **settings)
        home = open_home(made)
        return asyncio.run(asyncio.wait_for(life(Keeper(made, home), home), 30))


def test_a_client_that_comes_after_the_decision_to_stop_gets_no_addresses() -> None:
    async def talk(
        keeper: Keeper, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(attach_to(keeper))
        assert isinstance(await next_reply(reader), Attached)
        writer.write(attach_to(keeper))
        keeper.stop()
        assert await reader.readline() == b""

    assert talk_to_keeper(talk) == 0


def test_nonsense_ends_that_connection_alone() -> None:
    async def talk(
        keeper: Keeper, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"nonsense\n")
        reply = await next_reply(reader)
        assert isinstance(reply, Refused)
        assert reply.error.kind == "ProtocolError"
        assert await reader.readline() == b""
        second = await asyncio.open_unix_connection(str(keeper.home.control_socket))
        second[1].write(encode(Status()))
        assert isinstance(await next_reply(second[0]), StatusReport)
        second[1].close()

    assert talk_to_keeper(talk) == 0


def test_a_memory_folder_that_takes_no_folder_is_named() -> None:
    async def talk(
        keeper: Keeper, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(attach_to(keeper))
        reply = await next_reply(reader)
        assert isinstance(reply, Refused)
        assert reply.error.what.startswith("memory folder '/proc' cannot be used: ")
        assert "NGB_MEMORY_FOLDER" in reply.error.hint

    assert talk_to_keeper(talk, memory_folder=Path("/proc")) == 2


def test_a_client_with_other_settings_ends_a_keeper_that_nobody_needs() -> None:
    async def talk(
        keeper: Keeper, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        other = encode(Attach(__version__, True, {"memory_folder": "/other"}))
        writer.write(other)
        assert isinstance(await next_reply(reader), Refused)
        first = await asyncio.open_unix_connection(str(keeper.home.control_socket))
        first[1].write(attach_to(keeper))
        assert isinstance(await next_reply(first[0]), Attached)
        writer.write(other)
        assert isinstance(await next_reply(reader), Refused)
        first[1].close()
        while not keeper.leases.idle:
            await asyncio.sleep(0.01)
        writer.write(other)
        assert await reader.readline() == b""
        assert keeper.stopping

    assert talk_to_keeper(talk) == 0


def test_a_missing_memory_folder_is_named() -> None:
    async def talk(
        keeper: Keeper, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(attach_to(keeper))
        reply = await next_reply(reader)
        assert isinstance(reply, Refused)
        assert reply.error.kind == "BadSettingError"
        assert "memory folder '/no/such' cannot be used: No such file" in reply.error.what
        assert reply.error.hint.startswith("make it: mkdir -p /no/such, or unset")

    assert talk_to_keeper(talk, memory_folder=Path("/no/such")) == 2
