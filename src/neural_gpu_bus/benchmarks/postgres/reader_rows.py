"""Readers that end with Python objects: asyncpg, psycopg, and pandas through SQLAlchemy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import psycopg

from neural_gpu_bus.benchmarks.cases.addresses import asyncpg_arguments
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader


class AsyncpgRecords(Reader):
    """One connection, a prepared statement kept by asyncpg."""

    title: ClassVar[str] = "asyncpg fetch"
    how: ClassVar[str] = "ends with Record objects, not columns"
    needs: ClassVar[Mapping[str, str]] = {"asyncpg": "asyncpg"}

    def open(self) -> None:
        """Connect within a loop of its own."""
        import asyncpg

        self.runner = asyncio.Runner()
        self.connection = self.runner.run(asyncpg.connect(**asyncpg_arguments(self.dsn)))

    def read(self, asked: Asked) -> Any:
        """Records."""
        return self.runner.run(self._fetch(asked.statement))

    async def _fetch(self, statement: str) -> Any:
        return await self.connection.fetch(statement)

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """Turned into columns."""
        return dict(zip(asked.columns, zip(*found, strict=True), strict=True))

    def close(self) -> None:
        """Connection and loop."""
        self.runner.run(self.connection.close())
        self.runner.close()


class PsycopgRows(Reader):
    """psycopg 3, binary results."""

    title: ClassVar[str] = "psycopg fetchall"
    how: ClassVar[str] = "binary; ends with tuples, not columns"

    def open(self) -> None:
        """Connect."""
        self.connection = psycopg.connect(self.dsn, autocommit=True, options="-c timezone=UTC")

    def read(self, asked: Asked) -> Any:
        """Tuples."""
        with self.connection.cursor(binary=True) as cursor:
            return cursor.execute(asked.statement.encode()).fetchall()

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """Turned into columns."""
        return dict(zip(asked.columns, zip(*found, strict=True), strict=True))

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


class PandasFrames(Reader):
    """What most people write."""

    title: ClassVar[str] = "pandas.read_sql"
    how: ClassVar[str] = "SQLAlchemy over psycopg2, as its manual has it"
    needs: ClassVar[Mapping[str, str]] = {
        "pandas": "pandas",
        "psycopg2": "psycopg2-binary",
        "sqlalchemy": "sqlalchemy",
    }

    def open(self) -> None:
        """One connection of an engine."""
        import psycopg2
        import sqlalchemy

        self.engine = sqlalchemy.create_engine(
            "postgresql+psycopg2://",
            creator=lambda: psycopg2.connect(self.dsn, options="-c timezone=UTC"),
        )
        self.connection = self.engine.connect()

    def read(self, asked: Asked) -> Any:
        """A DataFrame."""
        import pandas as pd

        return pd.read_sql(asked.statement, self.connection)

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """Missing values as None, whatever pandas has for them."""
        return {name: found[name].astype(object).where(found[name].notna(), None).tolist()
                for name in asked.columns}  # fmt: skip

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
        self.engine.dispose()
