"""The server's memory: buffers, cache, and what all sorts at once may take. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from neural_gpu_bus.quantities import size_in_words
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.advice.expectations import Expectations
from neural_gpu_bus.stores.postgres.advice.facts import CatalogFacts
from neural_gpu_bus.stores.postgres.advice.sizes import setting_size
from neural_gpu_bus.stores.postgres.connections.query_classes import PLAN_NODES

MIB, GIB = 1 << 20, 1 << 30
#: PostgreSQL's own default of shared_buffers: for a machine of twenty years ago.
BUFFERS_DEFAULT_BYTES = 128 * MIB
#: Private servers have a sixteenth, because planes hold what is hot; a quarter is usual elsewhere.
BUFFERS_SHARE_MIN = 1 / 16
BUFFERS_ENOUGH_BYTES = 2 * GIB
CACHE_SHARE_MIN = 1 / 4


def memory_advice(facts: CatalogFacts, expected: Expectations) -> Iterator[Advice]:
    """shared_buffers, effective_cache_size, work_mem."""
    yield _buffers(facts, expected)
    yield _cache(facts, expected)
    yield _work_mem(facts, expected)


def _buffers(facts: CatalogFacts, expected: Expectations) -> Advice:
    found = int(facts.settings["shared_buffers"])
    what = size_in_words(found)
    if expected.server_bytes is not None:
        # Whole pages, and a limit of a container, round it down a little.
        least = min(int(expected.server_bytes * BUFFERS_SHARE_MIN * 0.99), BUFFERS_ENOUGH_BYTES)
        better = expected.server_bytes // 4
        what += f" of {size_in_words(expected.server_bytes)}"
        too_small = found < least
    else:
        too_small = found <= BUFFERS_DEFAULT_BYTES < facts.session.database_bytes
        better = 4 * BUFFERS_DEFAULT_BYTES
        what += f", the database has {size_in_words(facts.session.database_bytes)}"
    if not too_small:
        return Advice("shared_buffers", "good", what)
    return Advice(
        "shared_buffers",
        "advice",
        what,
        "pages are fetched from the system again and again; a quarter of the machine's memory is "
        "usual (a restart is needed)",
        (f"ALTER SYSTEM SET shared_buffers = '{better // MIB}MB'",),
    )


def _cache(facts: CatalogFacts, expected: Expectations) -> Advice:
    found = int(facts.settings["effective_cache_size"])
    what = size_in_words(found)
    if "effective_cache_size" in expected.query_settings:
        ours = setting_size(expected.query_settings["effective_cache_size"])
        return Advice("effective_cache_size", "good", f"{what}; queries of a plane set {ours}")
    if expected.server_bytes is None:
        return Advice(
            "effective_cache_size",
            "good",
            f"{what}; NGB_POSTGRES_MEMORY_BYTES, the server's memory, would let a plane set it",
        )
    if found >= expected.server_bytes * CACHE_SHARE_MIN:
        return Advice("effective_cache_size", "good", what)
    better = expected.server_bytes * 3 // 8
    return Advice(
        "effective_cache_size",
        "advice",
        f"{what} of {size_in_words(expected.server_bytes)}",
        "the planner believes that pages come from disk",
        (
            f"ALTER SYSTEM SET effective_cache_size = '{better // MIB}MB'",
            "SELECT pg_reload_conf()",
        ),
    )


def _work_mem(facts: CatalogFacts, expected: Expectations) -> Advice:
    """The worst that everybody together may take: each connection that there can be, with helpers,
    with several sorts.
    """
    found = int(facts.settings["work_mem"])
    connections = int(facts.settings["max_connections"])
    multiplier = float(facts.settings.get("hash_mem_multiplier", "1"))
    worst = int(found * PLAN_NODES * multiplier * connections)
    what = (
        f"{size_in_words(found)} x {PLAN_NODES} sorts x {multiplier:g} for hashes x {connections} "
        f"connections = {size_in_words(worst)} at worst"
    )
    ours = expected.query_settings.get("work_mem")
    if ours is not None:
        what += (
            f"; queries of a plane set {setting_size(ours)}, "
            f"{expected.query_memory_percent:g} % of the server's memory all together"
        )
    if expected.server_bytes is None or worst <= expected.server_bytes:
        return Advice("work_mem", "good", what)
    takers = PLAN_NODES * multiplier * connections
    fair = max(int(expected.server_bytes / 2 / takers), 64 << 10)
    return Advice(
        "work_mem",
        "advice",
        what,
        f"more than the machine's {size_in_words(expected.server_bytes)}: when all sort at once "
        "the system ends the server",
        (f"ALTER SYSTEM SET work_mem = '{fair // 1024}kB'", "SELECT pg_reload_conf()"),
    )
