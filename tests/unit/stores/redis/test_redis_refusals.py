"""What Redis's errors mean in ours."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import redis

from neural_gpu_bus.errors import (
    BadSettingError,
    ServerAuthenticationError,
    ServerError,
    ServerFullError,
    ServerUnreachableError,
    ServerVersionError,
)
from neural_gpu_bus.stores.redis import connection


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
            ServerFullError,
        ),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), ServerFullError),
        (
            redis.ResponseError("WRONGPASS invalid username-password pair"),
            ServerAuthenticationError,
        ),
        (redis.ResponseError("NOPERM this user has no permissions"), ServerAuthenticationError),
        (redis.AuthenticationError("invalid password"), ServerAuthenticationError),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), ServerUnreachableError),
        (redis.TimeoutError("Timeout reading from socket"), ServerUnreachableError),
        (redis.ResponseError("DB index is out of range"), BadSettingError),
        (redis.ResponseError("unknown command 'XADD'"), ServerError),
    ],
)
def test_each_refusal_is_an_error_of_its_kind(
    error: redis.RedisError, kind: type[Exception]
) -> None:
    found = connection.failure_from(error, "h:6379/0")

    assert type(found) is kind
    assert "h:6379/0" in found.what
    assert found.hint


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("0", False),
        ("5.0", False),
        ("6.0.16", False),
        ("6.2.0", True),
        ("7.2.4", True),
        ("10.0", True),
    ],
)
def test_an_old_server_is_refused_and_a_newer_one_taken(version: str, taken: bool) -> None:
    said = pytest.raises(ServerVersionError, match=f"version {version}, older than 6.2")
    with nullcontext() if taken else said as caught:
        connection._check_version({"redis_version": version}, "h:6379/0")

    assert (caught is None) == taken
