"""Questions: columns into a table, rows that are there already, a few rows durably."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pyarrow as pa

from neural_gpu_bus.benchmarks.cases.addresses import asyncpg_arguments
from neural_gpu_bus.benchmarks.memory.answers import Answer, Part
from neural_gpu_bus.benchmarks.postgres.comparing import in_order, require_same
from neural_gpu_bus.benchmarks.postgres.contest import Step, in_turns, median_s
from neural_gpu_bus.benchmarks.postgres.goals import at_least, at_most

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.postgres.ground import PostgresGround

#: Issue 4.
_STORE, _UPSERT, _DURABLE = 2.0, 5.0, 1.3
#: Rows that executemany writes are a part of the others', its time multiplied.
SHARE = 10
SEED = 4
NAMES = ("ts", "open", "high", "low", "close")
OURS, ADBC, ASYNCPG, EXECUTEMANY = "plane.store", "ADBC ingest", "asyncpg copy", "executemany"


def made_up(rows: int) -> pa.Table:
    """A time and four floats."""
    random = np.random.default_rng(SEED)
    values: dict[str, Any] = {name: random.normal(100, 1, rows) for name in NAMES[1:]}
    ts = pa.array(np.arange(rows, dtype=np.int64) * 60_000_000).cast(pa.timestamp("us", "UTC"))
    return pa.table({"ts": ts, **values})


class Target:
    """The table that everybody writes, and its rows read back."""

    def __init__(self, ground: PostgresGround, name: str, *, key: bool = False) -> None:
        self.ground = ground
        self.table = ground.table(name)
        floats = ", ".join(f"{name} float8 NOT NULL" for name in NAMES[1:])
        kind = "PRIMARY KEY" if key else "NOT NULL"
        ground.run(f"DROP TABLE IF EXISTS {self.table}")
        ground.run(f"CREATE TABLE {self.table} (ts timestamptz {kind}, {floats})")

    def empty(self) -> None:
        """Untimed."""
        self.ground.run(f"TRUNCATE {self.table}")

    def columns(self) -> Mapping[str, Any]:
        """What stands there, in the order of its time, read by psycopg."""
        names = ", ".join(NAMES)
        with self.ground.connection.cursor(binary=True) as cursor:
            statement = f"SELECT {names} FROM {self.table} ORDER BY ts"  # noqa: S608
            cursor.execute(statement.encode())
            rows = cursor.fetchall()
        return dict(zip(NAMES, zip(*rows, strict=True) if rows else [()] * 5, strict=True))


def store_many(ground: PostgresGround, closing: ExitStack) -> Answer:
    """A hundred thousand rows of a time and four floats, committed."""
    table = made_up(ground.sizes.stored)
    target = Target(ground, "stored")
    records = rows_of(table)
    steps = [
        Step(OURS, "ours", lambda: ground.plane.store(target.table, table), target.empty),
        Step(ADBC, "rival", _adbc(ground, closing, target, table), target.empty),
        Step(ASYNCPG, "rival", _asyncpg(ground, closing, target, records), target.empty),
        Step(
            "psycopg COPY, rows",
            "rival",
            _copy_rows(ground, closing, target, records),
            target.empty,
        ),
        Step(
            EXECUTEMANY,
            "rival",
            _executemany(ground, closing, target, records[: len(records) // SHARE]),
            target.empty,
            SHARE,
        ),
    ]
    _require_equal("store", steps[:-1], target, table)
    lines = list(in_turns(ground, steps, ground.sizes.repeats))
    goals = [at_least("beside ADBC ingest", median_s(lines, OURS), median_s(lines, ADBC), _STORE)]
    notes = [
        "ours and ADBC start from Arrow columns, the others from ready-made tuples",
        f"executemany writes {len(records) // SHARE:,} rows (psycopg pipelines them), its time is "
        f"multiplied by {SHARE}",
    ]
    question = f"{ground.sizes.stored:,} rows of 5 columns stored, committed"
    return Answer("store", question, [Part("", lines)], goals, notes)


def upsert_many(ground: PostgresGround, closing: ExitStack) -> Answer:
    """As many rows, half of which are there already."""
    table = made_up(ground.sizes.upserted)
    target = Target(ground, "upserted", key=True)
    records = rows_of(table)
    there = len(records) // 2
    half = (
        f"INSERT INTO {target.table} SELECT to_timestamp(i * 120), 0, 0, 0, 0 "  # noqa: S608
        f"FROM generate_series(0, {there} - 1) i"
    )

    def half_full() -> None:
        target.empty()
        ground.run(half)

    def ours() -> object:
        return ground.plane.store(target.table, table, key=["ts"], mode="upsert")

    executemany = _executemany(
        ground, closing, target, records[: len(records) // SHARE], conflict=True
    )
    whole = _executemany(ground, closing, target, records, conflict=True)
    staged = _staged_upsert(ground, closing, target, records)
    upsert, staging = "plane.store, upsert", "COPY to a staging table by hand"
    steps = [
        Step(upsert, "ours", ours, half_full),
        Step(staging, "rival", staged, half_full),
        Step(EXECUTEMANY, "rival", executemany, half_full, SHARE),
    ]
    _require_equal("upsert", [steps[0], steps[1], Step(EXECUTEMANY, "rival", whole, half_full)],
                   target, table)  # fmt: skip
    lines = list(in_turns(ground, steps, ground.sizes.repeats))
    theirs = median_s(lines, EXECUTEMANY)
    goals = [at_least("beside executemany", median_s(lines, upsert), theirs, _UPSERT)]
    question = f"{ground.sizes.upserted:,} rows by key, half of them there already"
    notes = [f"executemany: INSERT ... ON CONFLICT, pipelined, a {SHARE}th of the rows, scaled"]
    return Answer("upsert", question, [Part("", lines)], goals, notes)


def store_few(ground: PostgresGround, closing: ExitStack) -> Answer:
    """A hundred rows on disk, beside one bare COPY of them."""
    table = made_up(ground.sizes.few)
    target = Target(ground, "few")
    records = rows_of(table)
    bare = "one COPY of ready bytes"
    steps = [
        Step(OURS, "ours", lambda: ground.plane.store(target.table, table)),
        *_later_step(ground, table, target),
        Step(bare, "limit", _copy_bytes(ground, closing, target)),
        Step(EXECUTEMANY, "rival", _executemany(ground, closing, target, records)),
        Step(ADBC, "rival", _adbc(ground, closing, target, table)),
    ]
    steps[0].run()
    lines = list(in_turns(ground, steps, ground.sizes.repeats_short))
    copy_s = median_s(lines, bare)
    goals = [at_most("beside one COPY", median_s(lines, OURS), copy_s, _DURABLE)]
    later = median_s(lines, "plane.store_later")
    if later is not None:
        goals.append(at_most("store_later beside one COPY", later, copy_s, _DURABLE))
    question = f"{ground.sizes.few} rows of 5 columns, on disk"
    notes = [
        "one COPY: BINARY, made beforehand, in its own transaction with its commit's fsync",
        "plane.store: as ever, with types checked, the table looked at and the commit's LSN",
    ]
    return Answer("durable", question, [Part("", lines)], goals, notes)


def _later_step(ground: PostgresGround, table: pa.Table, target: Target) -> list[Step]:
    later: Any = getattr(ground.plane, "store_later", None)
    if later is None:
        return []
    return [Step("plane.store_later", "ours", lambda: later(target.table, table))]


# ---- the rivals


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Tuples, made beforehand."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _own_connection(ground: PostgresGround, closing: ExitStack) -> psycopg.Connection:
    return closing.enter_context(psycopg.connect(ground.dsn, options="-c timezone=UTC"))


def _executemany(
    ground: PostgresGround,
    closing: ExitStack,
    target: Target,
    records: list[tuple[Any, ...]],
    *,
    conflict: bool = False,
) -> Callable[[], object]:
    connection = _own_connection(ground, closing)
    statement = f"INSERT INTO {target.table} VALUES (%s, %s, %s, %s, %s)"  # noqa: S608
    if conflict:
        updates = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])
        statement += f" ON CONFLICT (ts) DO UPDATE SET {updates}"

    def write() -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(statement.encode(), records)

    return write


def _copy_rows(
    ground: PostgresGround, closing: ExitStack, target: Target, records: list[tuple[Any, ...]]
) -> Callable[[], object]:
    connection = _own_connection(ground, closing)

    def write() -> None:
        with connection.transaction():
            _copy_into(connection, target.table, records)

    return write


def _copy_into(connection: psycopg.Connection, table: str, records: list[tuple[Any, ...]]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()) as copy,
    ):
        copy.set_types(["timestamptz", *["float8"] * 4])
        for record in records:
            copy.write_row(record)


def _staged_upsert(
    ground: PostgresGround, closing: ExitStack, target: Target, records: list[tuple[Any, ...]]
) -> Callable[[], object]:
    """What a careful person writes: psycopg's COPY into a temporary table, then one INSERT."""
    connection = _own_connection(ground, closing)
    updates = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])
    merge = (
        f"INSERT INTO {target.table} SELECT * FROM staged "  # noqa: S608
        f"ON CONFLICT (ts) DO UPDATE SET {updates}"
    )

    def write() -> None:
        with connection.transaction():
            connection.execute(
                f"CREATE TEMP TABLE staged (LIKE {target.table}) ON COMMIT DROP".encode()
            )
            _copy_into(connection, "staged", records)
            connection.execute(merge.encode())

    return write


