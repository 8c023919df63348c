"""What the ways share: the contract, where results go, and how those are read back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import sql

from neural_gpu_bus.benchmarks.equality import Rows
from neural_gpu_bus.benchmarks.measure import Stopwatch
from neural_gpu_bus.benchmarks.tasks import Task

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Servers:
    """Where all ways read from and store to."""

    postgres_dsn: SecretStr
    redis_url: SecretStr
    #: Schema of the demo's tables.
    schema: str


class Way(Protocol):
    """One way from database to stored result. Its connections are open and warm before any run."""

    name: str

    def prepare(self, task: Task) -> None:
        """Untimed, before the first run: what a service would have done long ago."""

    def run(self, task: Task, watch: Stopwatch) -> int:
        """Read, compute, store into PostgreSQL (committed) and Redis; returns the result's rows."""

    def redis_rows(self, task: Task) -> Rows:
        """What the last run stored in Redis, read back."""

    def close(self) -> None:
        """Close every connection."""


def result_table(way: str, task: Task) -> str:
    """Table, below the demo's schema, for one way's results."""
    return f"result_{way.replace(' ', '_')}_{task.slug}"


def redis_key(way: str, task: Task) -> str:
    """Key for one way's results."""
    return f"ngb:demo:{way.replace(' ', '_')}:{task.slug}"


class ResultTables:
    """The result tables as the demo itself sees them: made alike, emptied, read back.

    Plain psycopg on its own connection: the one reader that no way uses.
    """

    def __init__(self, servers: Servers) -> None:
        self._schema = servers.schema
        self._connection = psycopg.connect(
            servers.postgres_dsn.get_secret_value(), autocommit=True, options="-c timezone=UTC"
        )

    def make_schema(self) -> None:
        """The demo's schema, if it is not there."""
        self._execute("CREATE SCHEMA IF NOT EXISTS {schema}")

    def drop(self, way: str, task: Task) -> None:
        """Remove a result table of an earlier run."""
        self._execute("DROP TABLE IF EXISTS {schema}.{table}", way, task)

    def make_like(self, model_way: str, way: str, task: Task) -> None:
        """An empty result table with the columns and types of another way's."""
        model = sql.Identifier(self._schema, result_table(model_way, task))
        self._execute("CREATE TABLE {schema}.{table} (LIKE {model})", way, task, model=model)

    def empty(self, way: str, task: Task) -> None:
        """Before each run, untimed: every run then stores into an empty table."""
        self._execute("TRUNCATE {schema}.{table}", way, task)

    def rows(self, way: str, task: Task) -> Rows:
        """Everything that one way stored, sorted by the task's key."""
        table = sql.Identifier(self._schema, result_table(way, task))
        cursor = self._connection.execute(sql.SQL("SELECT * FROM {}").format(table))
        names = [column.name for column in cursor.description or ()]
        records = cursor.fetchall()
        columns = list(zip(*records, strict=True)) if records else [()] * len(names)
        return sorted_rows(dict(zip(names, columns, strict=True)), task.key)

    def count(self, statement: str) -> int:
        """Rows that a SELECT gives."""
        counted = sql.SQL("SELECT count(*) FROM ({}) AS counted").format(sql.SQL(statement))
        row = self._connection.execute(counted).fetchone()
        return int(row[0]) if row else 0

    def versions(self) -> dict[str, str]:
        """The server's name and version."""
        row = self._connection.execute("SHOW server_version").fetchone()
        return {"PostgreSQL": str(row[0]).split()[0]} if row else {}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, text: str, way: str = "", task: Task | None = None, **parts: Any) -> None:
        if task is not None:
            parts["table"] = sql.Identifier(result_table(way, task))
        composed = sql.SQL(text).format(schema=sql.Identifier(self._schema), **parts)
        self._connection.execute(composed)


def sorted_rows(columns: Mapping[str, Any], key: str) -> Rows:
    """Columns as plain lists in the order of the key; floats as an array."""
    lists = {name: _plain(values) for name, values in columns.items()}
    order = sorted(range(len(lists[key])), key=lists[key].__getitem__)
    return {name: _floats([values[row] for row in order]) for name, values in lists.items()}


def _plain(values: Any) -> list[Any]:
    """Python values; a time without a zone is UTC, as everywhere in this demo."""
    if hasattr(values, "to_pylist"):
        plain = list(values.to_pylist())
    else:
        plain = list(values.tolist()) if hasattr(values, "tolist") else list(values)
    if plain and isinstance(plain[0], dt.datetime):
        return [
            moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment for moment in plain
        ]
    return plain


def _floats(values: list[Any]) -> Any:
    import numpy as np

    return np.array(values) if values and isinstance(values[0], float) else values
