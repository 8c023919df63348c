"""Random tables stored by COPY BINARY equal the same rows inserted by psycopg, as the server
compares them.
"""

from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from fix_stores import Playground
from random_tables import tables

SQL_TYPES = {"bool": "boolean", "jsonb": "jsonb"}


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(table=tables(), mode=st.sampled_from(["append", "replace"]))
def test_stored_rows_equal_inserted_rows(
    playground: Playground, table: tuple[pa.RecordBatch, list[str]], mode: str
) -> None:
    batch, kinds = table
    columns = ", ".join(
        f"c{position} {SQL_TYPES.get(kind, kind)}" for position, kind in enumerate(kinds)
    )
    for name in ("stored", "inserted"):
        playground.run(f"DROP TABLE IF EXISTS {name}")
        playground.run(f"CREATE TABLE {name} ({columns})")
    with playground.connection.cursor() as cursor:
        places = ", ".join(f"%s::{SQL_TYPES.get(kind, kind)}" for kind in kinds)
        rows = [
            tuple(_plain(value, kind) for value, kind in zip(row.values(), kinds, strict=True))
            for row in batch.to_pylist()
        ]
        cursor.executemany(sql.SQL(f"INSERT INTO inserted VALUES ({places})"), rows)

    playground.writer.store(playground.table("stored"), batch, mode=mode)

    different = playground.rows(
        "(SELECT * FROM stored EXCEPT ALL SELECT * FROM inserted) UNION ALL "
        "(SELECT * FROM inserted EXCEPT ALL SELECT * FROM stored)"
    )
    assert different == []
    assert playground.rows("SELECT count(*) FROM stored") == [(batch.num_rows,)]


def _plain(value: object, kind: str) -> object:
    if kind == "uuid" and isinstance(value, bytes):
        return value.hex()
    if kind == "pg_lsn" and isinstance(value, int):
        return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"
    if kind == "interval" and isinstance(value, pa.MonthDayNano):
        months, days, nanoseconds = value
        return f"{months} months {days} days {nanoseconds // 1000} microseconds"
    return value
