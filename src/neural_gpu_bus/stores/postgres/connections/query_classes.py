"""Kinds of statements, each with a time limit and the server's settings that fit it.

``hot`` is what an engine waits for: the newest bars of one instrument, by an index. ``query`` is
what a person or a job asks. ``load`` reads whole tables, however long that takes.

A sort or hash may take ``work_mem`` each, so a value that looks small multiplies: 256 MB for each
of 200 connections is 50 GB. Here it is the other way round: a share of the server's memory, divided
by all that may take it at once (``work_mem_bytes``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import psycopg
import structlog

from neural_gpu_bus.errors import BadSettingError

if TYPE_CHECKING:
    from neural_gpu_bus.settings import Settings

QueryClassName = Literal["hot", "query", "load"]

KIB, MIB = 1 << 10, 1 << 20
#: Sorts and hashes of one plan at once: a join, a grouping, a window and an ORDER BY. A plan of
#: more takes more; the share of the memory has room for that, an eighth leaves seven.
PLAN_NODES: Final = 4
#: A hash may take this much more than a sort (``hash_mem_multiplier``, the server's default since
#: 15); set with every ``work_mem``, so that the arithmetic holds on any server.
HASH_MEM_MULTIPLIER: Final = 2
#: PostgreSQL's own lowest, and the original design's value: beyond it a sort gains little.
WORK_MEM_BYTES_MIN: Final = 64 * KIB
WORK_MEM_BYTES_MAX: Final = 256 * MIB
#: Reads of data in memory or on an SSD; 1 would say that order does not matter at all.
RANDOM_PAGE_COST: Final = 1.1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueryClass:
    """How the statements of one kind are run."""

    name: QueryClassName
    #: Longest time for one statement; None for none.
    timeout_s: float | None
    #: The server's settings for the statement's transaction, by name, as SET takes them.
    server_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    #: Names that the server was found to refuse; one set for all classes of a plane, which fills
    #: when its first connection opens.
    refused: set[str] = field(default_factory=set, compare=False, repr=False)

    def set_local(self) -> bytes:
        """Statements that put the settings in force until the transaction ends; empty for none.

        Names and values are this package's own, never a caller's. Each costs 1.2 us (PostgreSQL
        18, one core, 2026-11-22), so what the server has already is set all the same.
        """
        return b"".join(
            f"SET LOCAL {name} = '{value}'; ".encode()
            for name, value in self.server_settings.items()
            if name not in self.refused
        )


class QueryClasses(Mapping[QueryClassName, QueryClass]):
    """All classes by name; what a server refuses to set is left out once it was ``fit``."""

    def __init__(self, classes: Mapping[QueryClassName, QueryClass]) -> None:
        self._refused: set[str] = set()
        self._classes = {name: replace(one, refused=self._refused) for name, one in classes.items()}
        self._fitted = False

    def __getitem__(self, name: QueryClassName) -> QueryClass:
        return self._classes[name]

    def __iter__(self) -> Iterator[QueryClassName]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def fit(self, connection: psycopg.Connection) -> None:
        """Try each setting once on an idle connection of that server, and drop what it refuses:
        a server that lacks one, or whose owner forbids it, still answers.
        """
        if self._fitted:
            return
        wanted = {pair for one in self.values() for pair in one.server_settings.items()}
        refused = _refused(connection, sorted(wanted))
        if "hash_mem_multiplier" in refused:
            # With a multiplier that nobody knows the arithmetic of work_mem would not hold.
            refused.add("work_mem")
        if refused:
            _log.warning("the server keeps its own settings", settings=sorted(refused))
        self._refused |= refused
        self._fitted = True


def _refused(connection: psycopg.Connection, wanted: list[tuple[str, str]]) -> set[str]:
    """Those that cannot be set; all of them are tried in one transaction that is rolled back."""
    refused: set[str] = set()
    with connection.transaction(force_rollback=True):
        for name, value in wanted:
            try:
                with connection.transaction():
                    connection.execute(f"SET LOCAL {name} = '{value}'".encode())
            except psycopg.errors.Error as error:
                if error.sqlstate is None or connection.broken:
                    raise
                refused.add(name)
    return refused


def build_query_classes(settings: Settings) -> QueryClasses:
    """The three classes of these settings. Pure; BadSettingError for a ``work_mem`` that the
    memory of the server cannot bear.
    """
    workers = settings.postgres_parallel_workers_max
    costs = _costs(settings)
    alone = {"max_parallel_workers_per_gather": "0", "jit": "off"}
    return QueryClasses(
        {
            # One index, no sort: what counts is that planning and starting take no time.
            "hot": QueryClass(
                "hot",
                settings.hot_timeout_ms / 1000,
                MappingProxyType(costs | alone),
            ),
            "query": QueryClass(
                "query",
                settings.query_timeout_s,
                MappingProxyType(
                    costs
                    | {"max_parallel_workers_per_gather": str(workers)}
                    | _memory(settings, workers, settings.postgres_work_mem_bytes)
                ),
            ),
            # Several connections read side by side: helpers would take cores from them, and
            # compiling a plain scan gains nothing.
            "load": QueryClass(
                "load",
                settings.load_timeout_s,
                MappingProxyType(costs | alone | _memory(settings, 0, None)),
            ),
        }
    )


def work_mem_bytes(
    server_bytes: int, *, percent: float, connections: int, parallel_workers: int
) -> int:
    """What each sort may take, so that all of them together stay within ``percent`` of the
    server's memory: connections x processes x nodes of a plan x what a hash takes more.
    """
    takers = connections * (1 + parallel_workers) * PLAN_NODES * HASH_MEM_MULTIPLIER
    fair = int(server_bytes * percent / 100) // takers
    return max(WORK_MEM_BYTES_MIN, min(fair, WORK_MEM_BYTES_MAX))


def _memory(settings: Settings, workers: int, asked_bytes: int | None) -> dict[str, str]:
    """``work_mem`` and its multiplier; nothing where the server's memory is not known."""
    server_bytes = settings.postgres_host_bytes
    if server_bytes is None and asked_bytes is None:
        return {}
    if server_bytes is None or asked_bytes is None:
        fair = asked_bytes if server_bytes is None else _fair_bytes(settings, workers, server_bytes)
    else:
        _check_asked(settings, workers, asked_bytes, server_bytes)
        fair = asked_bytes
    assert fair is not None  # noqa: S101  (one of the two is known here)
    return {"work_mem": f"{fair // KIB}kB", "hash_mem_multiplier": str(HASH_MEM_MULTIPLIER)}


