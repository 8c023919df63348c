"""libpq addresses in the spelling of those that do not read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


def connectorx_url(dsn: str) -> str:
    """As a URL; the folder of a unix socket goes percent-encoded into the host's place."""
    parts: Mapping[str, Any] = conninfo_to_dict(dsn)
    user = quote(str(parts.get("user") or ""), safe="")
    password = parts.get("password")
    secret = f":{quote(str(password), safe='')}" if password else ""
    host = quote(str(parts.get("host") or "127.0.0.1"), safe="")
    return f"postgresql://{user}{secret}@{host}:{parts.get('port') or 5432}/{parts.get('dbname')}"
