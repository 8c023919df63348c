"""Fixtures that every kind of test shares; servers are in ``fix_servers``."""

from __future__ import annotations

pytest_plugins = [
    "fix_memory",
    "fix_reader",
    "fix_servers",
    "fix_stores",
    "fix_postgres_extras",
    "fix_write_behind",
]
