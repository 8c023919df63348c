"""Settings of work with PostgreSQL: queries, connections, its planner, and rows stored later."""

from __future__ import annotations

from pydantic import Field

from neural_gpu_bus.machine_cores import usable_cores
from neural_gpu_bus.settings.field_types import GIB, Cost, UpToOneDay
from neural_gpu_bus.settings.home_settings import HomeSettings

#: Cores are what reads need; one more for a snapshot that is held, one for a write beside it.
CONNECTIONS_BESIDE_CORES = 2
CONNECTIONS_DEFAULT_MAX = 32


def default_connections() -> int:
    """From the cores that this process may use: PostgreSQL's share of a read takes one each."""
    return min(usable_cores() + CONNECTIONS_BESIDE_CORES, CONNECTIONS_DEFAULT_MAX)


class PostgresSettings(HomeSettings):
    """How long and how large a query may be, and what it may take of the server."""

    hot_timeout_ms: float = Field(
        default=100.0,
        gt=0,
        le=86_400_000,
        description="Longest time of a query of the class hot: the newest rows by an index, which "
        "an engine waits for.",
    )
    query_timeout_s: UpToOneDay = Field(
        default=300.0, description="Longest time one query may take."
    )
    load_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Longest time of a query of the class load, which reads whole tables; by "
        "default there is no limit.",
    )
    query_bytes_max: int | None = Field(
        default=None,
        ge=1 << 20,
        description="Largest reply of PostgreSQL to one query; by default twice the budget of the "
        "shared memory, because a value travels with up to as many bytes around it.",
    )
    postgres_connections_max: int = Field(
        default_factory=default_connections,
        ge=1,
        le=64,
        description="Connections to PostgreSQL that one plane keeps; by default the usable cores "
        "and two, 32 at most. More read no faster, and each may use its part of the memory.",
    )
    postgres_connection_idle_s: UpToOneDay = Field(
        default=600.0,
        description="Connections that nobody used for that long are closed at the next look.",
    )
    postgres_connection_age_s: float = Field(
        default=3600.0,
        gt=0,
        le=604_800,
        description="Connections older than that are not lent again: a server process keeps what "
        "it ever cached.",
    )
    postgres_memory_bytes: int | None = Field(
        default=None,
        ge=64 << 20,
        description="Memory of the machine that PostgreSQL runs on, for work_mem and "
        "effective_cache_size; by default this machine's for the private server, and for an "
        "existing one not known: then its own settings stay.",
    )
    postgres_query_memory_percent: float = Field(
        default=12.5,
        gt=0,
        le=50,
        description="Share of that memory that all queries of one plane together may sort and "
        "hash in.",
    )
    postgres_work_mem_bytes: int | None = Field(
        default=None,
        ge=64 << 10,
        lt=2 << 40,
        description="work_mem of the class query; by default what that share gives each sort, and "
        "never above 256 MiB.",
    )
    postgres_effective_cache_bytes: int | None = Field(
        default=None,
        ge=8 << 10,
        lt=16 << 40,
        description="effective_cache_size of queries; by default three eighths of that memory.",
    )
    postgres_parallel_workers_max: int = Field(
        default=2,
        ge=0,
        le=64,
        description="Helpers that the server may give a query of the class query; none for hot "
        "and load.",
    )
    postgres_random_page_cost: Cost = Field(
        default=None,
        description="random_page_cost of queries; by default 1.1 on the private server, and an "
        "existing one's own.",
    )
    postgres_cpu_tuple_cost: Cost = Field(
        default=None,
        description="cpu_tuple_cost of queries; by default the server's own, as the next two.",
    )
    postgres_cpu_index_tuple_cost: Cost = Field(
        default=None, description="cpu_index_tuple_cost of queries."
    )
    postgres_cpu_operator_cost: Cost = Field(
        default=None, description="cpu_operator_cost of queries."
    )

    write_behind_bytes_max: int = Field(
        default=GIB,
        ge=1 << 20,
        description="Disk that rows of store_later may take in the home until PostgreSQL has them.",
    )
    write_behind_close_timeout_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Longest last try to deliver such rows; what is left then stays on disk.",
    )

    live_slot_wal_bytes_max: int = Field(
        default=8 * GIB,
        ge=16 << 20,
        description="WAL that the server may keep for a persistent slot of live tables: from half "
        "of it on there is a warning, beyond it the slot is dropped and tables are copied anew.",
    )
