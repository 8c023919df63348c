"""Columns into tables of a real server and back through psycopg."""

from __future__ import annotations

import math
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pytest

from fix_stores import Playground, own_database
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    QueryError,
    ServerFullError,
    ServerUnreachableError,
    UnsupportedTypeError,
)
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.writing.ledgers import claim_job, ensure_ledgers, loaded_file
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter

TABLE = pa.table(
    {
        "key": ["x", "y", "zé"],
        "whole": pa.array([1, None, -(2**63)]),
        "small": pa.array([1, 2, None], pa.uint8()),
        "number": [1.5, math.nan, -math.inf],
        "truth": [True, None, False],
        "day": pa.array([0, None, 20_000], pa.date32()),
        "at": pa.array([1, None, 1_700_000_000_123_456], pa.timestamp("us", "UTC")),
        "exact": pa.array([1, None, 1_700_000_000_123_456_789], pa.timestamp("ns", "UTC")),
        "identity": pa.array([b"0" * 16, None, bytes(range(16))], pa.binary(16)),
        "raw": [b"\x00\xff", b"", None],
        "word": pa.array(["p", None, "p"]).dictionary_encode(),
        "nothing": pa.nulls(3),
    }
)


def test_a_table_is_made_with_types_that_fit_and_holds_the_same_values(
    playground: Playground,
) -> None:
    receipt = playground.writer.store(playground.table("all_types"), TABLE, key=["key"])

    types = playground.rows(
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute "
        "WHERE attrelid = 'all_types'::regclass AND attnum > 0 ORDER BY attnum"
    )
    expected_types = (
        "text bigint smallint double boolean date timestamp bigint uuid bytea text text"
    )
    assert [name.split()[0] for _, name in types] == expected_types.split()
    assert (receipt.rows, receipt.repeated) == (3, False)
    expected = TABLE.set_column(7, "exact", TABLE["exact"].cast(pa.int64())).to_pylist()
    found = playground.rows("SELECT * FROM all_types ORDER BY key")
    for row, want in zip(found, expected, strict=True):
        want["identity"] = want["identity"] and uuid.UUID(bytes=want["identity"])
        for value, wanted in zip(row, want.values(), strict=True):
            both_nan = isinstance(value, float) and math.isnan(value) and math.isnan(wanted)
            assert both_nan or value == wanted


def test_the_comment_says_what_nanoseconds_are(playground: Playground) -> None:
    playground.writer.store(playground.table("t"), TABLE.select(["exact"]))

    comment = playground.rows("SELECT col_description('t'::regclass, 1)")

    assert comment == [("nanoseconds since 1970-01-01 UTC",)]


def test_nanoseconds_go_into_that_column_again(playground: Playground) -> None:
    for _ in range(2):
        playground.writer.store(playground.table("t"), TABLE.select(["exact"]))

    assert playground.rows("SELECT count(*), max(exact) FROM t") == [(6, 1_700_000_000_123_456_789)]


@pytest.mark.parametrize(
    "make", [pl.DataFrame, pd.DataFrame, dict], ids=["polars", "pandas", "dict"]
)
def test_frames_of_others_are_stored(playground: Playground, make: type) -> None:
    playground.writer.store(playground.table("t"), make({"a": [1, 2], "b": ["x", None]}))

    assert playground.rows("SELECT a, b FROM t ORDER BY a") == [(1, "x"), (2, None)]


def test_no_rows_still_make_the_table(playground: Playground) -> None:
    receipt = playground.writer.store(playground.table("t"), {"a": np.empty(0)})

    assert receipt.rows == 0
    assert playground.tables() == ["t"]


def test_columns_are_matched_by_name_and_the_rest_is_filled_by_the_server(
    playground: Playground,
) -> None:
    playground.run("CREATE TABLE t (id bigserial, b int NOT NULL, a text DEFAULT 'd', c jsonb)")

    playground.writer.store(playground.table("t"), {"c": ['{"k": 1}'], "b": np.array([7])})

    assert playground.rows("SELECT * FROM t") == [(1, 7, "d", {"k": 1})]


def test_odd_names_are_quoted(playground: Playground) -> None:
    playground.writer.store(
        playground.table('Odd "x"; --'), {'Col "y" %s': [1]}, key=['Col "y" %s']
    )

    assert playground.rows('SELECT "Col ""y"" %s" FROM "Odd ""x""; --"') == [(1,)]


# --- modes


