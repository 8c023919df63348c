"""The traditional way: what a competent engineer writes today.

``pandas.read_sql`` through SQLAlchemy and psycopg2; pandas and numpy in idiomatic, vectorised code;
results by executemany through SQLAlchemy and psycopg 3; pickle in Redis, which takes frames faster
than JSON and keeps their types. Two drivers, because each is the faster one at its part: psycopg2
reads 1.5 times as fast here, psycopg 3 writes in half the time.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.equality import Rows
from neural_gpu_bus.benchmarks.measure import Stopwatch
from neural_gpu_bus.benchmarks.results import TRADITIONAL
from neural_gpu_bus.benchmarks.tasks import Task
from neural_gpu_bus.benchmarks.ways import Servers, redis_key, result_table, sorted_rows

if TYPE_CHECKING:
    import sqlalchemy


class TraditionalWay:
    """Pooled connections to PostgreSQL, one to read and one to write, and one to Redis."""

    name = TRADITIONAL

    def __init__(self, servers: Servers) -> None:
        import psycopg
        import psycopg2
        import redis
        import sqlalchemy

        dsn = servers.postgres_dsn.get_secret_value()
        self._schema = servers.schema
        self._reading = sqlalchemy.create_engine(
            "postgresql+psycopg2://",
            creator=lambda: psycopg2.connect(dsn, options="-c timezone=UTC"),
        )
        self._writing = sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(dsn, options="-c timezone=UTC"),
        )
        self._redis = redis.Redis.from_url(servers.redis_url.get_secret_value())
        self._tables: dict[str, sqlalchemy.Table] = {}

    def prepare(self, task: Task) -> None:
        """Reflect the result table once, as an application does at its start."""
        import sqlalchemy

        self._tables[task.workload] = sqlalchemy.Table(
            result_table(self.name, task),
            sqlalchemy.MetaData(),
            schema=self._schema,
            autoload_with=self._writing,
        )

    def run(self, task: Task, watch: Stopwatch) -> int:
        """Read, compute, store."""
        import pandas as pd
        import sqlalchemy

        from neural_gpu_bus.benchmarks.traditional_maths import COMPUTE

        with self._reading.connect() as connection:
            frames = {name: pd.read_sql(sql, connection) for name, sql in task.inputs.items()}
        watch.lap("read")
        result: pd.DataFrame = COMPUTE[task.workload](**frames, **task.params)
        watch.lap("compute")
        records: Any = result.to_dict("records")
        with self._writing.begin() as connection:
            connection.execute(sqlalchemy.insert(self._tables[task.workload]), records)
        self._redis.set(redis_key(self.name, task), pickle.dumps(result, protocol=5))
        watch.lap("store")
        return len(result)

    def redis_rows(self, task: Task) -> Rows:
        """Unpickle what this very process wrote."""
        stored: Any = self._redis.get(redis_key(self.name, task))
        frame = pickle.loads(stored)  # noqa: S301 - our own bytes, from the line above
        return sorted_rows({name: _plain(frame[name]) for name in frame}, task.key)

    def close(self) -> None:
        """Close all."""
        self._reading.dispose()
        self._writing.dispose()
        self._redis.close()


def _plain(series: Any) -> Any:
    return (
        [value.to_pydatetime() for value in series] if series.dtype.kind == "M" else series.tolist()
    )
