"""A schema of its own for each test that writes, and what writes into it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.loading.loads import FileLoader
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter


@dataclass(frozen=True)
class Playground:
    """A schema to play in, a plain connection to look at it, and the two that write."""

    schema: str
    connection: psycopg.Connection
    writer: PostgresWriter
    loader: FileLoader

    def table(self, name: str) -> str:
        return f"{self.schema}.{name}"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Rows of a query on this schema, ``search_path`` set to it."""
        return self.connection.execute(query.encode()).fetchall()

    def run(self, statement: str) -> None:
        self.connection.execute(statement.encode())

    def tables(self) -> list[str]:
        found = self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (self.schema,)
        )
        return [name for (name,) in found]


@contextmanager
def open_playground(postgres_dsn: str) -> Iterator[Playground]:
    """Gone afterwards, with what the ledgers know of it."""
    schema = f"ngb_test_{uuid.uuid4().hex[:12]}"
    pool = Pool(lambda: connect(postgres_dsn, timeout_s=5), connections_max=4, wait_timeout_s=20)
    address = postgres_address(postgres_dsn)
    name = sql.Identifier(schema)
    with psycopg.connect(postgres_dsn, autocommit=True, prepare_threshold=None) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        connection.execute(sql.SQL("SET search_path = {}").format(name))
        connection.execute("SET TimeZone = 'UTC'")
        yield Playground(
            schema, connection, PostgresWriter(pool.lend, address), FileLoader(pool.lend, address)
        )
        pool.close()
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))
        for ledger in ("stored_jobs", "loaded_files"):
            there = connection.execute(
                "SELECT to_regclass(%s)", (f"ngb_ledger.{ledger}",)
            ).fetchone()
            if there != (None,):
                connection.execute(
                    sql.SQL("DELETE FROM ngb_ledger.{} WHERE table_name LIKE %s").format(
                        sql.Identifier(ledger)
                    ),
                    (f"{schema}.%",),
                )


@contextmanager
def own_database(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A database that has nothing in it, for what belongs to a whole database."""
    name = f"ngb_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_dsn, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            own_dsn = make_conninfo(postgres_dsn, dbname=name)
            with psycopg.connect(own_dsn, autocommit=True) as connection:
                yield connection
        finally:
            server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.fixture
def playground(postgres_dsn: str) -> Iterator[Playground]:
    """On the server that tests use."""
    with open_playground(postgres_dsn) as opened:
        yield opened


@pytest.fixture
def existing_playground(existing_postgres_dsn: str) -> Iterator[Playground]:
    """On a server that somebody else set up, of an older version."""
    with open_playground(existing_postgres_dsn) as opened:
        yield opened