def test_upsert_changes_rows_of_the_same_key_and_adds_the_others(playground: Playground) -> None:
    name = playground.table("t")
    playground.writer.store(name, {"k": [1, 2], "v": ["a", "b"]}, key=["k"])

    receipt = playground.writer.store(name, {"k": [2, 3], "v": ["B", "c"]}, mode="upsert")

    assert receipt.rows == 2
    assert playground.rows("SELECT * FROM t ORDER BY k") == [(1, "a"), (2, "B"), (3, "c")]


def test_upsert_of_key_columns_alone_keeps_what_is_there(playground: Playground) -> None:
    playground.run("CREATE TABLE t (k int PRIMARY KEY, v text)")
    playground.run("INSERT INTO t VALUES (1, 'a')")

    playground.writer.store(playground.table("t"), {"k": [1, 2]}, mode="upsert", key=["k"])

    assert playground.rows("SELECT * FROM t ORDER BY k") == [(1, "a"), (2, None)]


def test_upsert_leaves_rows_alone_that_are_there_as_they_are(playground: Playground) -> None:
    name = playground.table("t")
    first = {"k": [1, 2, 3], "v": np.array([0.5, math.nan, 0.0]), "w": ["a", None, "c"]}
    playground.writer.store(name, first, key=["k"])
    before = dict(playground.rows("SELECT k, xmin::text FROM t"))

    playground.writer.store(name, first | {"v": np.array([0.5, math.nan, -0.0])}, mode="upsert")

    after = dict(playground.rows("SELECT k, xmin::text FROM t"))
    assert [key for key in before if before[key] != after[key]] == [3]
    assert playground.rows("SELECT v::text FROM t WHERE k = 3") == [("-0",)]


def test_replace_leaves_only_the_new_rows(playground: Playground) -> None:
    name = playground.table("t")
    playground.writer.store(name, {"k": [1, 2]}, key=["k"])

    playground.writer.store(name, {"k": [2, 3]}, mode="replace")

    assert playground.rows("SELECT k FROM t ORDER BY k") == [(2,), (3,)]


