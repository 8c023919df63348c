"""DataPlane: builds every layer from Settings, hands each the others, closes them in order.

The one composition root: a layer never names another, this builds them all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import msgspec

from neural_gpu_bus import embedded
from neural_gpu_bus.analysis import Analysis
from neural_gpu_bus.bus import KEYS_PREFIX, Job, JobRunner, RedisJobQueue, run_worker
from neural_gpu_bus.datasets import Datasets, open_memory
from neural_gpu_bus.descriptors import (
    BusStatistics,
    MemoryStatistics,
    PoolStatistics,
    StoreReceipt,
    StoreTarget,
)
from neural_gpu_bus.errors import ClosedError
from neural_gpu_bus.live_tables import LiveTables, live_table
from neural_gpu_bus.matching import ManyDatasets
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.queries import Queries
from neural_gpu_bus.settings import Settings, load_settings
from neural_gpu_bus.storing import Storing
from neural_gpu_bus.submission import describe_job
from neural_gpu_bus.traditional import EventBus
from neural_gpu_bus.watching.face import Watching

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import SecretStr
    from redis import Redis

    from neural_gpu_bus.live.definitions import LiveDefinitions
    from neural_gpu_bus.live.shared import LiveView
    from neural_gpu_bus.live.sql import LiveSql
    from neural_gpu_bus.query_cache import QueryCache
    from neural_gpu_bus.stores.postgres import PostgresStore, WriteBehind
    from neural_gpu_bus.stores.redis import RedisColumns

#: Topic on the engine-logic bus that says that a job's result is there.
RESULTS_TOPIC = "results"


class _Closes(Protocol):
    def close(self) -> None: ...


_Part = TypeVar("_Part", bound=_Closes)


class PlaneStatistics(msgspec.Struct, frozen=True):
    """Memory, bus and connections at one moment."""

    memory: MemoryStatistics
    bus: BusStatistics
    #: This plane's connections to PostgreSQL; None while it needed none.
    database: PoolStatistics | None = None


def open_plane(*, counted: bool = True, **arguments: Any) -> DataPlane:
    """See ``neural_gpu_bus.open``."""
    settings = load_settings(**arguments)
    let_kernels_be_cached(settings)
    plane = DataPlane(settings, embedded.attach(settings, counted=counted))
    # What earlier processes left; looked for without importing who delivers it.
    if any(_home(settings).glob("write-behind/*/journals/*")):
        plane.write_behind.resume()
    return plane


def _home(settings: Settings) -> Path:
    return settings.home.expanduser().resolve()


def let_kernels_be_cached(settings: Settings) -> None:
    """Compiled kernels lie beside their source; where that cannot be written to, in the home.

    numba reads the variable when it is first imported, which is later than this.
    """
    if not os.access(Path(__file__).parent, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(settings.home / "cache" / "kernels"))


class DataPlane(Queries, LiveTables, Watching, Storing, Analysis, Datasets, ManyDatasets):
    """All that one process needs: data as columns in shared memory, jobs, and bulk stores.

    Each server is connected when it is first needed. Use it as a context manager, or call
    ``close``. Safe for threads.
    """

    def __init__(self, settings: Settings, attachment: embedded.Attachment) -> None:
        self.settings = settings
        self.addresses = attachment.addresses
        #: The lease on this home's servers.
        self.attachment = attachment
        self._parts: dict[str, Any] = {}
        self._building = threading.RLock()
        self._closed = False
        self._closing = ExitStack()
        self._closing.callback(attachment.close)

    # ---- compute

    def submit(
        self,
        workload: str,
        params: Mapping[str, Any],
        *,
        engine: str | None = None,
        table: str | None = None,
        redis_key: str | None = None,
        job_id: str | None = None,
    ) -> Job[Frame]:
        """Hand a registered workload to a worker.

        ``params`` holds inputs and parameters together: a key that names one of the workload's
        inputs takes a Frame, a dataset name, or a mapping of columns; the others are parameters.
        ``engine`` is ``cpu``, ``gpu`` or ``neural``; left out, the planner chooses. ``table`` and
        ``redis_key`` store the result as well. A ``job_id`` stands for one job: the same again,
        over equal values, is run and stored once, and another one is refused while the answer
        lives. To compare, inputs are then summed, at 1 to 2 GB/s.

        Raises UnknownWorkloadError or BadParameterError before anything is sent.
        """
        target = StoreTarget(table, redis_key)
        job, frames = describe_job(
            self.memory, workload, params, engine=engine, target=target, job_id=job_id
        )
        self.queue.submit(job)
        wait_s = self.settings.wait_timeout_s
        return Job(self.queue, self.memory, job, keep_alive=frames, timeout_s=wait_s)

    def run_worker(self, *, stop: Callable[[], bool] | None = None) -> None:
        """Take jobs and run them here until ``stop`` says so, SIGTERM or Ctrl-C."""
        from neural_gpu_bus.engines import DeviceCopies, build_planner
        from neural_gpu_bus.memory.frames.origin import origin
        from neural_gpu_bus.workloads import WORKLOADS, load_kernels

        load_kernels()  # now, so that the first job does not pay the half second
        copies = DeviceCopies(self.memory.budget("gpu"), origin, lives=self.memory.holds)
        runner = JobRunner(
            self.memory,
            WORKLOADS,
            build_planner(self.settings.gpu_backend, self.settings.neural_provider, copies=copies),
            store=self._store_result,
            write_redis=self._write_result,
            announce=self._announce_result,
            results_ttl_s=self.settings.job_answer_ttl_s,
            count_use=self.memory.count_use,
        )
        try:
            run_worker(self.queue, runner, stop=stop)
        finally:
            self.queue.close()

    def run_live(self, *, stop: Callable[[], bool]) -> None:
        """Follow this home's live tables here, until ``stop`` says so or nothing is live."""
        from neural_gpu_bus.live.service import follow_tables

        follow_tables(
            _home(self.settings),
            self.memory,
            self.addresses.postgres_dsn.get_secret_value(),
            connections_max=self.settings.postgres_connections_max,
            connect_timeout_s=self.settings.connect_timeout_s,
            query_bytes_max=self.settings.query_limit_bytes,
            slot_wal_bytes_max=self.settings.live_slot_wal_bytes_max,
            stop=stop,
        )

    # Methods, so that a worker connects to a server when the first result has to go there.

    def _store_result(self, table: str, columns: pa.Table, job_id: str) -> StoreReceipt:
        return self.database.store(table, columns, job_id=job_id)

    def _write_result(self, key: str, columns: pa.Table) -> int:
        return self.redis.write(key, columns)

    def _announce_result(self, kind: str, facts: Mapping[str, Any]) -> None:
        self.engine_logic.publish(RESULTS_TOPIC, kind, facts)

    def statistics(self) -> PlaneStatistics:
        """Memory, bus and connections to PostgreSQL at this moment."""
        database: PostgresStore | None = self._parts.get("database")
        return PlaneStatistics(
            self.memory.statistics(),
            self.queue.statistics(),
            database.statistics() if database is not None else None,
        )

    # ---- the layers, each built when it is first needed

    @property
    def memory(self) -> UnifiedMemory:
        """Layer 2."""
        return self._built("memory", self._make_memory)

    def _make_memory(self) -> UnifiedMemory:
        memory = open_memory(self.settings, self.addresses.memory_folder)
        # Found again in 0.2 us; by way of ``memory`` it would be three times that.
        self.__dict__["get"] = memory.get
        return memory

    @property
    def database(self) -> PostgresStore:
        """Layer 3, PostgreSQL."""
        from neural_gpu_bus.stores.postgres import PostgresStore, build_query_classes

        return self._built(
            "database",
            lambda: PostgresStore(
                self.addresses.postgres_dsn.get_secret_value(),
                # The decoder writes every byte of what it reserves.
                partial(self.memory.reserve, cleared=False),
                connections_max=self.settings.postgres_connections_max,
                connect_timeout_s=self.settings.connect_timeout_s,
                query_timeout_s=self.settings.query_timeout_s,
                result_bytes_max=self.settings.query_limit_bytes,
                query_classes=build_query_classes(self.settings),
                connection_age_s=self.settings.postgres_connection_age_s,
                connection_idle_s=self.settings.postgres_connection_idle_s,
            ),
        )

    @property
    def write_behind(self) -> WriteBehind:
        """Rows of ``store_later`` on their way: waits for them, tells how they stand, and keeps
        those that the server refused.
        """
        return self._built("write_behind", self._make_write_behind)

    def _make_write_behind(self) -> WriteBehind:
        home = _home(self.settings)
        if not home.exists():
            embedded.open_home(self.settings)
        return self.database.open_write_behind(
            home,
            is_private=self.settings.postgres_dsn is None,
            bytes_max=self.settings.write_behind_bytes_max,
            close_timeout_s=self.settings.write_behind_close_timeout_s,
        )

    @property
    def query_cache(self) -> QueryCache:
        """Results of queries that stay in layer 2; ``statistics()`` counts them."""
        kept: QueryCache | None = self.__dict__.get("_query_cache")
        return kept or self._built("query_cache", self._make_query_cache)

    def _make_query_cache(self) -> QueryCache:
        from neural_gpu_bus.query_cache import QueryCache
        from neural_gpu_bus.query_cache.live_answers import LiveAnswers

        memory = self.memory
        cache = QueryCache(
            memory,
            memory.folder,
            lambda: self.database,
            # Of a larger one the old and the new version would not both fit.
            bytes_max=memory.budget("shared") // 2,
            wait_timeout_s=self.settings.query_timeout_s,
            live=lambda: LiveAnswers(
                memory.folder, self.live_view, self.live_definitions, lambda: self.attachment
            ),
        )
        # Found again without the lock, for the microsecond in which a kept result is answered.
        self.__dict__["_query_cache"] = cache
        return cache

    @property
    def live_view(self) -> LiveView:
        """How live tables stand, as the process that follows them tells."""
        from neural_gpu_bus.live.shared import LiveView

        with self._building:
            found: LiveView | None = self.__dict__.get("_live_view")
            if found is None:
                found = self.__dict__["_live_view"] = LiveView(self.memory.folder)
            return found

    @property
    def live_definitions(self) -> LiveDefinitions:
        """What is live, as declared."""
        from neural_gpu_bus.live.definitions import LiveDefinitions

        return LiveDefinitions(_home(self.settings))

    @property
    def live_sql(self) -> LiveSql:
        """Statements over live tables. Raises MissingDependencyError without DuckDB."""
        return self._built("live_sql", self._make_live_sql)

    def _make_live_sql(self) -> LiveSql:
        from neural_gpu_bus.live.sql import LiveSql

        view = self.live_view
        bytes_max = self.settings.query_limit_bytes
        return LiveSql(view.tables, partial(live_table, self), bytes_max=bytes_max)

    @property
    def redis(self) -> RedisColumns:
        """Layer 3, the compute Redis as a store of whole frames."""
        from neural_gpu_bus.stores.redis import RedisColumns

        url = self.addresses.compute_redis_url
        return self._built(
            "redis", lambda: RedisColumns(*self._client(url), reserved_prefix=KEYS_PREFIX)
        )

    @property
    def queue(self) -> RedisJobQueue:
        """Layer 1, the durable lane on the compute Redis."""
        return self._built("queue", self._make_queue)

    def _make_queue(self) -> RedisJobQueue:
        from neural_gpu_bus.stores.redis import translated

        settings = self.settings
        client, address = self._client(self.addresses.compute_redis_url)
        return RedisJobQueue(
            client,
            lease_s=settings.job_lease_s,
            deliveries_max=settings.job_deliveries_max,
            answer_ttl_s=settings.job_answer_ttl_s,
            waiting_max=settings.jobs_waiting_max,
            translated=partial(translated, address),
        )

    @property
    def market_data(self) -> EventBus:
        """Layer 4, port 6380: events in."""
        return self._built("market_data", partial(self._bus, self.addresses.market_data_redis_url))

    @property
    def engine_logic(self) -> EventBus:
        """Layer 4, port 6381: results out."""
        url = self.addresses.engine_logic_redis_url
        return self._built("engine_logic", partial(self._bus, url))

    def _bus(self, url: SecretStr) -> EventBus:
        from neural_gpu_bus.stores.redis import translated

        client, address = self._client(url)
        return EventBus(client, translated=partial(translated, address))

    def _client(self, url: SecretStr) -> tuple[Redis, str]:
        from neural_gpu_bus.addresses import redis_address
        from neural_gpu_bus.stores.redis import connect

        text = url.get_secret_value()
        return connect(text, timeout_s=self.settings.connect_timeout_s), redis_address(text)

    def _built(self, name: str, make: Callable[[], _Part]) -> _Part:
        with self._building:
            if self._closed:
                raise ClosedError(
                    "this plane is closed", hint="open another: with ngb.open() as plane: ..."
                )
            if name not in self._parts:
                part = make()
                self._closing.callback(part.close)
                self._parts[name] = part
            built: _Part = self._parts[name]
            return built

    # ---- the end

    def close(self) -> None:
        """Close what was opened, last first, and give the servers back. Harmless when repeated."""
        with self._building:
            self._closed = True
            self.__dict__.pop("get", None)
            self.__dict__.pop("_query_cache", None)
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DataPlane of {self.settings.home}>"
