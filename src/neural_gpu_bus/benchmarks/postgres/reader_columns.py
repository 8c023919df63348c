"""Readers that end with columns: ADBC, Polars and pandas over it, ConnectorX, DuckDB's scanner."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from neural_gpu_bus.benchmarks.cases.addresses import connectorx_url
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader


class AdbcTables(Reader):
    """One connection: ADBC has no second one for a read."""

    title: ClassVar[str] = "ADBC"
    how: ClassVar[str] = "fetch_arrow_table; one connection, it has no other way"
    needs: ClassVar[Mapping[str, str]] = {"adbc_driver_postgresql": "adbc-driver-postgresql"}

    def open(self) -> None:
        """Connect."""
        from adbc_driver_postgresql import dbapi

        self.connection = dbapi.connect(self.dsn)
        with self.connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")

    def read(self, asked: Asked) -> Any:
        """An Arrow table."""
        with self.connection.cursor() as cursor:
            cursor.execute(asked.statement)
            return cursor.fetch_arrow_table()

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """As they are."""
        return {name: found[name] for name in asked.columns}

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


class PolarsFrames(AdbcTables):
    """Polars over an ADBC connection that stays open."""

    title: ClassVar[str] = "Polars read_database"
    how: ClassVar[str] = "over an open ADBC connection, its quickest"
    needs: ClassVar[Mapping[str, str]] = {**AdbcTables.needs, "polars": "polars"}

    def read(self, asked: Asked) -> Any:
        """A Polars frame."""
        import polars as pl

        return pl.read_database(asked.statement, connection=self.connection)

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """As Arrow."""
        return super().columns(found.to_arrow(), asked)


class PandasOverAdbc(AdbcTables):
    """pandas' own quick way, which few use."""

    title: ClassVar[str] = "pandas.read_sql over ADBC"
    how: ClassVar[str] = "with Arrow's own types"
    needs: ClassVar[Mapping[str, str]] = {**AdbcTables.needs, "pandas": "pandas"}

    def read(self, asked: Asked) -> Any:
        """A DataFrame."""
        import pandas as pd

        return pd.read_sql(asked.statement, self.connection, dtype_backend="pyarrow")

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """As Arrow."""
        import pyarrow as pa

        return super().columns(pa.Table.from_pandas(found), asked)


class ConnectorxTables(Reader):
    """A connection a call; several where a column can be cut, without a common snapshot."""

    title: ClassVar[str] = "ConnectorX"
    how: ClassVar[str] = "Arrow, binary; opens its connection in every call"
    needs: ClassVar[Mapping[str, str]] = {"connectorx": "connectorx"}
    parts: ClassVar[int] = 1

    def open(self) -> None:
        """Nothing stays open."""
        self.url = connectorx_url(self.dsn)

    def read(self, asked: Asked) -> Any:
        """An Arrow table."""
        import connectorx

        cut: dict[str, Any] = {}
        if asked.cut_by and self.parts > 1:
            cut = {"partition_on": asked.cut_by, "partition_num": self.parts}
        return connectorx.read_sql(self.url, asked.statement, return_type="arrow", **cut)

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """As they are."""
        return {name: found[name] for name in asked.columns}


class ConnectorxInTwo(ConnectorxTables):
    """Two parts, as many as the reference machine has cores."""

    title: ClassVar[str] = "ConnectorX, 2 partitions"
    how: ClassVar[str] = "two ranges of a number; its connections share no snapshot"
    parts: ClassVar[int] = 2


class DuckdbTables(Reader):
    """The scanner reads pages by ctid on all threads; a statement goes to the server whole."""

    title: ClassVar[str] = "DuckDB postgres_scanner"
    how: ClassVar[str] = "ATTACH, COPY BINARY by ctid on all threads, to Arrow"
    needs: ClassVar[Mapping[str, str]] = {
        "duckdb": "duckdb",
        "duckdb_extension_postgres_scanner": "duckdb-extension-postgres-scanner==1.5.5",
    }

    def open(self) -> None:
        """Load the extension from its package, and attach."""
        import duckdb

        self.connection = duckdb.connect()
        self.connection.execute(f"LOAD '{_scanner()}'")
        self.connection.execute("SET TimeZone = 'UTC'")
        address = self.dsn.replace("'", "''")
        self.connection.execute(f"ATTACH '{address}' AS pg (TYPE postgres, READ_ONLY)")

    def read(self, asked: Asked) -> Any:
        """An Arrow table."""
        if asked.rest:
            # It pushes no ORDER BY with LIMIT down: the statement is the server's, whole.
            text = asked.statement.replace("'", "''")
            statement = f"SELECT * FROM postgres_query('pg', '{text}')"  # noqa: S608
            return self.connection.execute(statement).to_arrow_table()
        names = ", ".join(asked.columns)
        statement = f"SELECT {names} FROM pg.{asked.table}"  # noqa: S608
        return self.connection.execute(statement).to_arrow_table()

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """As they are."""
        return {name: found[name] for name in asked.columns}

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


def _scanner() -> Path:
    """The extension's file in its package, by version of DuckDB."""
    import duckdb

    found = importlib.util.find_spec("duckdb_extension_postgres_scanner")
    assert found is not None  # noqa: S101  (needs says so)
    assert found.origin is not None  # noqa: S101
    folder = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return folder / "postgres_scanner.duckdb_extension"
