"""Servers that the settings name: shown without their secrets, never started or stopped."""

from __future__ import annotations

from urllib.parse import urlsplit

from neural_gpu_bus.embedded.handover import existing_address
from neural_gpu_bus.embedded.records import ServerName, ServerStatus
from neural_gpu_bus.settings import Settings


def existing_status(settings: Settings, name: ServerName) -> ServerStatus:
    """What is known of an existing server without asking it."""
    address = existing_address(settings, name)
    text = address.get_secret_value() if address else ""
    return ServerStatus(
        name, "existing", postgres_place(text) if name == "postgres" else redis_place(text)
    )


def postgres_place(dsn: str) -> str:
    """Host, port and database of a libpq address; nothing of it when it cannot be read."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        return "(address cannot be read)"
    host = parts.get("host") or parts.get("hostaddr") or "(local socket)"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def redis_place(url: str) -> str:
    """Host, port and database of a Redis address, or its socket; never user or password."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        return "(address cannot be read)"
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}:{port}{parts.path}"
