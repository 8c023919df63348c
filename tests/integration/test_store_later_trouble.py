"""What else may go wrong with rows that wait: odd arguments, stray files, forks, clocks, rights."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_servers import wait_until
from fix_write_behind import WAIT_S, Open, numbers, store
from neural_gpu_bus.errors import BadParameterError, RowsRefusedError
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.write_behind import journal_folder
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind
from neural_gpu_bus.stores.postgres.writing.ledgers import claim_job, ensure_ledgers
from own_server import OwnServer

pytestmark = pytest.mark.slow

ROW = {"n": [1]}


def in_threads(count: int, call: Callable[[], Any]) -> list[Any]:
    """What each thread's call gave, or its error."""
    begin = threading.Barrier(count)
    given: list[Any] = []

    def run() -> None:
        begin.wait()
        try:
            given.append(call())
        except Exception as error:  # noqa: BLE001  (looked at by the test)
            given.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return given


def refused_at_700(later: WriteBehind, server: OwnServer) -> str:
    """The id of a row that was refused, and would be taken now."""
    server.run("CREATE TABLE later (n int8 CHECK (n < 100))")
    with pytest.raises(RowsRefusedError, match="1 row for table 'later' was refused and is set"):
        later.wait_stored(store(later, 700), WAIT_S)
    server.run("ALTER TABLE later DROP CONSTRAINT later_n_check")
    return later.set_aside()[0].id


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"job_id": "a\0b"}, "has a NUL character"),
        ({"job_id": 5}, "job_id is 5: expected a text"),
        ({"job_id": "x" * (1 << 20)}, "job_id of 1,048,576 bytes"),
        ({"job_id": "\ud800"}, "surrogates not allowed"),
        ({"table": "later\ud800"}, "surrogates not allowed"),
        ({"table": None}, "table is None: expected a text"),
        ({"key": 5}, "key is 5, and no list of columns"),
        ({"key": [["n"]]}, r"key column \['n'\] is not among the columns n"),
        ({"key": ["n"] * 3}, "key names column 'n' twice"),
    ],
)
def test_what_could_not_be_read_again_is_not_acknowledged(
    later: WriteBehind, later_home: Path, given: dict[str, Any], match: str
) -> None:
    with pytest.raises(BadParameterError, match=match):
        later.store_later(**({"table": "later", "columns": ROW} | given))
    assert not later_home.exists()


