"""What the server's settings, the connection and the user's rights mean for this package. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from neural_gpu_bus.sql_text import quoted_name
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.advice.expectations import Expectations
from neural_gpu_bus.stores.postgres.advice.facts import CatalogFacts, SessionFacts

MIB, GIB = 1 << 20, 1 << 30
#: PostgreSQL's own default of random_page_cost: a disk with an arm.
DISK_PAGE_COST = 4.0
#: A buffer of a sixteenth is this package's own choice for private servers; a quarter is usual.
BUFFERS_SHARE_MIN = 1 / 16


def connection_advice(facts: CatalogFacts) -> list[Advice]:
    """Version, encryption, poolers, encoding."""
    session = facts.session
    return [
        _version(facts),
        _encryption(session),
        _pooler(session),
        _encoding(session),
        *_standby(session),
    ]


def _version(facts: CatalogFacts) -> Advice:
    major = facts.version // 10_000
    what = f"{major}.{facts.version % 10_000}"
    if major > 14:
        return Advice("version", "good", what)
    return Advice("version", "advice", what, "14 gets no more fixes after November 2026")


def _encryption(session: SessionFacts) -> Advice:
    if session.is_local:
        if not session.is_tls:
            return Advice("encryption", "good", "none, and none needed on this host")
        return Advice(
            "encryption",
            "advice",
            "TLS to a server on this host",
            "over TLS rows come through libpq one by one, at about half the speed: add "
            "sslmode=disable to NGB_POSTGRES_DSN",
        )
    if not session.is_tls:
        return Advice(
            "encryption",
            "problem",
            "no TLS, and the server is on another host",
            "password hashes and data can be read on the way: add sslmode=verify-full",
        )
    if session.sslmode != "verify-full":
        return Advice(
            "encryption",
            "advice",
            f"TLS with sslmode={session.sslmode}",
            "nobody checks that it is your server: sslmode=verify-full and sslrootcert do",
        )
    return Advice("encryption", "good", "TLS, and the server's name is checked")


def _pooler(session: SessionFacts) -> Advice:
    if session.is_pooled_by_transaction:
        return Advice(
            "pooler",
            "advice",
            "a pooler hands out server processes by transaction (two of our connections had one)",
            "queries, snapshots and stores work; replication for live tables will not: name the "
            "server itself for those",
        )
    if session.is_pooled:
        return Advice(
            "pooler",
            "good",
            "a pooler stands in between (another process answers than the one connected to)",
        )
    return Advice("pooler", "good", "none")


def _encoding(session: SessionFacts) -> Advice:
    if session.server_encoding == "SQL_ASCII":
        return Advice(
            "encoding",
            "advice",
            "SQL_ASCII: nobody checks what text is",
            "a text that is no UTF-8 ends a query with an error; a database of encoding UTF8 "
            "refuses it when it is written",
        )
    return Advice("encoding", "good", session.server_encoding)


def _standby(session: SessionFacts) -> Iterator[Advice]:
    if session.in_recovery:
        yield Advice(
            "standby",
            "advice",
            "this server is a standby: it takes reads alone",
            "store, upsert and jobs' results need the primary",
        )


def rights_advice(facts: CatalogFacts) -> list[Advice]:
    """What the user may do besides reading."""
    session = facts.session
    user, database = quoted_name(session.user), quoted_name(session.database)
    return [
        _right(
            "temporary tables",
            session.can_temporary,
            "upsert needs one to put rows aside",
            f"GRANT TEMPORARY ON DATABASE {database} TO {user}",
        ),
        _right(
            "schema ngb_ledger",
            session.can_ledger,
            "a store with a job_id, and loading files, remember there what was done",
            f"CREATE SCHEMA ngb_ledger AUTHORIZATION {user}",
        ),
        _right(
            "replication",
            session.can_replicate,
            "live tables will read the server's changes",
            f"ALTER ROLE {user} REPLICATION",
        ),
    ]


def _right(name: str, there: bool, why: str, sql: str) -> Advice:
    if there:
        return Advice(name, "good", "allowed")
    return Advice(name, "advice", "not allowed to this user", why, (sql,))


def settings_advice(facts: CatalogFacts, expected: Expectations) -> list[Advice]:
    """Memory, costs, durability, what live tables will need."""
    from neural_gpu_bus.stores.postgres.advice import memory_advice

    return [
        *memory_advice.memory_advice(facts, expected),
        _random_page_cost(facts, expected),
        _connections(facts, expected),
        *_just_in_time(facts, expected),
        *_switches(facts),
        _write_ahead(facts),
        *_slots(facts),
    ]


def _random_page_cost(facts: CatalogFacts, expected: Expectations) -> Advice:
    found = float(facts.settings.get("random_page_cost", DISK_PAGE_COST))
    ours = expected.query_settings.get("random_page_cost")
    if ours is not None:
        return Advice("random_page_cost", "good", f"{found:g}; queries of a plane set {ours}")
    if found < DISK_PAGE_COST:
        return Advice("random_page_cost", "good", f"{found:g}")
    return Advice(
        "random_page_cost",
        "advice",
        f"{found:g}, for disks with an arm",
        "on an SSD or in memory an index looks four times as dear as it is, and scans win: 1.1 "
        "(or NGB_POSTGRES_RANDOM_PAGE_COST=1.1 for a plane's queries alone)",
        ("ALTER SYSTEM SET random_page_cost = 1.1", "SELECT pg_reload_conf()"),
    )


def _connections(facts: CatalogFacts, expected: Expectations) -> Advice:
    session = facts.session
    most = int(facts.settings.get("max_connections", "100"))
    what = (
        f"{session.connections} of {most} in use, {session.connections_ours} by planes; "
        f"this plane takes {expected.connections_max} at most"
    )
    if session.connections + expected.connections_max <= most:
        return Advice("max_connections", "good", what)
    return Advice(
        "max_connections",
        "advice",
        what,
        "the next one may be refused: fewer NGB_POSTGRES_CONNECTIONS_MAX, a pooler, or more here "
        "(a restart is needed)",
        (f"ALTER SYSTEM SET max_connections = {most * 2}",),
    )


def _just_in_time(facts: CatalogFacts, expected: Expectations) -> Iterator[Advice]:
    if not facts.session.is_jit_available or facts.settings.get("jit") != "on":
        return
    if expected.hot_settings.get("jit") == "off":
        yield Advice("jit", "good", "on; hot reads and loads switch it off for themselves")
    else:
        yield Advice("jit", "advice", "on", "compiling takes tens of ms, before the first row")


#: Setting -> (what it should be, standing where it is not, why).
_WANTED_SWITCHES = {
    "fsync": ("on", "problem", "a crash of the machine can destroy the whole cluster"),
    "full_page_writes": ("on", "problem", "a crash can leave pages half written"),
    "autovacuum": ("on", "problem", "tables grow without end, and statistics are never made"),
    "track_io_timing": ("on", "advice", "EXPLAIN (ANALYZE, BUFFERS) cannot say what disks took"),
    "synchronous_commit": (
        "on",
        "advice",
        "a store returns before its rows are on disk; a crash loses the last of them",
    ),
}


def _switches(facts: CatalogFacts) -> Iterator[Advice]:
    for name, (wanted, standing, why) in _WANTED_SWITCHES.items():
        found = facts.settings.get(name, wanted)
        if found in (wanted, "local", "remote_write", "remote_apply"):
            yield Advice(name, "good", found)
        else:
            sql = (f"ALTER SYSTEM SET {name} = {wanted}", "SELECT pg_reload_conf()")
            yield Advice(name, "problem" if standing == "problem" else "advice", found, why, sql)


def _write_ahead(facts: CatalogFacts) -> Advice:
    found = facts.settings.get("wal_level", "")
    if found == "logical":
        return Advice("wal_level", "good", found)
    return Advice(
        "wal_level",
        "advice",
        found,
        "live tables will need it (a restart is needed); reading and storing do not",
        ("ALTER SYSTEM SET wal_level = logical",),
    )


def _slots(facts: CatalogFacts) -> Iterator[Advice]:
    session = facts.session
    used = {"max_replication_slots": session.slots, "max_wal_senders": session.wal_senders}
    for name, count in used.items():
        most = int(facts.settings.get(name, "10"))
        if count < most:
            yield Advice(name, "good", f"{count} of {most} in use")
        else:
            more = (f"ALTER SYSTEM SET {name} = {most + 10}",)
            why = "live tables will need one each (a restart is needed)"
            yield Advice(name, "advice", f"{count} of {most} in use", why, more)
    if facts.settings.get("max_slot_wal_keep_size") == "-1":
        yield Advice(
            "max_slot_wal_keep_size",
            "advice",
            "no limit",
            "a slot whose reader is gone keeps WAL until the disk is full",
            ("ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'", "SELECT pg_reload_conf()"),
        )