def _fair_bytes(settings: Settings, workers: int, server_bytes: int) -> int:
    return work_mem_bytes(
        server_bytes,
        percent=settings.postgres_query_memory_percent,
        connections=settings.postgres_connections_max,
        parallel_workers=workers,
    )


def _check_asked(settings: Settings, workers: int, asked_bytes: int, server_bytes: int) -> None:
    takers = (1 + workers) * settings.postgres_connections_max * PLAN_NODES * HASH_MEM_MULTIPLIER
    share_bytes = int(server_bytes * settings.postgres_query_memory_percent / 100)
    if asked_bytes * takers <= share_bytes:
        return
    raise BadSettingError(
        f"work_mem of {asked_bytes / MIB:g} MiB x {PLAN_NODES} sorts of a plan x "
        f"{HASH_MEM_MULTIPLIER} for hashes x {1 + workers} processes x "
        f"{settings.postgres_connections_max} connections = {asked_bytes * takers / MIB:,.0f} MiB, "
        f"more than {settings.postgres_query_memory_percent:g} % of the server's "
        f"{server_bytes / MIB:,.0f} MiB",
        hint=f"set NGB_POSTGRES_WORK_MEM_BYTES to {share_bytes // takers} at most, or less of "
        "NGB_POSTGRES_CONNECTIONS_MAX or NGB_POSTGRES_PARALLEL_WORKERS_MAX",
        setting="postgres_work_mem_bytes",
    )


def _costs(settings: Settings) -> dict[str, str]:
    """What the planner is told; of an existing server only what the settings say."""
    private = settings.postgres_dsn is None
    random_page_cost = settings.postgres_random_page_cost or (RANDOM_PAGE_COST if private else None)
    costs = {
        "random_page_cost": random_page_cost,
        "cpu_tuple_cost": settings.postgres_cpu_tuple_cost,
        "cpu_index_tuple_cost": settings.postgres_cpu_index_tuple_cost,
        "cpu_operator_cost": settings.postgres_cpu_operator_cost,
    }
    found = {name: f"{value:g}" for name, value in costs.items() if value is not None}
    cache_bytes = settings.postgres_effective_cache_bytes
    if cache_bytes is None and settings.postgres_host_bytes is not None:
        # Shared memory and the Redis's may take 9/16 (embedded/sizes.py); most of the rest.
        cache_bytes = settings.postgres_host_bytes * 3 // 8
    if cache_bytes is not None:
        found["effective_cache_size"] = f"{cache_bytes // KIB}kB"
    return found