def test_a_value_that_the_driver_refuses_keeps_nobody_waiting(
    later: WriteBehind, failing_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier version may have journaled it."""
    with monkeypatch.context() as patch:
        module = "neural_gpu_bus.stores.postgres.write_behind.write_behind"
        patch.setattr(f"{module}.check_job_id", lambda _: None)
        bad = later.store_later("later", ROW, job_id="a\0b")
    good = store(later, 2)

    assert later.wait_stored(good, WAIT_S).rows == 1
    with pytest.raises(RowsRefusedError, match="NUL"):
        later.wait_stored(bad, WAIT_S)
    assert numbers(failing_server) == [2]


def test_calls_with_the_wrong_arguments_are_told(later: WriteBehind) -> None:
    given = store(later, 1)
    with pytest.raises(BadParameterError, match="acknowledgement is None: expected what"):
        later.wait_stored(None)  # type: ignore[arg-type]
    with pytest.raises(BadParameterError, match="timeout_s is 'x': expected a number of seconds"):
        later.wait_stored(given, "x")  # type: ignore[arg-type]
    with pytest.raises(BadParameterError, match="timeout_s is -1: expected a number of seconds"):
        later.flush(-1)
    for call in (later.retry, later.drop, later.columns_of):
        with pytest.raises(BadParameterError, match="no rows are set aside as 5"):
            call(5)  # type: ignore[arg-type]


def test_threads_of_a_fork_leave_the_parents_journal_alone(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    parents = store(later, 0).journal
    later.flush(WAIT_S)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        children = [_child_stores(later, parents) for _ in range(4)]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    finally:
        sys.setswitchinterval(interval_s)

    assert statuses == [0] * 4
    assert numbers(failing_server) == [0] + [1] * 32


def _child_stores(later: WriteBehind, parents: str) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if later._own is not None:  # reset before any thread can come
            os._exit(3)
        given = in_threads(8, lambda: store(later, 1).journal)
        later.flush(WAIT_S)
        later.close()
        status = 0 if len(set(given)) == 1 and parents not in given else 2
    finally:
        os._exit(status)


def test_retries_at_once_store_once(later: WriteBehind, failing_server: OwnServer) -> None:
    refused = refused_at_700(later, failing_server)
    given = in_threads(6, lambda: later.retry(refused))

    stored = [one for one in given if not isinstance(one, Exception)]
    assert [one.rows for one in stored] == [1]
    assert {type(one) for one in given} - {type(stored[0])} == {BadParameterError}
    assert numbers(failing_server) == [700]


def test_a_retry_is_done_whatever_becomes_of_the_ledgers_row(
    later: WriteBehind, failing_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refused_at_700(later, failing_server)
    failing_server.run(
        "CREATE OR REPLACE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE ''the row stays''; END'"
    )
    failing_server.run(
        "CREATE TRIGGER stay BEFORE DELETE ON ngb_ledger.delivered_batches "
        "FOR EACH ROW EXECUTE FUNCTION stay()"
    )

    assert later.retry(refused).rows == 1
    assert numbers(failing_server) == [700]
    assert later.set_aside() == []


def test_a_job_begun_in_ranges_is_not_taken_for_stored(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8)")
    with connect(failing_server.dsn(), timeout_s=5) as connection:
        ensure_ledgers(connection)
        claim_job(connection, "J7", "later", -2)
    job = later.store_later("later", ROW, job_id="J7")

    with pytest.raises(RowsRefusedError, match="job 'J7' was begun in 2 ranges"):
        later.wait_stored(job, WAIT_S)
    failing_server.run("UPDATE ngb_ledger.stored_jobs SET rows = 4 WHERE job_id = 'J7'")
    assert later.retry(later.set_aside()[0].id).repeated


def test_stray_files_stop_nothing(
    later: WriteBehind, failing_server: OwnServer, later_home: Path
) -> None:
    later.wait_stored(store(later, 1), WAIT_S)
    ended = later_home / "journals" / "00000000000000000001-aaaaaaaaaaaa"
    ended.mkdir()
    for name in ("lock", "._00000001.segment", "copy of 1.segment"):
        (ended / name).write_bytes(b"x")
    (later_home / "journals" / "README").write_text("not ours")
    (later_home / "journals" / "lost+found").mkdir()
    (later_home / "set-aside").mkdir(exist_ok=True)
    (later_home / "set-aside" / f"{ended.name}-one.record").write_bytes(b"x")
    later._started()._look()

    assert later.wait_stored(store(later, 2), WAIT_S).rows == 1
    assert later.statistics().journals <= 2
    wait_until(lambda: not ended.exists(), "the end of a journal without a record")
    assert (later_home / "journals" / "lost+found").is_dir()
    assert numbers(failing_server) == [1, 2]


def test_the_thread_outlives_what_nobody_thought_of(
    later: WriteBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> list[object]:
        raise RuntimeError("never thought of")

    later.wait_stored(store(later, 1), WAIT_S)
    with monkeypatch.context() as patch:
        patch.setattr(later._folder, "take_over", fail)
        assert later._started()._turn(look=True)
    later.wait_stored(store(later, 2), WAIT_S)


def test_what_cannot_be_set_aside_holds_up_its_own_table_alone(
    later: WriteBehind, failing_server: OwnServer, later_home: Path
) -> None:
    failing_server.run("CREATE TABLE later (n int8 CHECK (n < 100))")
    later.wait_stored(store(later, 1, table="other"), WAIT_S)
    (later_home / "set-aside").write_text("in the way")
    bad = store(later, 700)
    for n in range(3):
        later.wait_stored(store(later, n, table="other"), WAIT_S)
    wait_until(lambda: "cannot be set aside" in later.statistics().last_error, "word of it")
    assert later.statistics().waiting_records == 1

    (later_home / "set-aside").unlink()
    with pytest.raises(RowsRefusedError, match="later_n_check"):
        later.wait_stored(bad, WAIT_S)


def test_a_server_that_tells_no_position_has_the_rows(
    open_one: Open, failing_server: OwnServer
) -> None:
    """Once only, and not set aside, where the right to ask for it is missing."""
    failing_server.run("CREATE TABLE later (n int8)")
    functions = ("pg_current_wal_flush_lsn()", "pg_current_wal_insert_lsn()")
    user = "no_position"
    failing_server.run(f"CREATE ROLE {user}")
    failing_server.run(f"GRANT ALL ON SCHEMA public TO {user}")
    failing_server.run(f"GRANT ALL ON later TO {user}")
    (name,) = failing_server.run("SELECT current_database()")[0]
    failing_server.run(f"GRANT CREATE ON DATABASE {name} TO {user}")
    for function in functions:
        failing_server.run(f"REVOKE EXECUTE ON FUNCTION {function} FROM public")
    try:
        options = f"-c role={user}"
        later = open_one(dsn=psycopg.conninfo.make_conninfo(failing_server.dsn(), options=options))
        receipt = later.wait_stored(store(later, 1), WAIT_S)
        later.close()
    finally:
        for function in functions:
            failing_server.run(f"GRANT EXECUTE ON FUNCTION {function} TO public")
        failing_server.run("DROP SCHEMA IF EXISTS ngb_ledger CASCADE")
        failing_server.run(f"DROP OWNED BY {user} CASCADE")
        failing_server.run(f"DROP ROLE {user}")

    assert (receipt.rows, receipt.lsn) == (1, "")
    assert numbers(failing_server) == [1]
    assert later.set_aside() == []


def test_a_clock_set_back_changes_no_order(
    open_one: Open, failing_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_server.run("CREATE TABLE later (id serial, n int8)")
    with failing_server.locked("later"):
        for n in range(3):
            set_back_ns = n * 3600 * 10**9
            now_ns = time.time_ns() - set_back_ns
            monkeypatch.setattr(journal_folder.time, "time_ns", lambda now_ns=now_ns: now_ns)
            one = open_one(close_timeout_s=0.0)
            store(one, n)
            one.close()
        monkeypatch.undo()
        last = open_one()
        last.resume()
    store(last, 3)
    last.flush(WAIT_S)

    found = failing_server.run("SELECT n FROM later ORDER BY id")
    assert [n for (n,) in found] == [0, 1, 2, 3]


def test_flush_tells_of_rows_refused_before_it(
    later: WriteBehind, failing_server: OwnServer
) -> None:
    failing_server.run("CREATE TABLE later (n int8 CHECK (n < 100))")
    for n in (700, 1, 800):
        with suppress(RowsRefusedError):
            later.wait_stored(store(later, n), WAIT_S) if n == 1 else store(later, n)
    wait_until(lambda: later.statistics().refused_records == 2, "two refusals")

    match = r"1 row for table 'later' was refused and is set aside: .*; 1 more call was refused"
    with pytest.raises(RowsRefusedError, match=match):
        later.flush(WAIT_S)
    later.flush(WAIT_S)  # it was told once
    bad = store(later, 900)
    with pytest.raises(RowsRefusedError, match="1 row for table"):
        later.wait_stored(bad, WAIT_S)
    later.flush(WAIT_S)
    assert numbers(failing_server) == [1]


def test_what_the_ledger_forgot_stays_forgotten(open_one: Open, failing_server: OwnServer) -> None:
    """Also where commits may be lost with the server: the journal, which knows of it, is gone."""
    failing_server.run("CREATE TABLE later (n int8)")
    dsn = psycopg.conninfo.make_conninfo(failing_server.dsn(), options="-c synchronous_commit=off")
    later = open_one(dsn=dsn)
    given = store(later, 1)
    later.wait_stored(given, WAIT_S)
    later._courier.forget(given.journal)
    failing_server.stop(signal.SIGQUIT)
    failing_server.start()

    assert failing_server.run("SELECT * FROM ngb_ledger.delivered_batches") == []
