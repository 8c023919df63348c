"""The best library way: the fastest well-kept libraries, each at its best settings.

ADBC reads Arrow by binary COPY and ingests by it; TA-Lib, skfolio.measures, Polars and numpy
compute on the Arrow buffers; redis-py with hiredis sends all columns' raw bytes in one HSET. One
cursor for all: a new one in each run costs 0.05 ms, and MULTI around the HSET 0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.equality import Rows
from neural_gpu_bus.benchmarks.measure import Stopwatch
from neural_gpu_bus.benchmarks.results import LIBRARY
from neural_gpu_bus.benchmarks.tasks import Task
from neural_gpu_bus.benchmarks.ways import Servers, redis_key, result_table, sorted_rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Separates texts in a text column's bytes; no label holds it.
SEPARATOR = "\x1f"


class LibraryWay:
    """One connection to PostgreSQL and one to Redis, opened once."""

    name = LIBRARY

    def __init__(self, servers: Servers) -> None:
        import redis
        from adbc_driver_postgresql import dbapi

        self._schema = servers.schema
        self._connection = dbapi.connect(servers.postgres_dsn.get_secret_value())
        self._cursor = self._connection.cursor()
        self._redis = redis.Redis.from_url(servers.redis_url.get_secret_value())

    def prepare(self, task: Task) -> None:
        """Columns of an earlier result go; from then on the columns are always the same."""
        self._redis.delete(redis_key(self.name, task))

    def run(self, task: Task, watch: Stopwatch) -> int:
        """Read, compute, store."""
        from neural_gpu_bus.benchmarks.library_maths import COMPUTE

        tables = {name: self._read(sql) for name, sql in task.inputs.items()}
        watch.lap("read")
        result: pa.Table = COMPUTE[task.workload](**tables, **task.params)
        watch.lap("compute")
        self._cursor.adbc_ingest(
            result_table(self.name, task), result, mode="append", db_schema_name=self._schema
        )
        self._connection.commit()
        self._write_redis(redis_key(self.name, task), result)
        watch.lap("store")
        return result.num_rows

    def _read(self, sql: str) -> pa.Table:
        self._cursor.execute(sql)
        table: pa.Table = self._cursor.fetch_arrow_table()
        return table

    def _write_redis(self, key: str, table: pa.Table) -> None:
        self._redis.hset(key, mapping={name: _to_bytes(table[name]) for name in table.column_names})

    def redis_rows(self, task: Task) -> Rows:
        """Each column from its bytes, by the type that its name's prefix says."""
        stored: Any = self._redis.hgetall(redis_key(self.name, task))
        columns = {name.decode(): _from_bytes(value) for name, value in stored.items()}
        return sorted_rows(columns, task.key)

    def close(self) -> None:
        """Close all."""
        self._cursor.close()
        self._connection.close()
        self._redis.close()


def _to_bytes(column: Any) -> bytes:
    """numpy's dtype, a newline, then the column's bytes; text is joined."""
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return b"text\n" + SEPARATOR.join(column.to_pylist()).encode()
    array = column.to_numpy()
    return b"\n".join((array.dtype.str.encode(), array.tobytes()))


def _from_bytes(stored: bytes) -> Any:
    import numpy as np

    kind, _, data = stored.partition(b"\n")
    if kind == b"text":
        return data.decode().split(SEPARATOR)
    return np.frombuffer(data, dtype=np.dtype(kind.decode()))
