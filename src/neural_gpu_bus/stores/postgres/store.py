"""PostgresStore: one pool of connections behind reading, writing and loading files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.addresses import postgres_address, postgres_parts
from neural_gpu_bus.ports import Database
from neural_gpu_bus.stores.postgres.connections.connection import connect, translated
from neural_gpu_bus.stores.postgres.connections.pool import AGE_S_MAX, IDLE_S_MAX, Pool
from neural_gpu_bus.stores.postgres.dependencies.cost_estimates import CostEstimate, cost_estimate
from neural_gpu_bus.stores.postgres.dependencies.dependencies import DependencyReader
from neural_gpu_bus.stores.postgres.dependencies.identity import Identity, ask_identity
from neural_gpu_bus.stores.postgres.loading.loads import FileLoader, LoadReport
from neural_gpu_bus.stores.postgres.reading.reader import AS_THEY_COME, PostgresReader
from neural_gpu_bus.stores.postgres.write_behind.server_folder import server_folder
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from neural_gpu_bus.descriptors import PoolStatistics, StoreReceipt
    from neural_gpu_bus.ports import Columns, Progress, Reserve
    from neural_gpu_bus.stores.postgres.connections.query_classes import (
        QueryClasses,
        QueryClassName,
    )
    from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
    from neural_gpu_bus.stores.postgres.dependencies.dependency_records import Dependencies
    from neural_gpu_bus.stores.postgres.reading.parameter_values import Params
    from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
    from neural_gpu_bus.stores.postgres.writing.row_writing import Mode


class PostgresStore(Database):
    """The ``Database`` port on PostgreSQL 14 to 18. Connections open on first use.

    ``reserve`` gives the memory that results are read into; ``result_bytes_max`` bounds one reply.
    ``query_classes``: by default ``query_timeout_s`` for queries, 100 ms for hot ones.
    """

    def __init__(
        self,
        dsn: str,
        reserve: Reserve,
        *,
        connections_max: int,
        connect_timeout_s: float,
        query_timeout_s: float,
        result_bytes_max: int,
        query_classes: QueryClasses | None = None,
        connection_age_s: float = AGE_S_MAX,
        connection_idle_s: float = IDLE_S_MAX,
    ) -> None:
        self.address = postgres_address(dsn)
        self._dsn = dsn
        self._pool = Pool(
            partial(_connect_fitted, dsn, connect_timeout_s, query_classes),
            connections_max=connections_max,
            wait_timeout_s=query_timeout_s,
            age_s_max=connection_age_s,
            idle_s_max=connection_idle_s,
        )
        self._reader = PostgresReader(
            self._pool,
            reserve,
            address=self.address,
            timeout_s=query_timeout_s,
            received_bytes_max=result_bytes_max,
            query_classes=query_classes,
        )
        self._dependencies = DependencyReader(self._pool.lend, self.address)
        self._server = ""
        self._session_options = str(postgres_parts(dsn).get("options") or "")
        self._writer = PostgresWriter(self._pool.lend, self.address)
        self._loader = FileLoader(self._pool.lend, self.address)

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        query_class: QueryClassName = "query",
        timeout_s: float | None = None,
        name: str | None = None,
        options: ReadOptions = AS_THEY_COME,
        snapshot: Snapshot | str | None = None,
        progress: Progress | None = None,
        reserve: Reserve | None = None,
    ) -> Columns:
        """A SELECT's rows as columns; see ``PostgresReader.query``."""
        return self._reader.query(
            sql,
            params,
            query_class=query_class,
            timeout_s=timeout_s,
            name=name,
            options=options,
            snapshot=snapshot,
            progress=progress,
            reserve=reserve,
        )

    def read_limit_s(self, query_class: QueryClassName, timeout_s: float | None) -> float:
        """Longest time of a read of that class, unless the caller gives one; infinite for none.

        Raises BadParameterError for a class or a time that is none.
        """
        limit_s = self._reader.limit(query_class, timeout_s).timeout_s
        return math.inf if limit_s is None else limit_s

    @property
    def reader(self) -> PostgresReader:
        """Tables, streams and snapshots."""
        return self._reader

    def dependencies(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Dependencies:
        """What a statement's result depends on; see ``DependencyReader.dependencies``."""
        return self._dependencies.dependencies(sql, params, timeout_s=timeout_s)

    def cost_estimate(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> CostEstimate:
        """What the server thinks that a statement costs; it is not run."""
        limit = self._reader.limit("query", timeout_s)
        limit_ms = 0 if limit.timeout_s is None else math.ceil(1000 * limit.timeout_s)
        with (
            limit.named(),
            translated(self.address, timeout_s=limit.timeout_s),
            self._pool.lend() as connection,
        ):
            return cost_estimate(connection, sql, params, limit_ms=limit_ms)

    def still_holds(self, known: Dependencies) -> bool:
        """Whether that is as it was; one look at the catalog."""
        return self._dependencies.still_holds(known)

    def asked(self, question: bytes, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a small question to the catalog."""
        with translated(self.address), self._pool.lend() as connection:
            return connection.execute(question, values).fetchall()

    def identity(self) -> Identity:
        """Server, database, user and the settings that change what a statement means."""
        return ask_identity(self._pool.lend, self.address, self._session_options)

    def server(self) -> str:
        """The system's identifier and the database, asked once: a private server changes ports."""
        if not self._server:
            self._server = self.identity().server
        return self._server

    def store(
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
        create: bool = True,
        transactions: int = 1,
    ) -> StoreReceipt:
        """Columns into a table, all rows or none; see ``PostgresWriter.store``."""
        return self._writer.store(
            table,
            columns,
            key=key,
            mode=mode,
            job_id=job_id,
            create=create,
            transactions=transactions,
        )

    def open_write_behind(
        self, home: Path, *, is_private: bool, bytes_max: int, close_timeout_s: float
    ) -> WriteBehind:
        """Rows that wait in ``home`` for this server; ``is_private``: it is that home's own."""
        folder = server_folder(home, self._dsn, is_private=is_private)
        return WriteBehind(
            self._pool.lend,
            self.address,
            folder,
            bytes_max=bytes_max,
            close_timeout_s=close_timeout_s,
        )

    def load(
        self,
        files: Sequence[str | os.PathLike[str]],
        table: str,
        *,
        key: Sequence[str] | None = None,
        text: Sequence[str] = (),
        again: bool = False,
        progress: Progress | None = None,
    ) -> list[LoadReport]:
        """Files into a table, safe to repeat; see ``FileLoader.load``."""
        return self._loader.load(files, table, key=key, text=text, again=again, progress=progress)

    def statistics(self) -> PoolStatistics:
        """Its connections at this moment."""
        return self._pool.statistics()

    def close(self) -> None:
        """Close the connections and give the receive buffer back."""
        self._reader.close()
        self._pool.close()


def _connect_fitted(
    dsn: str, timeout_s: float, query_classes: QueryClasses | None
) -> psycopg.Connection:
    """A connection; the first one tells which settings its server takes."""
    connection = connect(dsn, timeout_s=timeout_s)
    if query_classes is not None:
        try:
            query_classes.fit(connection)
        except BaseException:
            connection.close()
            raise
    return connection
