"""Addresses are shown without what is secret in them."""

from __future__ import annotations

import pytest

from neural_gpu_bus.addresses import postgres_address, redis_address
from neural_gpu_bus.errors import BadSettingError


@pytest.mark.parametrize(
    ("dsn", "address"),
    [
        ("postgresql://me:secret@db.example:6543/market", "db.example:6543/market"),
        ("host=/run/pg dbname=x password=secret", "/run/pg:5432/x"),
        ("hostaddr=10.0.0.1 user=me password=secret", "10.0.0.1:5432/me"),
        ("postgresql:///x", "(local socket):5432/x"),
    ],
)
def test_postgres(dsn: str, address: str) -> None:
    assert postgres_address(dsn) == address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://me:secret@cache:6390/2", "cache:6390/2"),
        ("rediss://:secret@cache/", "cache:6379/0"),
        ("unix://:secret@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_redis(url: str, address: str) -> None:
    assert redis_address(url) == address


@pytest.mark.parametrize("dsn", ["host=db secret", "password=secret host='"])
def test_an_unreadable_postgres_address_is_not_repeated(dsn: str) -> None:
    with pytest.raises(BadSettingError, match="PostgreSQL address cannot be read") as caught:
        postgres_address(dsn)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.setting == "postgres_dsn"


@pytest.mark.parametrize(
    "url", ["redis://:secret@cache:port", "http://:secret@cache", "secret", "redis://[secret"]
)
def test_an_unreadable_redis_address_is_not_repeated(url: str) -> None:
    with pytest.raises(BadSettingError, match="Redis address cannot be read") as caught:
        redis_address(url)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
