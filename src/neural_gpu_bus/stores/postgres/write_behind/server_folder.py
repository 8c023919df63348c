"""Which folder of the home belongs to which server: rows must not end up in another database."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from neural_gpu_bus.addresses import postgres_address, postgres_parts

WRITE_BEHIND = "write-behind"

#: Parts of an address that say which tables a name means, and the variables that libpq takes for
#: those that are not given.
_MEANING = {
    "service": "PGSERVICE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "options": "PGOPTIONS",
}


def server_folder(home: Path, dsn: str, *, is_private: bool) -> Path:
    """Where rows for that server wait. The private server of a home is always the same one,
    whatever its port; another is known by host, port, database, user and session options.
    """
    if is_private:
        return home / WRITE_BEHIND / "private"
    parts = postgres_parts(dsn)
    meant = [str(parts.get(name) or os.environ.get(env, "")) for name, env in _MEANING.items()]
    digest = hashlib.sha256("\0".join(meant).encode()).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", postgres_address(dsn)).strip("_.")[:60]
    return home / WRITE_BEHIND / f"{readable}-{digest}"