def test_a_reader_sees_the_old_rows_until_replace_commits(
    playground: Playground, postgres_dsn: str
) -> None:
    name = playground.table("t")
    playground.writer.store(name, {"k": [1, 2]})
    with psycopg.connect(postgres_dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        query = f"SELECT count(*) FROM {name}".encode()
        assert reader.execute(query).fetchone() == (2,)

        playground.writer.store(name, {"k": [9]}, mode="replace")

        assert reader.execute(query).fetchone() == (2,)


REPEATED = {"k": [5, 6, 5], "v": [1, 2, 3]}


@pytest.mark.parametrize("there", ["nothing", "empty", "full"])
@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_a_key_twice_in_the_batch_is_named_by_its_rows(
    playground: Playground, there: str, mode: str
) -> None:
    if there != "nothing":
        playground.run("CREATE TABLE t (k bigint PRIMARY KEY, v bigint)")
    if there == "full":
        playground.run("INSERT INTO t VALUES (1, 1)")

    with pytest.raises(BadValueError, match=r"rows 1 and 3 have the same key \(k\) = \(5\)"):
        playground.writer.store(playground.table("t"), REPEATED, key=["k"], mode=mode)

    left = [] if there == "nothing" else ["t"]
    assert left == playground.tables()


def test_rows_of_a_repeated_key_are_right_far_into_a_large_batch(playground: Playground) -> None:
    rows = 200_000
    keys = np.arange(rows)
    keys[150_000] = 77
    words = pa.array(["x" * (number % 97) for number in range(rows)])

    with pytest.raises(BadValueError, match="rows 78 and 150001 have the same key"):
        playground.writer.store(playground.table("t"), {"k": keys, "w": words}, key=["k"])


def test_a_key_that_is_in_the_table_is_named_with_its_row(playground: Playground) -> None:
    name = playground.table("t")
    playground.writer.store(name, {"k": [1, 2]}, key=["k"])

    with pytest.raises(
        BadValueError, match=r"row 2: its key is in table .* already: Key \(k\)=\(1\)"
    ):
        playground.writer.store(name, {"k": [8, 1]})

    assert playground.rows("SELECT count(*) FROM t") == [(2,)]


# --- refusals


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ({"zz": [1]}, BadParameterError, r"table '.*\.t' has no column 'zz'; it has a, b, c, g"),
        ({"b": ["x"]}, BadParameterError, r"column 'a' of table .* must not be NULL and is not"),
        ({"a": [1], "g": [1]}, BadParameterError, "column 'g' of table .* generated by the server"),
        ({"a": [1, None]}, BadValueError, "row 2, column 'a': NULL cannot go into a NOT NULL"),
        ({"a": [1, 2**40]}, BadValueError, "row 2, column 'a': 1099511627776 does not fit"),
        ({"a": [1.5]}, UnsupportedTypeError, "double values cannot go into a integer column"),
        ({"a": [1], "c": [0.1]}, UnsupportedTypeError, "cannot go into a numeric column"),
        ({"a": [1, 1], "b": ["ok", "long"]}, BadValueError, "row 2.* too long for type character"),
        ({"a": [1, -1]}, BadValueError, "row 2.*violates check constraint"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(
    playground: Playground, columns: object, kind: type[Exception], message: str
) -> None:
    playground.run(
        "CREATE TABLE t (a int NOT NULL CHECK (a > 0), b varchar(2), c numeric, "
        "g int GENERATED ALWAYS AS (a + 1) STORED)"
    )

    with pytest.raises(kind, match=message):
        playground.writer.store(playground.table("t"), columns)

    assert playground.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("name", ["bars_2024", "t7", 'odd 5 "name"'])
def test_digits_in_a_table_s_name_are_no_row(playground: Playground, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    playground.run(f"CREATE TABLE {quoted} (k int PRIMARY KEY, v varchar(2), w int CHECK (w > 0))")
    store, table = playground.writer.store, playground.table(name)
    store(table, {"k": [1]})

    for columns, message in [
        ({"k": [2, 3], "v": ["ok", "long"]}, "row 2, column 'v': PostgreSQL refused it"),
        ({"k": [2, 3], "w": [1, -1]}, "row 2: PostgreSQL refused it"),
        ({"k": [2, 1]}, "row 2: its key is in table"),
        ({"k": [2, 2]}, "rows 1 and 2 have the same key"),
    ]:
        with pytest.raises(BadValueError, match=message):
            store(table, columns)


def test_a_missing_schema_is_named(playground: Playground) -> None:
    with pytest.raises(QueryError, match="schema 'no_such_schema' does not exist"):
        playground.writer.store("no_such_schema.t", {"a": [1]})


def test_a_view_is_no_table(playground: Playground) -> None:
    playground.run("CREATE VIEW v AS SELECT 1 AS a")

    with pytest.raises(QueryError, match="is no table"):
        playground.writer.store(playground.table("v"), {"a": [1]})


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (["nokey"], "key column 'nokey' is not among the columns"),
        (["v"], r"key v fits no unique index of table .* \(it has: k\)"),
    ],
)
def test_an_upsert_needs_a_unique_key(playground: Playground, key: list[str], message: str) -> None:
    name = playground.table("t")
    playground.writer.store(name, {"k": [1], "v": [1]}, key=["k"])

    with pytest.raises(BadParameterError, match=message):
        playground.writer.store(name, {"k": [1], "v": [1]}, key=key, mode="upsert")


def test_an_upsert_into_a_new_table_needs_a_key(playground: Playground) -> None:
    with pytest.raises(BadParameterError, match="needs to know its key"):
        playground.writer.store(playground.table("t"), {"k": [1]}, mode="upsert")

    assert playground.tables() == []


@pytest.mark.parametrize("name", ["", "ctid", "x" * 64])
def test_a_name_that_no_column_can_have_is_refused(playground: Playground, name: str) -> None:
    with pytest.raises(BadParameterError, match=r"^column .* name|^the name of column"):
        playground.writer.store(playground.table("t"), {name: [1]}, job_id=uuid.uuid4().hex)


def test_a_name_that_is_no_text_is_refused(playground: Playground) -> None:
    with pytest.raises(BadParameterError, match=r"column name '.ud800' is no text: surrogates"):
        playground.writer.store(playground.table("t"), {"\ud800": [1]})


def test_an_unknown_mode_is_refused(playground: Playground) -> None:
    with pytest.raises(BadParameterError, match="mode 'merge' is none of append, upsert, replace"):
        playground.writer.store(playground.table("t"), {"k": [1]}, mode="merge")


def test_a_full_disk_stores_nothing_and_says_what_to_do(playground: Playground) -> None:
    playground.run("CREATE TABLE t (k int)")
    playground.run(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.k = 2 THEN RAISE 'could not extend file: No space left on device' "
        "USING ERRCODE = '53100'; END IF; RETURN NEW; END $$"
    )
    playground.run("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION full_disk()")

    with pytest.raises(ServerFullError, match=r"has no room left.*No space left") as caught:
        playground.writer.store(playground.table("t"), {"k": [1, 2]})

    assert "nothing was stored" in caught.value.hint
    assert playground.rows("SELECT count(*) FROM t") == [(0,)]


# --- jobs


def test_a_job_stored_before_stores_nothing(playground: Playground) -> None:
    name, job = playground.table("t"), uuid.uuid4().hex
    first = playground.writer.store(name, {"k": [1]}, job_id=job)

    again = playground.writer.store(name, {"k": [1]}, job_id=job)

    assert (first.rows, first.repeated) == (1, False)
    assert (again.rows, again.repeated) == (0, True)
    assert playground.rows("SELECT count(*) FROM t") == [(1,)]


def test_one_job_stores_to_several_tables(playground: Playground) -> None:
    job = uuid.uuid4().hex

    receipts = [
        playground.writer.store(playground.table(name), {"k": [1]}, job_id=job)
        for name in ("t", "u", "t")
    ]

    assert [receipt.repeated for receipt in receipts] == [False, False, True]
    assert playground.rows("SELECT count(*) FROM t, u") == [(1,)]


def test_a_ledger_of_an_older_version_keeps_its_jobs_and_takes_several_tables(
    postgres_dsn: str,
) -> None:
    with own_database(postgres_dsn) as connection:
        connection.execute("CREATE SCHEMA ngb_ledger")
        connection.execute(
            "CREATE TABLE ngb_ledger.stored_jobs (job_id text PRIMARY KEY, "
            "table_name text NOT NULL, rows bigint NOT NULL, "
            "stored_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("INSERT INTO ngb_ledger.stored_jobs VALUES ('j', 't', 1)")
        connection.execute(
            "CREATE TABLE ngb_ledger.loaded_files (table_oid oid, sha256 text, "
            "table_name text NOT NULL, rows bigint NOT NULL, "
            "loaded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (table_oid, sha256))"
        )
        connection.execute("INSERT INTO ngb_ledger.loaded_files VALUES (1, 'f', 't', 5)")

        for _ in range(2):
            ensure_ledgers(connection)

        assert [claim_job(connection, "j", table, 1) for table in ("t", "u")] == [False, True]
        assert loaded_file(connection, 1, "f") == (5, None)


def test_a_job_stored_from_many_threads_at_once_stores_once(playground: Playground) -> None:
    name, job, threads = playground.table("t"), uuid.uuid4().hex, 4
    together = threading.Barrier(threads)

    def store(_: int) -> bool:
        together.wait()
        return playground.writer.store(name, {"k": [1, 2]}, job_id=job).repeated

    with ThreadPoolExecutor(threads) as pool:
        repeated = list(pool.map(store, range(threads)))

    assert sorted(repeated) == [False, True, True, True]
    assert playground.rows("SELECT count(*) FROM t") == [(2,)]


def test_a_job_that_failed_may_be_stored_later(playground: Playground) -> None:
    name, job = playground.table("t"), uuid.uuid4().hex
    with pytest.raises(BadValueError, match="rows 1 and 3"):
        playground.writer.store(name, REPEATED, key=["k"], job_id=job)

    assert not playground.writer.store(name, {"k": [1]}, job_id=job).repeated


def test_many_threads_make_a_table_once(playground: Playground) -> None:
    name, threads = playground.table("t"), 4
    together = threading.Barrier(threads)

    def store(number: int) -> int:
        together.wait()
        return playground.writer.store(name, {"k": [number]}, key=["k"]).rows

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(store, range(threads))) == [1, 1, 1, 1]

    assert playground.rows("SELECT count(*) FROM t") == [(threads,)]


def test_the_receipt_names_a_position_after_the_commit(playground: Playground) -> None:
    before = playground.rows("SELECT pg_current_wal_insert_lsn()")[0][0]

    receipt = playground.writer.store(playground.table("t"), {"k": np.arange(1000)})

    after = playground.rows(
        f"SELECT '{receipt.lsn}'::pg_lsn > '{before}'::pg_lsn, "
        f"'{receipt.lsn}'::pg_lsn <= pg_current_wal_insert_lsn()"
    )
    assert after == [(True, True)]


def test_a_connection_cut_in_the_middle_leaves_nothing(playground: Playground) -> None:
    """The server ends the session after the first batches: the table is not even there."""

    data = {"k": np.arange(1_000_000), "w": pa.array(["x" * 20] * 1_000_000)}
    cut = threading.Event()

    def cut_the_copy() -> None:
        while not cut.is_set():
            ended = playground.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE query LIKE 'COPY%{playground.schema}%' AND pid <> pg_backend_pid()"
            )
            if ended:
                cut.set()

    watcher = threading.Thread(target=cut_the_copy)
    watcher.start()
    try:
        with pytest.raises(ServerUnreachableError, match="cannot talk to PostgreSQL"):
            playground.writer.store(playground.table("t"), data)
    finally:
        cut.set()
        watcher.join()

    assert playground.tables() == []


