"""Rows that come as a stream, of bounded memory; and several transactions at once."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from fix_stores import Playground
from neural_gpu_bus.errors import BadParameterError, BadValueError


def batches(count: int, rows: int = 1000) -> Iterator[pa.RecordBatch]:
    for number in range(count):
        yield pa.record_batch({"k": np.arange(number * rows, (number + 1) * rows)})


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_a_reader_and_an_iterator_of_batches_are_stored(playground: Playground, mode: str) -> None:
    store, name = playground.writer.store, playground.table("t")
    schema = pa.schema({"k": pa.int64()})

    from_reader = store(
        name, pa.RecordBatchReader.from_batches(schema, batches(3)), key=["k"], mode=mode
    )
    from_iterator = store(name, batches(3), key=["k"], mode="upsert", job_id=uuid.uuid4().hex)
    from_polars = store(name, pl.DataFrame({"k": [-1]}), mode="upsert", key=["k"])

    assert [from_reader.rows, from_iterator.rows, from_polars.rows] == [3000, 3000, 1]
    assert playground.rows("SELECT count(*), sum(k) FROM t") == [(3001, 3000 * 2999 // 2 - 1)]
    assert playground.rows(
        f"SELECT rows FROM ngb_ledger.stored_jobs WHERE table_name = '{name}'"
    ) == [(3000,)]


def test_a_bad_value_in_a_stream_is_named_by_its_row_and_nothing_is_stored(
    playground: Playground,
) -> None:
    playground.run("CREATE TABLE t (k int)")

    def with_bad_value() -> Iterator[pa.RecordBatch]:
        yield from batches(2)
        yield pa.record_batch({"k": [1, 2**40]})

    for _ in range(2):
        with pytest.raises(BadValueError, match="row 2002, column 'k': 1099511627776 does not fit"):
            playground.writer.store(playground.table("t"), with_bad_value())

    assert playground.rows("SELECT count(*) FROM t") == [(0,)]


def test_a_key_twice_in_a_stream_is_told(playground: Playground) -> None:
    store, name = playground.writer.store, playground.table("t")
    playground.run("CREATE TABLE t (k int PRIMARY KEY)")

    with pytest.raises(BadValueError, match=r"row 1001: its key is in an earlier row, or in table"):
        store(name, iter([*batches(1), pa.record_batch({"k": [0]})]))
    playground.run("ALTER TABLE t ADD v int; INSERT INTO t VALUES (-1)")
    twice = iter([pa.record_batch({"k": [0, 1], "v": [1, 2]})] * 2)
    with pytest.raises(BadValueError, match=r"rows 1 and 3 have the same key \(k\) = \(0\)"):
        store(name, twice, mode="upsert")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (iter([1]), "its first item is a int"),
        (iter([]), "its first item is nothing"),
        (iter([*batches(1), pa.record_batch({"z": [1]})]), "batch 2 has another schema"),
    ],
    ids=["numbers", "nothing", "two schemas"],
)
def test_an_iterator_of_something_else_is_refused(
    playground: Playground, stream: Iterator[object], message: str
) -> None:
    with pytest.raises(BadParameterError, match=message):
        playground.writer.store(playground.table("t"), stream)

    assert playground.tables() == []


#: Peak of the resident set in KiB after storing as many batches of 65,536 rows as said.
MEMORY_PROGRAM = """
import resource, sys
import numpy as np, pyarrow as pa
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter
dsn, table, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=1, wait_timeout_s=5)
store = PostgresWriter(pool.lend, "server").store
def batches(count):
    for number in range(count):
        yield pa.record_batch({"k": np.arange(65_536), "v": np.random.random(65_536)})
store(table, batches(2))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store(table, batches(count))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_long_stream_takes_no_more_memory_than_a_short_one(
    playground: Playground, postgres_dsn: str
) -> None:
    """2,000,000 rows are 32 MB as columns and 52 MB on the wire."""
    answer = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, postgres_dsn, playground.table("t"), "30"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(answer.stdout) < 10_000


