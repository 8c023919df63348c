"""Rows stored later, on real servers: what arrives, what is refused, what stays on disk."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from cutting_proxy import CuttingProxy
from fix_postgres_extras import small_disk
from fix_servers import wait_until
from fix_write_behind import WAIT_S, Open, numbers, store
from neural_gpu_bus.errors import (
    BadParameterError,
    ClosedError,
    DeliveryTimeoutError,
    DiskFullError,
    JournalFullError,
    RowsRefusedError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.write_behind.receipts import Acknowledgement
from neural_gpu_bus.stores.postgres.write_behind.record_format import RECORD_HEADER_BYTES
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind
from own_server import OwnServer

pytestmark = pytest.mark.slow


def fill(later: WriteBehind, expected: type[Exception], match: str) -> int:
    """Store 0, 1, 2, ... in thousands until that error comes; how many were taken."""
    taken = 0

    def store_for_ever() -> None:
        nonlocal taken
        while True:
            later.store_later("later", {"n": np.arange(taken, taken + 1000)})
            taken += 1000

    with pytest.raises(expected, match=match):
        store_for_ever()
    return taken


def test_rows_arrive_and_the_receipt_says_so(later: WriteBehind, failing_server: OwnServer) -> None:
    acknowledged = later.store_later(
        "later", pl.DataFrame({"n": [1, 2], "at": ["a", None]}), key=["n"]
    )
    receipt = later.wait_stored(acknowledged, WAIT_S)

    assert (acknowledged.sequence, acknowledged.rows) == (1, 2)
    assert (receipt.rows, receipt.repeated) == (2, False)
    assert "/" in receipt.lsn
    assert failing_server.run("SELECT * FROM later ORDER BY n") == [(1, "a"), (2, None)]
    assert later.statistics().state == "idle"
    assert later.statistics().delivered_rows == 2


def test_what_no_table_takes_is_refused_at_once(later: WriteBehind, later_home: Path) -> None:
    with pytest.raises(BadParameterError, match="mode 'replace' is none of append, upsert"):
        later.store_later("later", {"n": [1]}, mode="replace")
    with pytest.raises(BadParameterError, match="key column 'id' is not among the columns n"):
        later.store_later("later", {"n": [1]}, key=["id"])
    with pytest.raises(BadParameterError, match="key is the text 'n'"):
        later.store_later("later", {"n": [1]}, key="n")
    with pytest.raises(BadParameterError, match=r"table name 'a\.b\.c' has more than one dot"):
        later.store_later("a.b.c", {"n": [1]})
    with pytest.raises(BadParameterError, match="column 'ctid' has the name of a column that"):
        later.store_later("later", {"ctid": [1]})
    months = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [months])
    with pytest.raises(UnsupportedTypeError, match="column 'n': no PostgreSQL column takes dense"):
        later.store_later("later", {"n": union})

    assert not later_home.exists()


def test_the_newest_upsert_of_a_key_wins(later: WriteBehind, failing_server: OwnServer) -> None:
    failing_server.run("CREATE TABLE later (id text PRIMARY KEY, n int8)")
    with failing_server.locked("later"):
        for n in range(50):
            later.store_later("later", {"id": ["a", "b"], "n": [n, -n]}, mode="upsert")
    later.flush(WAIT_S)

    assert failing_server.run("SELECT * FROM later ORDER BY id") == [("a", 49), ("b", -49)]
    assert later.set_aside() == []


def test_keys_that_are_equal_to_the_server_alone_are_upserted_too(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (x float8 PRIMARY KEY, n int8)")
    with failing_server.locked("later"):
        for n in range(9):
            zero = 0.0 if n % 2 else -0.0
            later.store_later("later", {"x": [zero], "n": [n]}, mode="upsert", key=["x"])
    later.flush(WAIT_S)

    assert failing_server.run("SELECT n FROM later") == [(8,)]
    assert later.set_aside() == []


def test_a_bad_record_is_set_aside_and_the_others_arrive(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8 CHECK (n < 100))")
    with failing_server.locked("later"):
        given = [store(later, n, n + 10) for n in range(20)]
        bad = store(later, 50, 700)
        given += [store(later, n, n + 10) for n in range(30, 40)]
        other = store(later, 1, table="other")
        later.wait_stored(other, WAIT_S)

    with pytest.raises(
        RowsRefusedError, match=r"(?s)2 rows .* 'later' were refused .*later_n_check"
    ):
        later.wait_stored(bad, WAIT_S)
    assert all(later.wait_stored(one, WAIT_S).rows == 2 for one in given)
    assert len(numbers(failing_server)) == 60
    (refused,) = later.statistics().set_aside
    assert (refused.table, refused.rows, refused.kind) == ("later", 2, "BadValueError")
    assert later.columns_of(refused.id).column("n").to_pylist() == [50, 700]


@pytest.mark.parametrize(
    ("made", "columns", "reason"),
    [
        ("CREATE TABLE later (m int8)", {"n": [1]}, "has no column 'n'"),
        ("CREATE TABLE later (n int8, m int8 NOT NULL)", {"n": [1]}, "'m' .* must not be NULL"),
        ("CREATE TABLE later (n timestamptz)", {"n": [1]}, "cannot go into a timestamp"),
        ("CREATE TABLE later (n int2)", {"n": [70_000]}, "row 1"),
        (
            "CREATE TABLE later (n int8 PRIMARY KEY); INSERT INTO later VALUES (1)",
            {"n": [1]},
            "key",
        ),
        ("CREATE VIEW later AS SELECT 1::int8 AS n", {"n": [1]}, "is no table"),
    ],
)
def test_what_only_the_server_can_refuse(
    later: WriteBehind,
    failing_server: OwnServer,
    made: str,
    columns: dict[str, list[int]],
    reason: str,
) -> None:
    failing_server.run(made)
    try:
        bad = later.store_later("later", columns)
        with pytest.raises(RowsRefusedError, match=reason):
            later.wait_stored(bad, WAIT_S)
        assert later.wait_stored(store(later, 1, table="other"), WAIT_S).rows == 1
    finally:
        failing_server.run("DROP VIEW IF EXISTS later") if "VIEW" in made else None


def test_a_missing_schema_is_refused_and_retried_when_it_is_there(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    bad = later.store_later("no_such.later", {"n": [7]})
    with pytest.raises(RowsRefusedError, match="schema 'no_such' does not exist"):
        later.flush(WAIT_S)
    (refused,) = later.set_aside()
    assert (refused.journal, refused.sequence) == (bad.journal, bad.sequence)

    failing_server.run("CREATE SCHEMA no_such")
    try:
        assert later.retry(refused.id).rows == 1
        assert numbers(failing_server, "no_such.later") == [7]
        assert later.set_aside() == []
        with pytest.raises(BadParameterError, match="no rows are set aside as"):
            later.retry(refused.id)
        with pytest.raises(BadParameterError, match=r"no rows are set aside as '\.\./lock'"):
            later.drop("../lock")
    finally:
        failing_server.run("DROP SCHEMA no_such CASCADE")


def test_a_retry_whose_answer_was_lost_stores_once(
    open_one: Open, failing_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored and still set aside, as a kill -9 leaves it; then it is tried again."""
    failing_server.run("CREATE TABLE later (n int8 CHECK (n < 100))")
    later = open_one()
    store(later, 700)
    with pytest.raises(RowsRefusedError, match="later_n_check"):
        later.flush(WAIT_S)
    failing_server.run("ALTER TABLE later DROP CONSTRAINT later_n_check")
    (refused,) = later.set_aside()

    def killed(_: str) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(later._folder.set_aside, "settle", killed)
        with pytest.raises(SystemExit, match="killed"):
            later.retry(refused.id)
    later.close()
    again = open_one()

    assert again.retry(refused.id).rows == 0
    assert numbers(failing_server) == [700]
    assert again.set_aside() == []


