"""Fixtures that every kind of test shares; servers are in ``fix_servers``."""

from __future__ import annotations

import signal

import pytest

pytest_plugins = [
    "fix_actors",
    "fix_memory",
    "fix_reader",
    "fix_servers",
    "fix_stores",
    "fix_postgres_extras",
    "fix_write_behind",
    "fix_replication",
]


@pytest.fixture(autouse=True)
def _interrupts_are_pythons() -> None:
    """adbc_driver_manager 1.13 leaves its handler in place after a fetch, without Python's
    knowledge; no SIGINT of the process is a KeyboardInterrupt from then on.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