# --- servers and users of others


def test_an_existing_older_server_takes_all_of_it(
    existing_playground: Playground, tmp_path: Path
) -> None:
    store, name = existing_playground.writer.store, existing_playground.table("t")
    file = tmp_path / "t.csv"
    file.write_text("k,v\n3,c\n4,d\n")

    store(name, {"k": [1, 2], "v": ["a", "b"]}, key=["k"], job_id=uuid.uuid4().hex)
    store(name, {"k": [2, 3], "v": ["B", "?"]}, mode="upsert")
    existing_playground.loader.load([file], name)

    rows = existing_playground.rows("SELECT * FROM t ORDER BY k")
    assert rows == [(1, "a"), (2, "B"), (3, "c"), (4, "d")]


def test_ledgers_that_somebody_dropped_are_made_again(existing_playground: Playground) -> None:
    store, name = existing_playground.writer.store, existing_playground.table("t")
    store(name, {"k": [1]}, job_id=uuid.uuid4().hex)
    existing_playground.run("DROP SCHEMA ngb_ledger CASCADE")

    again = store(name, {"k": [2]}, job_id=uuid.uuid4().hex)

    assert (again.rows, again.repeated) == (1, False)
    assert existing_playground.rows("SELECT rows FROM ngb_ledger.stored_jobs") == [(1,)]
    assert existing_playground.rows("SELECT k FROM t ORDER BY k") == [(1,), (2,)]


