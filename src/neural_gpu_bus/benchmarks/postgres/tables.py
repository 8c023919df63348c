"""The tables that are read: made by the server itself, the same for every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.postgres.ground import PostgresGround

INSTRUMENTS = 50
FIXED_COLUMNS = ("id", "ts", "open", "high", "low", "close")
BAR_COLUMNS = ("ts", "open", "high", "low", "close", "volume")
MIXED_COLUMNS = (
    "id", "ts", "instrument_id", "venue", "side", "price", "amount", "bid", "ask", "count",
    "is_open", "note",
)  # fmt: skip

#: Bars of 50 instruments in the order of time, as they come in; every row has a time of its own.
_FIXED = """
CREATE UNLOGGED TABLE {table} AS
SELECT i::int8 AS id, 'I' || lpad((i % 50)::text, 2, '0') AS instrument_id,
       '1-MINUTE-LAST' AS bar_type,
       '2020-01-01Z'::timestamptz + (i / 50) * interval '1 minute' + (i % 50) * interval '1 us'
           AS ts,
       100 + sin(i) AS open, 101 + sin(i) AS high, 99 + sin(i) AS low, 100 + cos(i) AS close,
       (i * 7919 % 1000)::float8 AS volume
FROM generate_series(0::int8, {rows} - 1) i
"""
#: Text of few and of many values, NULLs in a third of some columns, and numeric.
_MIXED = """
CREATE TABLE {table} AS
SELECT i::int8 AS id,
       '2020-01-01Z'::timestamptz + i * interval '1 second' AS ts,
       'I' || lpad((i % 50)::text, 2, '0') || '.XNAS' AS instrument_id,
       (ARRAY['XNAS', 'XNYS', 'BATS'])[i % 3 + 1] AS venue,
       CASE WHEN i % 3 = 0 THEN NULL ELSE (ARRAY['BUY', 'SELL'])[i % 2 + 1] END AS side,
       (100 + (i * 7919 % 100000) / 1000.0)::numeric(18, 4) AS price,
       CASE WHEN i % 5 = 0 THEN NULL ELSE (i * 31 % 1000000)::numeric(18, 2) END AS amount,
       100 + sin(i) AS bid,
       CASE WHEN i % 3 = 1 THEN NULL ELSE 101 + sin(i) END AS ask,
       (i % 1000)::int4 AS count,
       i % 7 = 0 AS is_open,
       CASE WHEN i % 4 = 0 THEN NULL ELSE 'order ' || (i * 2654435761 % 1000000007) END AS note
FROM generate_series(0::int8, {rows} - 1) i
"""


def fixed_table(ground: PostgresGround, rows: int) -> str:
    """Bars. Not in the log: that is a third of making them, and nothing of reading."""
    table = ground.table(f"bars_{rows}")
    if _is_missing(ground, table):
        ground.watcher.say(f"making {rows:,} bars")
        ground.run(_FIXED.format(table=table, rows=rows))
        ground.run(f"VACUUM (ANALYZE) {table}")
    return table


def indexed_table(ground: PostgresGround, rows: int) -> str:
    """The same with the index for "the last N of this instrument"."""
    table = fixed_table(ground, rows)
    columns = ", ".join(BAR_COLUMNS[1:])
    ground.run(
        f"CREATE INDEX IF NOT EXISTS newest_{rows} ON {table} (instrument_id, bar_type, ts DESC) "
        f"INCLUDE ({columns})"
    )
    ground.run(f"VACUUM (ANALYZE) {table}")
    return table


def mixed_table(ground: PostgresGround, rows: int) -> str:
    """Twelve columns with text, NULLs and numeric."""
    table = ground.table(f"orders_{rows}")
    if _is_missing(ground, table):
        ground.watcher.say(f"making {rows:,} orders")
        ground.run(_MIXED.format(table=table, rows=rows))
        ground.run(f"VACUUM (ANALYZE) {table}")
    return table


def wide_table(ground: PostgresGround, rows: int, columns: int) -> str:
    """A number for each row, and floats."""
    table = ground.table(f"wide_{columns}")
    if _is_missing(ground, table):
        floats = ", ".join(f"sin(i + {place}) AS c{place}" for place in range(1, columns))
        source = f"SELECT i::int8 AS id, {floats} FROM generate_series(1, {rows}) i"  # noqa: S608
        ground.run(f"CREATE TABLE {table} AS {source}")
        ground.run(f"VACUUM (ANALYZE) {table}")
    return table


def _is_missing(ground: PostgresGround, table: str) -> bool:
    found = ground.connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return found is None or found[0] is None
