"""Addresses of existing servers are shown without what is secret in them."""

from __future__ import annotations

import pytest

from neural_gpu_bus.embedded.existing import postgres_place, redis_place


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://me:secret@db.example:6543/market", "db.example:6543/market"),
        ("host=db password=secret dbname=x", "db:5432/x"),
        ("postgresql:///x", "(local socket):5432/x"),
        ("password=secret host='", "(address cannot be read)"),
    ],
)
def test_postgres(dsn: str, place: str) -> None:
    assert postgres_place(dsn) == place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://me:secret@cache:6390/2", "cache:6390/2"),
        ("redis://:secret@cache", "cache:6379"),
        ("unix://:secret@/run/redis.sock?db=1", "/run/redis.sock"),
        ("redis://:secret@cache:port", "(address cannot be read)"),
    ],
)
def test_redis(url: str, place: str) -> None:
    assert redis_place(url) == place