def test_a_user_with_few_rights_stores_and_is_told_what_a_job_needs(
    existing_playground: Playground, existing_postgres_dsn: str
) -> None:
    role = f"{existing_playground.schema}_role"
    existing_playground.run("DROP SCHEMA IF EXISTS ngb_ledger CASCADE")
    existing_playground.run(f"CREATE ROLE {role}")
    existing_playground.run(f"GRANT ALL ON SCHEMA {existing_playground.schema} TO {role}")
    pool = Pool(
        lambda: connect(f"{existing_postgres_dsn}?options=-crole%3D{role}", timeout_s=5),
        connections_max=1,
        wait_timeout_s=5,
    )
    writer = PostgresWriter(pool.lend, "server")
    name = existing_playground.table("t")
    try:
        writer.store(name, {"k": [1]})
        writer.store(name, {"k": [2]}, mode="replace")
        with pytest.raises(QueryError, match="ledgers of schema ngb_ledger cannot be") as caught:
            writer.store(name, {"k": [1]}, job_id="j")
    finally:
        pool.close()
        existing_playground.run(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert "CREATE SCHEMA ngb_ledger AUTHORIZATION" in caught.value.hint


def test_a_frame_s_categories_are_stored_as_their_texts(
    playground: Playground, memory: UnifiedMemory
) -> None:
    side = pd.Series(pd.Categorical(["sell", None, "buy"], ["none", "buy", "sell"]))
    frame = memory.share(pd.DataFrame({"row": [1, 2, 3], "side": side}))
    playground.writer.store(playground.table("orders"), frame)

    assert playground.rows("SELECT * FROM orders ORDER BY row") == [
        (1, "sell"),
        (2, None),
        (3, "buy"),
    ]


def test_a_struct_of_a_block_is_refused_by_name(
    playground: Playground, memory: UnifiedMemory
) -> None:
    frame = memory.share({"c": pa.array([{"x": 1}])})

    with pytest.raises(UnsupportedTypeError, match="column 'c': no PostgreSQL column is made for"):
        playground.writer.store(playground.table("refused"), frame)
    assert "refused" not in playground.tables()
