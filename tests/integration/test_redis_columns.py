"""Frames in a real Redis or Valkey, and what goes wrong there."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
import redis

from neural_gpu_bus.addresses import redis_address
from neural_gpu_bus.errors import (
    BadParameterError,
    BadSettingError,
    ProtocolError,
    ServerAuthenticationError,
    ServerUnreachableError,
)
from neural_gpu_bus.stores.redis import RedisColumns, columns, connect
from neural_gpu_bus.stores.redis.columns import decode_stream, encode_stream

TABLE = pa.table({"a": [1, None], "b": ["x", "y"]})


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    opened = connect(redis_url, timeout_s=5)
    yield opened
    opened.close()


@pytest.fixture
def key(client: redis.Redis) -> Iterator[str]:
    name = f"ngb:test:{uuid.uuid4().hex}"
    yield name
    client.delete(name)


@pytest.fixture
def store(client: redis.Redis, redis_url: str) -> RedisColumns:
    return RedisColumns(client, redis_address(redis_url))


def test_the_value_is_an_arrow_stream_that_anyone_can_read(
    store: RedisColumns, client: redis.Redis, key: str
) -> None:
    store.write(key, TABLE)

    value = client.get(key)

    assert isinstance(value, bytes)
    assert pa.ipc.open_stream(value).read_all().equals(TABLE)


@pytest.mark.parametrize("key", ["", "ngb:{bus}:jobs", 5, "\ud800"])
def test_keys_that_would_break_something_are_refused(
    client: redis.Redis, redis_url: str, key: str
) -> None:
    store = RedisColumns(client, redis_address(redis_url), reserved_prefix="ngb:{bus}:")
    with pytest.raises(BadParameterError, match="redis_key") as caught:
        store.write(key, TABLE)

    assert caught.value.parameter == "redis_key"


def test_many_threads_share_one_client(store: RedisColumns, client: redis.Redis, key: str) -> None:
    def write_and_read(number: int) -> None:
        mine = f"{key}:{number}"
        for size in (10, 100_000):
            store.write(mine, {"a": np.full(size, number)})
            assert set(store.read(mine)["a"].to_pylist()) == {number}
        client.delete(mine)

    threads = [threading.Thread(target=write_and_read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "is no Arrow stream"),
        (b"hello, this is plain text", "is no Arrow stream"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "is no Arrow stream"),
    ],
)
def test_a_value_of_something_else_is_refused(
    store: RedisColumns, client: redis.Redis, key: str, value: bytes, message: str
) -> None:
    client.set(key, value)

    with pytest.raises(ProtocolError, match=message):
        store.read(key)


def test_a_key_that_holds_a_list_is_refused(
    store: RedisColumns, client: redis.Redis, key: str
) -> None:
    client.rpush(key, "x")

    with pytest.raises(ProtocolError, match="is no string value"):
        store.read(key)


def test_a_stream_cut_anywhere_is_refused() -> None:
    whole = encode_stream(TABLE, "k").to_pybytes()
    for length in range(len(whole)):
        with pytest.raises(ProtocolError, match="the value of 'k' is"):
            decode_stream(whole[:length], "k")


def test_more_than_redis_holds_is_refused_before_it_is_sent(
    store: RedisColumns, client: redis.Redis, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "VALUE_BYTES_MAX", 1000)

    with pytest.raises(
        BadParameterError, match="the columns take 8,000 bytes, and Redis holds at most 1,000"
    ):
        store.write(key, {"a": np.zeros(1000)})

    assert not client.exists(key)


def test_the_client_never_sends_a_command_twice(client: redis.Redis) -> None:
    assert client.get_retry().get_retries() == 0


def test_a_broken_connection_is_made_again_for_what_may_be_repeated(
    store: RedisColumns, client: redis.Redis, key: str
) -> None:
    store.write(key, TABLE)
    client.client_kill_filter(_type="normal", laddr=None, skipme=False, _id=client.client_id())

    assert store.read(key).equals(TABLE)


# --- connecting


def test_nobody_there_is_said_with_the_address_and_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ServerUnreachableError, match="cannot talk to Redis") as caught:
            connect(f"redis://me:very-secret@127.0.0.1:{port}/0", timeout_s=1)

    assert f"cannot talk to Redis at 127.0.0.1:{port}/0: " in caught.value.what
    assert "very-secret" not in f"{caught.value!s} {caught.value.facts}"


def test_a_wrong_password_is_said_as_such(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        pytest.skip("needs a loopback address")
    with pytest.raises(ServerAuthenticationError, match="refused the user or the password"):
        connect(f"redis://nobody:wrong@{parts.hostname}:{parts.port}/0", timeout_s=1)


@pytest.mark.parametrize("url", ["http://h/0", "redis://:pass@word@h:port/0", "nonsense"])
def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(BadSettingError, match="the Redis address cannot be read") as caught:
        connect(url, timeout_s=1)

    assert "word" not in caught.value.what


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError, "does not speak Redis's protocol"),
        (b"", ServerUnreachableError, "cannot talk to Redis"),
    ],
)
def test_another_service_at_the_port_is_said_as_such(
    reply: bytes, kind: type[Exception], message: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1024)
                peer.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(kind, match=message):
            connect(f"redis://127.0.0.1:{server.getsockname()[1]}/0", timeout_s=2)
        thread.join()


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_asked() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ServerUnreachableError, match=r"[Tt]imeout"),
    ):
        connect(f"redis://127.0.0.1:{server.getsockname()[1]}/0", timeout_s=0.2)
