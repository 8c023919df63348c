"""Databases of servers that replicate logically: the private one, and Debian's older one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fix_stores import own_database
from own_server import OwnServer, debian_programs, own_server


@pytest.fixture(scope="session")
def older_server() -> Iterator[OwnServer]:
    """Debian's PostgreSQL with ``wal_level`` logical; skips where there is none."""
    with own_server(debian_programs(), wal_level="logical", max_prepared_transactions="5") as made:
        yield made


@pytest.fixture(scope="session")
def _database(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with own_database(postgres_dsn) as connection:
        yield connection


@pytest.fixture(scope="session")
def _older_database(older_server: OwnServer) -> Iterator[psycopg.Connection]:
    with own_database(older_server.dsn()) as connection:
        yield connection


@pytest.fixture
def database(_database: psycopg.Connection) -> psycopg.Connection:
    """A database of the private server that has nothing in it: its superuser's connection."""
    return emptied(_database)


@pytest.fixture
def older_database(_older_database: psycopg.Connection) -> psycopg.Connection:
    """The same of the older server."""
    return emptied(_older_database)


@pytest.fixture(params=["private", "older"])
def each_database(request: pytest.FixtureRequest) -> psycopg.Connection:
    """One after the other."""
    name = "database" if request.param == "private" else "older_database"
    connection: psycopg.Connection = request.getfixturevalue(name)
    return connection


def emptied(connection: psycopg.Connection) -> psycopg.Connection:
    """As it was made: making one anew takes a tenth of a second."""
    connection.prepare_threshold = None
    connection.execute("RESET ALL; DISCARD TEMP")
    for kind, query in (
        ("EVENT TRIGGER", "SELECT evtname FROM pg_event_trigger"),
        ("PUBLICATION", "SELECT pubname FROM pg_publication"),
        (
            "SCHEMA",
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> "
            "'information_schema'",
        ),
    ):
        for (name,) in connection.execute(query.encode()).fetchall():
            connection.execute(
                sql.SQL("DROP {} {} CASCADE").format(sql.SQL(kind), sql.Identifier(name))  # type: ignore[arg-type]
            )
    connection.execute("CREATE SCHEMA public")
    connection.execute("GRANT USAGE, CREATE ON SCHEMA public TO public")
    return connection


def dsn_of(connection: psycopg.Connection, **other: str) -> str:
    """The address that a connection was made with, and its password."""
    parts = connection.info.get_parameters() | {"password": connection.info.password} | other
    return make_conninfo(**parts)


@contextmanager
def plain_role(connection: psycopg.Connection) -> Iterator[tuple[str, psycopg.Connection]]:
    """A role that may log in and nothing else, and its connection."""
    role = f"ngb test {secrets.token_hex(4)}"
    name = sql.Identifier(role)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(name))
    try:
        with psycopg.connect(dsn_of(connection, user=role, password="secret")) as own:
            own.autocommit = True
            yield role, own
    finally:
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
        connection.execute(sql.SQL("DROP ROLE {}").format(name))