# --- several transactions


def test_ranges_are_stored_at_once_and_hold_all_rows(playground: Playground) -> None:
    store, name = playground.writer.store, playground.table("t")
    rows = {"k": np.arange(10_001), "v": pa.array([str(n) for n in range(10_001)])}

    receipt = store(name, rows, key=["k"], transactions=4)

    assert (receipt.rows, receipt.repeated) == (10_001, False)
    assert playground.rows("SELECT count(DISTINCT k), count(DISTINCT xmin::text) FROM t") == [
        (10_001, 4)
    ]
    after = playground.rows(f"SELECT '{receipt.lsn}'::pg_lsn <= pg_current_wal_insert_lsn()")
    assert after == [(True,)]


def test_a_failed_range_says_which_rows_are_stored_and_a_job_finishes_the_rest(
    playground: Playground,
) -> None:
    store, name, job = playground.writer.store, playground.table("t"), uuid.uuid4().hex
    playground.run("CREATE TABLE t (k int CHECK (k <> 550))")

    with pytest.raises(BadValueError, match=r"row 551: .*violates check") as caught:
        store(name, {"k": np.arange(1000)}, job_id=job, transactions=4)

    assert "of 4 transactions 3 are stored (rows 1 to 250, 251 to 500, 751 to 1000)" in str(
        caught.value
    )
    assert caught.value.missing_ranges == [(501, 750)]
    assert playground.rows("SELECT count(*) FROM t") == [(750,)]
    playground.run("ALTER TABLE t DROP CONSTRAINT t_k_check")

    # Whatever number of transactions the second call gives, one included.
    finished = store(name, {"k": np.arange(1000)}, job_id=job, transactions=1)
    again = store(name, {"k": np.arange(1000)}, job_id=job, transactions=8)

    assert (finished.rows, finished.repeated) == (250, False)
    assert (again.rows, again.repeated) == (0, True)
    assert playground.rows("SELECT count(*), count(DISTINCT k) FROM t") == [(1000, 1000)]


def test_a_job_stored_whole_is_not_stored_again_in_ranges(playground: Playground) -> None:
    store, name, job = playground.writer.store, playground.table("t"), uuid.uuid4().hex
    store(name, {"k": np.arange(100)}, job_id=job)

    assert store(name, {"k": np.arange(100)}, job_id=job, transactions=3).repeated
    assert playground.rows("SELECT count(*) FROM t") == [(100,)]


def test_a_job_begun_with_other_rows_is_refused(playground: Playground) -> None:
    store, name, job = playground.writer.store, playground.table("t"), uuid.uuid4().hex
    playground.run("CREATE TABLE t (k int CHECK (k <> 999))")
    with pytest.raises(BadValueError, match=r"row 1000: "):
        store(name, {"k": np.arange(1000)}, job_id=job, transactions=2)

    with pytest.raises(BadParameterError, match="begun with other rows: rows 1 to 450 were 500"):
        store(name, {"k": np.arange(900)}, job_id=job, transactions=2)


@pytest.mark.parametrize(
    ("columns", "mode", "transactions", "message"),
    [
        ({"k": [1, 2]}, "upsert", 2, "for an append of a table whose rows are known"),
        (iter([pa.record_batch({"k": [1]})]), "append", 2, "for an append of a table"),
        ({"k": [1]}, "append", 0, "transactions is 0"),
        ({"k": [1]}, "append", 65, "transactions is 65"),
    ],
)
def test_what_cannot_go_in_several_transactions_is_refused(
    playground: Playground, columns: object, mode: str, transactions: int, message: str
) -> None:
    with pytest.raises(BadParameterError, match=message):
        playground.writer.store(
            playground.table("t"), columns, key=["k"], mode=mode, transactions=transactions
        )
