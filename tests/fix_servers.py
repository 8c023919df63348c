"""Real servers for tests: the ones named by environment variables, or private ones of a temporary home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A PostgreSQL to play with, as libpq address; tests make their own schemas or tables and drop them."""
    yield os.environ["NGB_TEST_POSTGRES_DSN"]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis or Valkey to play with; tests use their own key prefixes."""
    yield os.environ["NGB_TEST_REDIS_URL"]


@pytest.fixture(scope="session")
def market_data_folder() -> Path:
    """Folder of real market data, where there is one (NGB_TEST_DATA); tests that need it skip otherwise."""
    folder = os.environ.get("NGB_TEST_DATA")
    if not folder:
        pytest.skip("NGB_TEST_DATA names no folder of market data")
    return Path(folder)
