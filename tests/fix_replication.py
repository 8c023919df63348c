"""Databases of servers that replicate logically: the private one, and Debian's older one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_stores import own_database
from own_server import OwnServer, debian_programs, own_server


@pytest.fixture(scope="session")
def older_server() -> Iterator[OwnServer]:
    """Debian's PostgreSQL with ``wal_level`` logical; skips where there is none."""
    with own_server(debian_programs(), wal_level="logical", max_prepared_transactions="5") as made:
        yield made


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A database of the private server that has nothing in it: its superuser's connection."""
    with own_database(postgres_dsn) as connection:
        yield connection


@pytest.fixture
def older_database(older_server: OwnServer) -> Iterator[psycopg.Connection]:
    """The same of the older server."""
    with own_database(older_server.dsn()) as connection:
        yield connection


@pytest.fixture(params=["private", "older"])
def each_database(request: pytest.FixtureRequest) -> psycopg.Connection:
    """One after the other."""
    name = "database" if request.param == "private" else "older_database"
    connection: psycopg.Connection = request.getfixturevalue(name)
    return connection


def dsn_of(connection: psycopg.Connection, **other: str) -> str:
    """The address that a connection was made with, and its password."""
    parts = connection.info.get_parameters() | {"password": connection.info.password} | other
    return make_conninfo(**parts)
