"""A plane over a server that tests share, with memory and a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from neural_gpu_bus import DataPlane
from neural_gpu_bus.embedded.records import Addresses
from neural_gpu_bus.settings import Settings

BARS_SQL = """
CREATE TABLE {name} AS SELECT 'I' || i % 20 AS instrument_id, '1-MINUTE' AS bar_type,
  timestamptz '2024-01-01Z' + i / 20 * interval '1 minute' AS ts,
  100 + sin(i)::float8 AS open, 102 + sin(i)::float8 AS high, 98 + sin(i)::float8 AS low,
  100 + cos(i)::float8 AS close, (i % 97)::float8 AS volume
FROM generate_series(0, 99999) AS i
"""


@contextmanager
def opened_plane(dsn: str, folders: pytest.TempPathFactory) -> Iterator[DataPlane]:
    folder: Path = folders.mktemp("memory")
    folder.chmod(0o700)
    nobody = SecretStr("redis://127.0.0.1:1/0")
    addresses = Addresses(SecretStr(dsn), nobody, nobody, nobody, folder, {})
    attachment: Any = SimpleNamespace(addresses=addresses, close=lambda: None)
    home = folders.mktemp("home")
    with DataPlane(Settings(home=home, memory_bytes_max=256 << 20), attachment) as plane:
        yield plane


@contextmanager
def made_bars(server: psycopg.Connection, name: str) -> Iterator[str]:
    """100,000 bars of 20 instruments, with the index that finds one of them."""
    server.execute(BARS_SQL.format(name=name).encode())
    server.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (instrument_id, bar_type, ts)".encode())
    server.execute(f"ANALYZE {name}".encode())
    yield name
    server.execute(f"DROP TABLE IF EXISTS {name}, {name}_analysed, {name}_daily".encode())
