"""libpq addresses in the spelling of those that do not read them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from neural_gpu_bus.addresses import POSTGRES_PORT, postgres_parts


def connectorx_url(dsn: str) -> str:
    """As a URL; the folder of a unix socket goes percent-encoded into the host's place."""
    parts = postgres_parts(dsn)
    user = quote(str(parts.get("user") or ""), safe="")
    password = parts.get("password")
    secret = f":{quote(str(password), safe='')}" if password else ""
    host = quote(str(parts.get("host") or "127.0.0.1"), safe="")
    place = f"{host}:{parts.get('port') or POSTGRES_PORT}/{parts.get('dbname')}"
    return f"postgresql://{user}{secret}@{place}"


def asyncpg_arguments(dsn: str) -> dict[str, Any]:
    """A libpq address as asyncpg's arguments."""
    parts = postgres_parts(dsn)
    names = {"host": "host", "port": "port", "user": "user", "password": "password"}
    given = {ours: parts[theirs] for theirs, ours in names.items() if parts.get(theirs)}
    return {**given, "database": parts.get("dbname"), "ssl": False}