def test_dropped_rows_do_not_come_back_with_their_journal(
    open_one: Open, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8 CHECK (n < 100))")
    first = open_one()
    store(first, 700)
    with pytest.raises(RowsRefusedError, match="later_n_check"):
        first.flush(WAIT_S)
    failing_server.stop(signal.SIGQUIT)
    store(first, 1)
    first.drop(first.set_aside()[0].id)
    first.close()
    failing_server.start()
    failing_server.run("ALTER TABLE later DROP CONSTRAINT later_n_check")
    second = open_one()
    second.resume()
    wait_until(lambda: numbers(failing_server), "the row behind")

    assert numbers(failing_server) == [1]
    assert second.set_aside() == []


def test_a_job_is_stored_once_whoever_stores_it(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    given = [later.store_later("later", {"n": [1]}, job_id="job") for _ in range(3)]
    receipts = [later.wait_stored(one, WAIT_S) for one in given]

    assert [(one.rows, one.repeated) for one in receipts] == [(1, False), (0, True), (0, True)]
    assert numbers(failing_server) == [1]


def test_rows_wait_while_the_server_is_away(later: WriteBehind, failing_server: OwnServer) -> None:
    store(later, 0)
    later.flush(WAIT_S)
    failing_server.stop(signal.SIGQUIT)
    given = [store(later, n) for n in range(1, 100)]
    wait_until(lambda: later.statistics().state == "server away", "word of it")
    with pytest.raises(DeliveryTimeoutError, match=r"not delivered within 0\.1 s; the last try"):
        later.wait_stored(given[0], 0.1)
    waiting = later.statistics()
    assert waiting.waiting_records == 99
    assert waiting.waiting_bytes == sum(one.bytes for one in given)
    assert waiting.oldest_waiting_s > 0

    failing_server.start()
    later.wait_stored(given[-1], WAIT_S)

    assert numbers(failing_server) == list(range(100))


def test_a_lost_answer_to_commit_stores_nothing_twice(
    open_one: Open, failing_server: OwnServer, proxy: CuttingProxy
) -> None:
    """Cut whenever the server says COMMIT, five times: the ledger tells that it was done."""
    failing_server.run("CREATE TABLE later (n int8)")
    later = open_one(dsn=failing_server.dsn(port=proxy.port))
    for n in range(5):
        fault = proxy.arm("to_client", b"COMMIT")
        store(later, n)
        later.flush(WAIT_S)
        assert fault.happened.is_set()

    assert numbers(failing_server) == list(range(5))


def test_a_locked_table_holds_up_no_other(later: WriteBehind, failing_server: OwnServer) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    with failing_server.locked("later"):
        slow = store(later, 1)
        started_s = time.monotonic()
        for n in range(5):
            later.wait_stored(store(later, n, table="other"), WAIT_S)
        assert time.monotonic() - started_s < 15
        assert later.statistics().waiting_records == 1
    later.wait_stored(slow, WAIT_S)


def test_what_takes_too_long_at_once_goes_in_pieces(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    """A trigger takes 20 ms for each row, and a statement may take 0.2 s."""
    failing_server.run("CREATE TABLE later (n int8)")
    failing_server.run(
        "CREATE OR REPLACE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END'"
    )
    failing_server.run(
        "CREATE TRIGGER slow BEFORE INSERT ON later FOR EACH ROW EXECUTE FUNCTION be_slow()"
    )
    failing_server.run("ALTER ROLE CURRENT_USER SET statement_timeout = '0.2s'")
    try:
        with failing_server.locked("later"):
            for n in range(30):
                store(later, n)
        too_much = later.store_later("later", {"n": np.arange(100, 120)})
        with pytest.raises(RowsRefusedError, match="statement timeout"):
            later.wait_stored(too_much, 40)
    finally:
        failing_server.run("ALTER ROLE CURRENT_USER RESET statement_timeout")

    assert numbers(failing_server) == list(range(30))


def test_a_dropped_table_is_made_again(later: WriteBehind, failing_server: OwnServer) -> None:
    store(later, 1)
    later.flush(WAIT_S)
    failing_server.run("DROP TABLE later")
    store(later, 2)
    later.flush(WAIT_S)

    assert numbers(failing_server) == [2]


def test_a_dropped_ledger_is_made_again(later: WriteBehind, failing_server: OwnServer) -> None:
    store(later, 1)
    later.flush(WAIT_S)
    failing_server.run("DROP SCHEMA ngb_ledger CASCADE")
    store(later, 2)
    later.flush(WAIT_S)

    assert numbers(failing_server) == [1, 2]
    assert later.set_aside() == []


def test_what_is_left_at_the_end_comes_with_the_next_process_first(
    open_one: Open, failing_server: OwnServer, later_home: Path
) -> None:
    failing_server.run("CREATE TABLE later (id serial, n int8)")
    failing_server.stop(signal.SIGQUIT)
    first = open_one()
    for n in range(5):
        store(first, n)
    first.close()
    with pytest.raises(ClosedError, match="write-behind is closed"):
        store(first, 9)
    second = open_one()
    second.resume()
    store(second, 5)
    failing_server.start()
    second.flush(WAIT_S)
    second.close()

    found = failing_server.run("SELECT n FROM later ORDER BY id")
    assert [n for (n,) in found] == [0, 1, 2, 3, 4, 5]
    assert failing_server.run("SELECT * FROM ngb_ledger.delivered_batches") == []
    assert [path for path in later_home.rglob("*") if path.is_file()] == []


def test_damage_is_set_aside_and_the_rest_arrives(
    open_one: Open, failing_server: OwnServer, later_home: Path
) -> None:
    failing_server.stop(signal.SIGQUIT)
    first = open_one()
    given = [store(first, n) for n in range(3)]
    first.close()
    (segment,) = later_home.glob("journals/*/*.segment")
    data = bytearray(segment.read_bytes())
    data[-given[2].bytes - RECORD_HEADER_BYTES - 20] ^= 0xFF
    segment.write_bytes(data)
    failing_server.start()
    second = open_one()
    second.resume()
    wait_until(lambda: not list(later_home.glob("journals/*")), "the rest")

    assert numbers(failing_server) == [0, 2]
    (damaged,) = second.set_aside()
    assert damaged.bytes == given[1].bytes
    assert "are damaged; the rows in them, which may have been acknowledged" in damaged.reason
    second.drop(damaged.id)
    assert second.set_aside() == []


def test_two_processes_of_one_home_each_deliver_their_own(
    open_one: Open, failing_server: OwnServer, later_home: Path
) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    first, second = open_one(), open_one()
    for n in range(0, 100, 2):
        store(first, n)
        store(second, n + 1)
    first.flush(WAIT_S)
    second.flush(WAIT_S)

    assert numbers(failing_server) == list(range(100))
    assert len(list(later_home.glob("journals/*"))) == 2


def test_the_child_of_a_fork_has_a_journal_of_its_own(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    store(later, 1)
    later.flush(WAIT_S)
    child = os.fork()
    if not child:
        status = 1
        try:
            store(later, 2)
            later.flush(WAIT_S)
            later.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store(later, 3)
    later.flush(WAIT_S)

    assert numbers(failing_server) == [1, 2, 3]


def test_a_full_journal_takes_no_more_until_the_server_is_back(
    open_one: Open, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    later = open_one(bytes_max=1 << 20)
    failing_server.stop(signal.SIGQUIT)
    taken = fill(later, JournalFullError, r"of 1,048,576 bytes wait for PostgreSQL already")
    failing_server.start()
    later.flush(WAIT_S)
    store(later, taken)
    later.flush(WAIT_S)

    assert numbers(failing_server) == list(range(taken + 1))


def test_a_full_disk_takes_no_more_and_loses_nothing(
    open_one: Open, failing_server: OwnServer, tmp_path: Path
) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    with small_disk(tmp_path / "small", "1m", owned=False) as folder:
        later = open_one(folder / "write-behind")
        failing_server.stop(signal.SIGQUIT)
        taken = fill(later, DiskFullError, "No space left on device; these rows were not taken")
        failing_server.start()
        later.flush(WAIT_S)
        assert numbers(failing_server) == list(range(taken))
        later.close()


def test_a_limit_on_file_sizes_is_said(open_one: Open, failing_server: OwnServer) -> None:
    """What a disk's quota does to a process that is not root."""
    failing_server.run("CREATE TABLE later (n int8)")
    later = open_one()
    store(later, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="File too large; these rows were not taken"):
            later.store_later("later", {"n": np.arange(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store(later, 2)
    later.flush(WAIT_S)

    assert numbers(failing_server) == [1, 2]


def test_an_acknowledgement_of_another_process_is_told(later: WriteBehind) -> None:
    foreign = Acknowledgement("0-0", 1, "later", 1, 1)
    store(later, 1)

    with pytest.raises(BadParameterError, match="journal '0-0' is none of this plane's"):
        later.wait_stored(foreign, 1)


def test_records_that_wait_are_on_disk_and_not_in_memory(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    """50 MB wait, and take no more memory than the two transactions of 16 MiB before."""
    failing_server.run("CREATE TABLE later (n int8)")

    def store_while_locked(first: int, end: int) -> int:
        with failing_server.locked("later"):
            for n in range(first, end, 100_000):
                later.store_later("later", {"n": np.arange(n, n + 100_000)})
            waiting_bytes = later.statistics().waiting_bytes
        later.flush(100)
        return waiting_bytes

    store_while_locked(0, 4_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    waiting_bytes = store_while_locked(4_000_000, 10_500_000)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert waiting_bytes > 50_000_000
    assert grown_kib < 20 << 10
    assert failing_server.run("SELECT count(*), max(n) FROM later") == [(10_500_000, 10_499_999)]