def _asyncpg(
    ground: PostgresGround, closing: ExitStack, target: Target, records: list[tuple[Any, ...]]
) -> Callable[[], object]:
    import asyncpg

    runner = closing.enter_context(asyncio.Runner())
    connection = runner.run(asyncpg.connect(**asyncpg_arguments(ground.dsn)))
    closing.callback(lambda: runner.run(connection.close()))
    schema, _, name = target.table.partition(".")

    async def copy() -> Any:
        return await connection.copy_records_to_table(name, records=records, schema_name=schema)

    return lambda: runner.run(copy())


def _adbc(
    ground: PostgresGround, closing: ExitStack, target: Target, table: pa.Table
) -> Callable[[], object]:
    from adbc_driver_postgresql import dbapi

    connection = closing.enter_context(dbapi.connect(ground.dsn))
    cursor = closing.enter_context(connection.cursor())
    schema, _, name = target.table.partition(".")

    def ingest() -> None:
        cursor.adbc_ingest(name, table, mode="append", db_schema_name=schema)
        connection.commit()

    return ingest


def _copy_bytes(ground: PostgresGround, closing: ExitStack, target: Target) -> Callable[[], object]:
    """The server's own bytes of the same rows: nobody has less to do."""
    connection = _own_connection(ground, closing)
    connection.autocommit = True
    with connection.cursor().copy(
        f"COPY {target.table} TO STDOUT (FORMAT BINARY)".encode()
    ) as reading:
        content = b"".join(bytes(piece) for piece in reading)
    statement = f"COPY {target.table} FROM STDIN (FORMAT BINARY)".encode()

    def write() -> None:
        with connection.cursor().copy(statement) as copy:
            copy.write(content)

    return write


def _require_equal(question: str, steps: list[Step], target: Target, table: pa.Table) -> None:
    """Each writes once, and what then stands in the table is what was given."""
    given = in_order({name: table[name] for name in NAMES}, "ts")
    for step in steps:
        step.before()
        step.run()
        require_same(question, ("what was given", given), step.title, target.columns(), "ts")
