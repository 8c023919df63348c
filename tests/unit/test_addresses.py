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
        ("postgresql://me:pa%2Fs%40s%23@db:1,db2:2/x", "db,db2:1,2/x"),
        ("host=db dbname=a@b", "db:5432/a@b"),
    ],
)
def test_postgres(dsn: str, address: str) -> None:
    assert postgres_address(dsn) == address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://me:secret@cache:6390/2", "cache:6390/2"),
        ("rediss://:secret@cache/", "cache:6379/0"),
        ("redis://:secret@cache?db=3", "cache:6379/3"),
        ("rediss://cache/1?ssl_cert_reqs=none", "cache:6379/1"),
        ("redis://:pa%2Fs%40s%23@cache/1", "cache:6379/1"),
        ("unix://:secret@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_redis(url: str, address: str) -> None:
    assert redis_address(url) == address


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db secret",
        "password=secret host='",
        "postgresql://me:TOP/secret@db:1/x",
        "postgresql://me:TOP#1@secret@db/x",
        "postgresql://me:12/secret@db/x",
        "postgresql://me:secret/x",
        "dbname=postgresql://me:secret@db/x",
    ],
)
def test_an_unreadable_postgres_address_is_not_repeated(dsn: str) -> None:
    with pytest.raises(BadSettingError, match="PostgreSQL address cannot be read") as caught:
        postgres_address(dsn)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.setting == "postgres_dsn"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@cache:port",
        "http://:secret@cache",
        "secret",
        "redis://[secret",
        "redis://:12/secret@cache:6390/0",
        "redis://:12#secret@cache/0",
        "redis://:12?secret@cache/0",
        "redis://:12?secret=1@cache/0",
        "redis://cache/secret",
        "redis://cache/0?secret=1",
        "redis://cache/0?db=secret",
        "redis://cache/0?ssl_ca_certs=secret",
        "unix://:12/secret@/run/redis.sock",
        "unix://secret",
    ],
)
def test_an_unreadable_redis_address_is_not_repeated(url: str) -> None:
    with pytest.raises(BadSettingError, match="Redis address cannot be read") as caught:
        redis_address(url)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
