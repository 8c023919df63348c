"""Each class has its time and its settings, and the memory they may take together is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.settings import Settings
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.query_classes import (
    HASH_MEM_MULTIPLIER,
    PLAN_NODES,
    WORK_MEM_BYTES_MAX,
    WORK_MEM_BYTES_MIN,
    QueryClass,
    QueryClasses,
    build_query_classes,
    work_mem_bytes,
)

GIB = 1 << 30
EXISTING = "postgresql://u:p@db/d"


def settings(**given: object) -> Settings:
    return Settings(**{"postgres_connections_max": 4, **given})


def test_times_come_from_the_settings() -> None:
    classes = build_query_classes(settings(hot_timeout_ms=50, query_timeout_s=7, load_timeout_s=9))

    assert tuple(classes) == ("hot", "query", "load")
    assert [classes[name].timeout_s for name in classes] == [0.05, 7.0, 9.0]
    assert build_query_classes(settings())["load"].timeout_s is None
    assert build_query_classes(settings())["hot"].timeout_s == 0.1


def test_statements_are_local_to_the_transaction() -> None:
    one = QueryClass("hot", 0.1, {"jit": "off", "work_mem": "64kB"})

    assert one.set_local() == b"SET LOCAL jit = 'off'; SET LOCAL work_mem = '64kB'; "
    assert QueryClass("hot", 0.1).set_local() == b""


def test_all_sorts_of_all_connections_stay_within_the_share() -> None:
    """The arithmetic of the page, spelled out once: 64 GiB, 8 connections."""
    classes = build_query_classes(
        settings(postgres_memory_bytes=64 * GIB, postgres_connections_max=8)
    )

    query = classes["query"].server_settings
    assert query["work_mem"] == "43690kB"
    assert 43_690 * 1024 * PLAN_NODES * HASH_MEM_MULTIPLIER * 3 * 8 <= 64 * GIB * 0.125
    assert query["hash_mem_multiplier"] == "2"
    assert classes["load"].server_settings["work_mem"] == "131072kB"
    assert query["effective_cache_size"] == f"{24 * GIB // 1024}kB"


@given(
    server_bytes=st.integers(1 << 26, 1 << 42),
    percent=st.floats(0.5, 50),
    connections=st.integers(1, 64),
    workers=st.integers(0, 16),
)
def test_the_share_is_never_exceeded(
    server_bytes: int, percent: float, connections: int, workers: int
) -> None:
    fair = work_mem_bytes(
        server_bytes, percent=percent, connections=connections, parallel_workers=workers
    )

    together = fair * PLAN_NODES * HASH_MEM_MULTIPLIER * connections * (1 + workers)
    assert fair <= WORK_MEM_BYTES_MAX
    assert fair == WORK_MEM_BYTES_MIN or together <= server_bytes * percent / 100


def test_the_counterexample_is_refused_with_its_arithmetic() -> None:
    """256 MB for each of many connections: the original design's 50 GB."""
    given = settings(
        postgres_memory_bytes=64 * GIB,
        postgres_connections_max=64,
        postgres_work_mem_bytes=256 << 20,
    )

    with pytest.raises(
        BadSettingError,
        match=r"work_mem of 256 MiB x 4 sorts of a plan x 2 for hashes x 3 processes x "
        r"64 connections = 393,216 MiB, more than 12.5 % of the server's 65,536 MiB",
    ) as caught:
        build_query_classes(given)
    assert "NGB_POSTGRES_WORK_MEM_BYTES to 5592405 at most" in caught.value.hint


def test_a_work_mem_that_fits_is_taken_as_it_is() -> None:
    classes = build_query_classes(
        settings(postgres_memory_bytes=64 * GIB, postgres_work_mem_bytes=32 << 20)
    )

    assert classes["query"].server_settings["work_mem"] == "32768kB"


def test_an_existing_server_keeps_what_nobody_said() -> None:
    classes = build_query_classes(settings(postgres_dsn=EXISTING))

    assert set(classes["query"].server_settings) == {"max_parallel_workers_per_gather"}
    assert set(classes["hot"].server_settings) == {"max_parallel_workers_per_gather", "jit"}


def test_what_was_said_of_an_existing_server_is_set() -> None:
    found = build_query_classes(
        settings(
            postgres_dsn=EXISTING,
            postgres_memory_bytes=16 * GIB,
            postgres_random_page_cost=1.5,
            postgres_cpu_tuple_cost=0.02,
            postgres_cpu_index_tuple_cost=0.01,
            postgres_cpu_operator_cost=0.005,
            postgres_effective_cache_bytes=GIB,
        )
    )["query"].server_settings

    assert found["effective_cache_size"] == "1048576kB"
    assert [found[name] for name in ("random_page_cost", "cpu_tuple_cost")] == ["1.5", "0.02"]
    assert [found[f"cpu_{name}_cost"] for name in ("index_tuple", "operator")] == ["0.01", "0.005"]
    assert found["work_mem"] == "21845kB"


def test_the_server_takes_every_setting(postgres_dsn: str) -> None:
    costs = {f"postgres_{name}": 0.02 for name in ("cpu_tuple_cost", "cpu_operator_cost")}
    classes = build_query_classes(settings(postgres_cpu_index_tuple_cost=0.02, **costs))
    before = dict(classes)
    with connect(postgres_dsn, timeout_s=5) as connection:
        classes.fit(connection)
        for one in classes.values():
            with connection.transaction():
                connection.execute(one.set_local() + b"SELECT 1")
                found = connection.execute("SHOW jit").fetchone()
            assert found is not None

    assert dict(classes) == before
    assert classes["query"].refused == set()


def test_what_the_server_refuses_is_left_out(postgres_dsn: str) -> None:
    """A made-up name stands for one that this server lacks or keeps for its owner."""
    one = QueryClass("hot", 0.1, {"jit": "off", "no_such_setting": "1", "work_mem": "-5kB"})
    other = QueryClass("query", 1.0, {"hash_mem_multiplier": "-1", "work_mem": "64kB"})
    classes = QueryClasses({"hot": one, "query": other})
    looked_up_before = classes["hot"]
    with connect(postgres_dsn, timeout_s=5) as connection:
        classes.fit(connection)

        assert connection.execute("SHOW jit").fetchone() is not None

    assert looked_up_before.set_local() == b"SET LOCAL jit = 'off'; "
    assert classes["query"].set_local() == b""
