"""Connections to Redis or Valkey, and what their refusals mean in this package's own errors.

The client never sends a command twice: redis-py would resend any of them up to ten times when a
connection breaks, and a second XADD or INCR is another one. Who knows that a call may be repeated
repeats it. The address is part of every message; the password of none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from neural_gpu_bus.addresses import redis_address, unreadable_redis_url
from neural_gpu_bus.errors import (
    BadSettingError,
    NeuralGpuBusError,
    ProtocolError,
    ServerAuthenticationError,
    ServerError,
    ServerFullError,
    ServerUnreachableError,
    ServerVersionError,
)

SERVER = "Redis"

#: XAUTOCLAIM, LMOVE and GETEX came with 6.2.
SERVER_VERSION_MIN = (6, 2)

#: Idle connections are looked after by the kernel from here on (the original design's setting).
KEEPALIVE = True


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """A client whose server has answered, is new enough, and takes our password.

    ``timeout_s`` bounds connecting and each reply; blocking commands bring their own limit, which
    redis-py adds to it. Replies are bytes.

    Raises BadSettingError, ServerUnreachableError, ServerAuthenticationError, ServerVersionError.
    """
    address = redis_address(url)
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            decode_responses=False,
            protocol=2,  # RESP3 begins with HELLO, which servers too old for us refuse: say the age
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            **({} if url.startswith("unix:") else {"socket_keepalive": KEEPALIVE}),
        )
    except ValueError:
        # redis-py quotes the piece it could not read, which may be the password.
        raise unreadable_redis_url() from None
    try:
        with translated(address):
            _check_version(client.info("server"), address)
    except BaseException:
        client.close()
        raise
    return client


def _check_version(info: dict[str, Any], address: str) -> None:
    text = str(info.get("redis_version", "0"))
    version = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if version < SERVER_VERSION_MIN:
        oldest = ".".join(str(part) for part in SERVER_VERSION_MIN)
        raise ServerVersionError(
            f"{SERVER} at {address} is version {text}, older than {oldest}",
            hint=f"use {SERVER} {oldest} or newer, or any Valkey, or leave the NGB_..._REDIS_URL "
            "settings empty for private ones",
            server=SERVER,
            version=text,
            version_min=oldest,
        )


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn redis-py's errors into ours; ``address`` as ``addresses`` shows it."""
    try:
        yield
    except redis.RedisError as error:
        raise failure_from(error, address) from error


def failure_from(error: redis.RedisError, address: str) -> NeuralGpuBusError:
    """Our error for one of redis-py's."""
    text = " ".join(str(error).split())
    if isinstance(error, redis.AuthenticationError) or text.startswith(_REFUSED_USER):
        return ServerAuthenticationError(
            f"{SERVER} at {address} refused the user or the password: {text}",
            hint="check user and password in the NGB_..._REDIS_URL settings",
            server=SERVER,
            address=address,
        )
    if "DB index" in text:
        return BadSettingError(
            f"{SERVER} at {address} has no such database: {text}",
            hint="use database 0, or raise the server's `databases`",
        )
    if isinstance(error, redis.OutOfMemoryError) or text.startswith(("OOM", "MISCONF")):
        return ServerFullError(
            f"{SERVER} at {address} has no room left: {text}",
            hint="raise its maxmemory or free its disk, or let it evict old keys "
            "(maxmemory-policy allkeys-lru); nothing was stored",
            server=SERVER,
        )
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)):
        return ServerUnreachableError(
            f"cannot talk to {SERVER} at {address}: {text}",
            hint="see with `ngb status` which servers are used and whether they run; existing ones "
            "are named by the NGB_..._REDIS_URL settings",
            server=SERVER,
            address=address,
        )
    if isinstance(error, redis.InvalidResponse):
        return ProtocolError(
            f"what answers at {address} does not speak Redis's protocol: {text}",
            hint="check the port: another service may listen there",
            position=None,
        )
    return ServerError(
        f"{SERVER} at {address} refused the command: {text}",
        hint="see the server's log; a managed Redis may forbid some commands",
        server=SERVER,
    )


#: Replies of servers (redis/src/server.c, acl.c) that redis-py has no class for everywhere.
_REFUSED_USER = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password")
