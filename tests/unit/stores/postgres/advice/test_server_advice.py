"""What is said of a server, from facts alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from neural_gpu_bus.settings import Settings
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.advice.expectations import expectations
from neural_gpu_bus.stores.postgres.advice.facts import CatalogFacts, SessionFacts
from neural_gpu_bus.stores.postgres.advice.server_advice import (
    connection_advice,
    rights_advice,
    settings_advice,
)

MIB, GIB = 1 << 20, 1 << 30
SESSION = SessionFacts(
    user="u",
    database="d",
    is_tls=False,
    is_local=True,
    sslmode="prefer",
    server_encoding="UTF8",
    in_recovery=False,
    can_temporary=True,
    can_ledger=True,
    can_replicate=True,
    connections=3,
    connections_ours=1,
    database_bytes=GIB,
)
SETTINGS = {
    "shared_buffers": str(4 * GIB),
    "work_mem": str(4 * MIB),
    "effective_cache_size": str(8 * GIB),
    "hash_mem_multiplier": "2",
    "random_page_cost": "1.1",
    "max_connections": "100",
    "jit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "track_io_timing": "on",
    "synchronous_commit": "on",
    "wal_level": "logical",
    "max_replication_slots": "10",
    "max_wal_senders": "10",
    "max_slot_wal_keep_size": str(16 * GIB),
}
PLANE = Settings(
    postgres_dsn="postgresql://u@db/d", postgres_memory_bytes=16 * GIB, postgres_connections_max=4
)
UNKNOWN = Settings(postgres_dsn="postgresql://u@db/d", postgres_connections_max=4)


def facts(session: dict[str, Any] | None = None, **settings: str) -> CatalogFacts:
    return CatalogFacts(
        180004, msgspec.structs.replace(SESSION, **session or {}), SETTINGS | settings
    )


def by_subject(found: list[Advice]) -> dict[str, Advice]:
    return {one.subject: one for one in found}


def not_good(found: list[Advice]) -> dict[str, Advice]:
    return {one.subject: one for one in found if one.standing != "good"}


def test_a_server_that_lacks_nothing() -> None:
    found = facts()

    advice = [*connection_advice(found), *rights_advice(found)]
    advice += settings_advice(found, expectations(PLANE))
    assert not_good(advice) == {}
    assert all(not one.sql for one in advice)


@pytest.mark.parametrize(
    ("session", "subject", "standing"),
    [
        ({"is_local": False}, "encryption", "problem"),
        ({"is_local": False, "is_tls": True}, "encryption", "advice"),
        ({"is_local": False, "is_tls": True, "sslmode": "verify-full"}, "encryption", "good"),
        ({"is_tls": True}, "encryption", "advice"),
        ({"is_pooled": True}, "pooler", "good"),
        ({"is_pooled": True, "is_pooled_by_transaction": True}, "pooler", "advice"),
        ({"server_encoding": "SQL_ASCII"}, "encoding", "advice"),
        ({"server_encoding": "LATIN1"}, "encoding", "good"),
        ({"in_recovery": True}, "standby", "advice"),
    ],
)
def test_the_connection(session: dict[str, Any], subject: str, standing: str) -> None:
    assert by_subject(connection_advice(facts(session)))[subject].standing == standing


def test_a_version_at_its_end() -> None:
    old = msgspec.structs.replace(facts(), version=140019)

    assert by_subject(connection_advice(old))["version"].what == "14.19"
    assert set(not_good(connection_advice(old))) == {"version"}


def test_rights_that_are_missing_have_their_statements() -> None:
    session = {"can_temporary": False, "can_ledger": False, "can_replicate": False, "user": 'o"d'}
    found = rights_advice(facts(session))

    assert [one.sql for one in found] == [
        ('GRANT TEMPORARY ON DATABASE "d" TO "o""d"',),
        ('CREATE SCHEMA ngb_ledger AUTHORIZATION "o""d"',),
        ('ALTER ROLE "o""d" REPLICATION',),
    ]


@pytest.mark.parametrize(
    ("settings", "subject", "standing"),
    [
        ({"fsync": "off"}, "fsync", "problem"),
        ({"synchronous_commit": "off"}, "synchronous_commit", "advice"),
        ({"synchronous_commit": "remote_apply"}, "synchronous_commit", "good"),
        ({"track_io_timing": "off"}, "track_io_timing", "advice"),
        ({"random_page_cost": "4"}, "random_page_cost", "advice"),
        ({"wal_level": "replica"}, "wal_level", "advice"),
        ({"max_wal_senders": "0"}, "max_wal_senders", "advice"),
        ({"max_slot_wal_keep_size": "-1"}, "max_slot_wal_keep_size", "advice"),
        ({"shared_buffers": str(128 * MIB)}, "shared_buffers", "advice"),
        ({"max_connections": "6"}, "max_connections", "advice"),
        ({"work_mem": str(256 * MIB), "max_connections": "200"}, "work_mem", "advice"),
    ],
)
def test_settings(settings: dict[str, str], subject: str, standing: str) -> None:
    found = by_subject(settings_advice(facts(**settings), expectations(PLANE)))[subject]

    assert found.standing == standing
    assert bool(found.sql) is (standing != "good")


def test_the_original_designs_work_mem_is_summed_up() -> None:
    """256 MB for 200 connections: 50 GB with one sort each, 400 GiB with all a plan may have."""
    found = facts(work_mem=str(256 * MIB), max_connections="200")
    one = by_subject(settings_advice(found, expectations(PLANE)))["work_mem"]

    assert one.what.startswith(
        "256 MiB x 4 sorts x 2 for hashes x 200 connections = 400 GiB at worst"
    )
    assert "more than the machine's 16 GiB" in one.why
    assert one.sql[0] == "ALTER SYSTEM SET work_mem = '5242kB'"


def test_memory_that_nobody_told_is_not_judged() -> None:
    found = facts(work_mem=str(256 * MIB), effective_cache_size=str(MIB))
    judged = by_subject(settings_advice(found, expectations(UNKNOWN)))

    assert judged["work_mem"].standing == "good"
    assert "NGB_POSTGRES_MEMORY_BYTES" in judged["effective_cache_size"].what


def test_a_plane_that_sets_costs_itself_needs_no_change_of_the_server() -> None:
    plane = Settings(postgres_memory_bytes=16 * GIB, postgres_connections_max=4)
    judged = by_subject(settings_advice(facts(random_page_cost="4"), expectations(plane)))

    assert judged["random_page_cost"].what == "4; queries of a plane set 1.1"


def test_just_in_time_is_told_where_there_is_a_compiler() -> None:
    session = {"is_jit_available": True}
    judged = by_subject(settings_advice(facts(session), expectations(PLANE)))

    assert judged["jit"].standing == "good"
