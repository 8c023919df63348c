"""Addresses of servers: read here alone, and shown without user and password."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from neural_gpu_bus.errors import BadSettingError

POSTGRES_PORT = 5432
REDIS_PORT = 6379


def postgres_parts(dsn: str) -> dict[str, Any]:
    """What a libpq address says, by libpq's own names; BadSettingError for one that cannot be
    read.
    """
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(dsn))
    except Error:
        # libpq quotes the piece it could not read, which may be the password.
        raise BadSettingError(
            "the PostgreSQL address cannot be read",
            hint="write it as postgresql://user:password@host:port/database, special characters "
            "percent-encoded, or as host=... port=... user=... dbname=...",
            setting="postgres_dsn",
        ) from None


def postgres_address(dsn: str) -> str:
    """``host:port/database`` to show; BadSettingError for an address that cannot be read."""
    parts = postgres_parts(dsn)
    host = parts.get("host") or parts.get("hostaddr") or "(local socket)"
    database = parts.get("dbname") or parts.get("user") or ""
    return f"{host}:{parts.get('port') or POSTGRES_PORT}/{database}"


def redis_address(url: str) -> str:
    """``host:port/database`` or the socket's path, to show; BadSettingError for an address that
    cannot be read.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or REDIS_PORT
    except ValueError:
        raise unreadable_redis_url() from None
    if parts.scheme == "unix":
        return parts.path
    if parts.scheme not in ("redis", "rediss"):
        raise unreadable_redis_url()
    return f"{parts.hostname or 'localhost'}:{port}{parts.path.rstrip('/') or '/0'}"


def unreadable_redis_url() -> BadSettingError:
    """The error for an address that redis-py cannot read; it shows nothing of it."""
    return BadSettingError(
        "the Redis address cannot be read",
        hint="write it as redis://user:password@host:port/0 (rediss:// for TLS) or "
        "unix:///path/to/socket?db=0, special characters percent-encoded",
    )
