"""Addresses of servers: read here alone, and shown without user and password."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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
        parts = dict(conninfo_to_dict(dsn))
    except Error:
        # libpq quotes the piece it could not read, which may be the password.
        raise _unreadable_dsn() from None
    port = str(parts.get("port") or "")
    if not re.fullmatch(r"[\d,]*", port) or _holds_password(dsn, parts):
        raise _unreadable_dsn()
    return parts


def _holds_password(dsn: str, parts: dict[str, Any]) -> bool:
    """Whether a ``/`` or ``@`` of the password ended it early: its rest is in another part then."""
    places = (str(parts.get(name) or "") for name in ("host", "hostaddr", "dbname"))
    return "://" in dsn and any("@" in place for place in places)


def _unreadable_dsn() -> BadSettingError:
    return BadSettingError(
        "the PostgreSQL address cannot be read",
        hint="write it as postgresql://user:password@host:port/database, special characters of "
        "the password percent-encoded (/ as %2F, @ as %40, # as %23), or as host=... port=... "
        "user=... dbname=...",
        setting="postgres_dsn",
    )


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
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise unreadable_redis_url() from None
    is_readable = (
        re.fullmatch(_REDIS_PATHS.get(parts.scheme, _NOTHING), parts.path)
        and not parts.fragment
        and options.keys() - (_TLS_OPTIONS if parts.scheme == "rediss" else ()) <= _REDIS_OPTIONS
        and options.get("db", "0").isdecimal()
    )
    if not is_readable:
        raise unreadable_redis_url()
    if parts.scheme == "unix":
        return parts.path
    database = options.get("db") or parts.path.strip("/") or "0"
    return f"{parts.hostname or 'localhost'}:{port}/{database}"


def unreadable_redis_url() -> BadSettingError:
    """The error for an address that redis-py cannot read; it shows nothing of it."""
    return BadSettingError(
        "the Redis address cannot be read",
        hint="write it as redis://user:password@host:port/0 (rediss:// for TLS) or "
        "unix:///path/to/socket?db=0, special characters of the password percent-encoded (/ as "
        "%2F, @ as %40, # as %23), after ? only db, username, password, client_name and ssl_...",
    )


_NOTHING = r"(?!)"
#: Scheme to its paths: what else stands there may be the rest of a password with a ``/``.
_REDIS_PATHS = {"redis": r"/?\d*/?", "rediss": r"/?\d*/?", "unix": r"/[^@]+"}
#: After ``?``; redis-py takes any word there and fails when it connects, or lets it overrule ours.
_REDIS_OPTIONS = frozenset({"db", "username", "password", "client_name"})
_TLS_OPTIONS = frozenset(
    f"ssl_{name}"
    for name in (
        *("keyfile", "certfile", "password", "cert_reqs", "ca_certs", "ca_path"),
        *("check_hostname", "min_version", "ciphers"),
    )
)
