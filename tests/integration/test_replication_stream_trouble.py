"""Streams that end, hang, are cut or refused: what came whole was handed out, and the error says
what to do.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from cutting_proxy import cutting_proxy
from fix_servers import wait_until
from neural_gpu_bus.errors import (
    NeuralGpuBusError,
    ProtocolError,
    QueryTimeoutError,
    ReplicationError,
    ServerUnreachableError,
)
from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.transactions import (
    RowChanges,
    StreamBatch,
    Transaction,
)
from own_server import OwnServer, own_server
from stream_actors import batches, log_end, published, streaming, transactions

TABLE = "t (id int8 PRIMARY KEY, x text)"
#: The server hangs up on who says nothing for so long.
SHORT_TIMEOUT = "&options=-c%20wal_sender_timeout%3D1000"


@pytest.fixture(scope="module")
def _stream_server() -> Iterator[OwnServer]:
    with own_server(wal_level="logical", max_wal_size="64MB", min_wal_size="32MB") as server:
        yield server


@pytest.fixture
def server(_stream_server: OwnServer) -> OwnServer:
    """Runs when the test begins, whatever the one before did."""
    if not _stream_server.is_ready():
        _stream_server.stop(signal.SIGQUIT)
        _stream_server.start()
    return _stream_server


def insert(connection: psycopg.Connection, first: int, last: int) -> None:
    connection.execute(
        "INSERT INTO t SELECT g, 'row ' || g FROM generate_series(%s::int8, %s::int8) g",
        (first, last),
    )


def changes_in(session: StreamSession, end_lsn: int) -> int:
    """Rows of all transactions until then."""
    return sum(
        len(step)
        for batch in batches(session, end_lsn)
        for found in batch.transactions
        for step in found.steps
        if isinstance(step, RowChanges)
    )


def failure(
    session: StreamSession,
    taken: Callable[[StreamBatch], None] = lambda batch: None,
    *,
    acknowledge: bool = False,
) -> NeuralGpuBusError:
    """What ends the stream; all that comes before is taken."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        try:
            batch = session.receive(0.5)
            if batch is not None:
                taken(batch)
                if acknowledge:
                    session.acknowledge(batch.end_lsn)
        except NeuralGpuBusError as error:
            with pytest.raises(type(error), match=re.escape(error.what)):  # and again
                session.receive(0)
            return error
    pytest.fail("the stream did not end")


# ---- refusals


def test_a_slot_that_is_not_there(server: OwnServer) -> None:
    with (
        published(server.dsn(), TABLE),
        StreamSession.connect(server.dsn(), timeout_s=10) as session,
    ):
        with pytest.raises(ReplicationError, match='slot "absent" does not exist') as refused:
            session.start("absent", 0, ["stream_test"])
        assert (refused.value.sqlstate, refused.value.slot) == ("42704", "absent")
        assert "make the slot anew" in refused.value.hint

        # The session is as it was.
        session.start("there", session.create_slot("there", temporary=True), ["stream_test"])
        assert session.received_lsn == 0


@pytest.mark.parametrize("direct", [True, False], ids=["socket", "libpq"])
def test_a_slot_that_another_reads(server: OwnServer, direct: bool) -> None:
    with published(server.dsn(), TABLE) as connection, streaming(server.dsn()):
        with StreamSession.connect(server.dsn(), timeout_s=10, direct=direct) as session:
            with pytest.raises(ReplicationError, match="is active for PID") as refused:
                session.start("stream_test_slot", 0, ["stream_test"])
            assert refused.value.sqlstate == "55006"
            assert "another process reads this slot" in refused.value.hint
            with pytest.raises(ReplicationError, match="already exists"):
                session.create_slot("stream_test_slot", temporary=False)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_slot_of_a_name_that_none_can_have(server: OwnServer) -> None:
    with (
        StreamSession.connect(server.dsn(), timeout_s=10) as session,
        pytest.raises(ReplicationError, match="contains invalid character"),
    ):
        session.create_slot("No such", temporary=True)


@pytest.mark.parametrize("direct", [True, False], ids=["socket", "libpq"])
def test_a_publication_that_is_not_there(server: OwnServer, direct: bool) -> None:
    """The server looks for it at the first change."""
    with published(server.dsn(), TABLE) as connection:
        with StreamSession.connect(server.dsn(), timeout_s=10, direct=direct) as session:
            position = session.create_slot("slot", temporary=True)
            session.start("slot", position, ["no such, publication"])
            insert(connection, 1, 1)

            error = failure(session)

        assert isinstance(error, ReplicationError)
        assert 'publication "no such, publication"' in str(error)
        assert "CREATE PUBLICATION" in error.hint


@pytest.mark.parametrize("direct", [True, False], ids=["socket", "libpq"])
def test_a_publication_that_is_dropped_meanwhile(server: OwnServer, direct: bool) -> None:
    """PostgreSQL 18 warns and leaves the table's changes out: nothing of them may look complete."""
    with streaming_with_rows(server, direct=direct) as session:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("INSERT INTO stream_test.t VALUES (2)")
        server.run("DROP PUBLICATION stream_test")
        server.run("INSERT INTO stream_test.t VALUES (3)")

        seen, error = [], None
        while error is None:
            try:
                seen.append(session.receive(5))
            except NeuralGpuBusError as found:
                error = found

        assert isinstance(error, ReplicationError)
        assert 'publication "stream_test"' in str(error)
        rows = [
            bytes(step.kinds)
            for batch in seen
            if batch is not None
            for found in batch.transactions
            for step in found.steps
            if isinstance(step, RowChanges)
        ]
        assert rows in ([b"I"], [b"I", b"I"])  # the last one before or after it was noticed


@pytest.mark.slow
def test_a_log_that_was_removed(server: OwnServer) -> None:
    with published(server.dsn(), TABLE) as connection:
        with StreamSession.connect(server.dsn(), timeout_s=10) as session:
            position = session.create_slot("old", temporary=False)
        connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            for number in range(6):
                insert(connection, number, number)
                connection.execute("SELECT pg_switch_wal()")
            wait_until(lambda: is_lost(connection), "the slot's loss")
            with StreamSession.connect(server.dsn(), timeout_s=10) as session:
                with pytest.raises(ReplicationError, match='replication slot "old"') as refused:
                    session.start("old", position, ["stream_test"])
                assert refused.value.sqlstate == "55000"
                assert "make the slot anew" in refused.value.hint
        finally:
            connection.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("SELECT pg_drop_replication_slot('old')")


def is_lost(connection: psycopg.Connection) -> bool:
    connection.execute("CHECKPOINT")
    query = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'old'"
    return connection.execute(query.encode()).fetchone() == ("lost",)


@pytest.mark.slow
def test_a_server_without_logical_decoding(server: OwnServer) -> None:
    server.stop()
    server.start(wal_level="replica")
    try:
        with StreamSession.connect(server.dsn(), timeout_s=10) as session:
            with pytest.raises(ReplicationError, match="wal_level") as refused:
                session.create_slot("slot", temporary=True)
            assert "wal_level = logical" in refused.value.hint
    finally:
        server.stop()


def test_a_role_that_may_not_replicate(server: OwnServer) -> None:
    server.run("DROP ROLE IF EXISTS plain")
    server.run("CREATE ROLE plain LOGIN PASSWORD 'a password / with @ marks'")

    with pytest.raises(NeuralGpuBusError, match=r"replication|WAL sender"):
        StreamSession.connect(server.dsn(user="plain"), timeout_s=10)


@pytest.mark.slow
def test_a_slot_waits_no_longer_than_asked_for_transactions_that_run(server: OwnServer) -> None:
    told: list[None] = []

    def tell() -> None:
        told.append(None)

    with psycopg.connect(server.dsn()) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        with (
            StreamSession.connect(server.dsn(), timeout_s=10) as session,
            pytest.raises(QueryTimeoutError, match=r"0\.4 s"),
        ):
            session.create_slot("slot", temporary=True, timeout_s=0.4, told=tell)
        assert told
        wait_until(lambda: not server.run("SELECT 1 FROM pg_replication_slots"), "the slot's end")


# ---- ends


@pytest.mark.parametrize("direct", [True, False], ids=["socket", "libpq"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_server_that_goes(server: OwnServer, how: signal.Signals, direct: bool) -> None:
    with streaming_with_rows(server, direct=direct) as session:
        server.signal(how)
        # A fast shutdown waits until all that was sent is acknowledged.
        error = failure(session, acknowledge=True)
        server.stop(how)

        assert isinstance(error, ServerUnreachableError)
        assert f"127.0.0.1:{server.port}" in str(error)


def streaming_with_rows(server: OwnServer, *, direct: bool) -> StreamSession:
    set_up(server)
    session = StreamSession.connect(server.dsn(), timeout_s=10, direct=direct)
    session.start("slot", session.create_slot("slot", temporary=True), ["stream_test"])
    server.run("INSERT INTO stream_test.t VALUES (1)")
    assert session.receive(10) is not None
    return session


def set_up(server: OwnServer) -> None:
    """The table and its publication, which stay."""
    server.run("DROP SCHEMA IF EXISTS stream_test CASCADE")
    server.run("DROP PUBLICATION IF EXISTS stream_test")
    server.run("CREATE SCHEMA stream_test")
    server.run(f"CREATE TABLE stream_test.{TABLE}")
    server.run("CREATE PUBLICATION stream_test FOR TABLES IN SCHEMA stream_test")


@pytest.mark.slow
def test_a_server_that_crashed_goes_on_where_we_are(server: OwnServer) -> None:
    """A slot's position is on disk at checkpoints alone, and goes back; ours does not."""
    set_up(server)
    with StreamSession.connect(server.dsn(), timeout_s=10) as session:
        session.start("kept", session.create_slot("kept", temporary=False), ["stream_test"])
        server.run("CHECKPOINT")
        for number in range(5):
            server.run("INSERT INTO stream_test.t VALUES (%s)", number)
        seen = until_now(server, session)
        position = seen[2].end_lsn
        session.acknowledge(position)
    server.run("INSERT INTO stream_test.t VALUES (9)")
    server.stop(signal.SIGQUIT)
    server.start()
    with StreamSession.connect(server.dsn(), timeout_s=10) as session:
        session.start("kept", position, ["stream_test"])
        again = until_now(server, session)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        wait_until(lambda: not is_active(connection), "the session's end")
        connection.execute("SELECT pg_drop_replication_slot('kept')")

    assert [found.end_lsn for found in again[:2]] == [found.end_lsn for found in seen[3:]]
    assert len(again) == 3


def until_now(server: OwnServer, session: StreamSession) -> list[Transaction]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        return transactions(session, log_end(connection))


def test_a_session_that_was_ended_by_hand(server: OwnServer) -> None:
    with streaming_with_rows(server, direct=True) as session:
        server.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")

        assert "administrator command" in str(failure(session))


@pytest.mark.slow
def test_what_came_whole_is_handed_out_before_the_end(server: OwnServer) -> None:
    with streaming_with_rows(server, direct=True) as session:
        server.run("INSERT INTO stream_test.t VALUES (2)")
        ((end,),) = server.run("SELECT pg_current_wal_lsn()")
        sent = "SELECT 1 FROM pg_stat_replication WHERE sent_lsn >= %s::pg_lsn"
        wait_until(lambda: server.run(sent, end), "the row is sent")
        server.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
        wait_until(lambda: not server.run("SELECT 1 FROM pg_stat_replication"), "the session's end")

        seen = [found for found in [session.receive(1)] if found is not None]
        # The one before as well, where it had not been taken yet.
        assert sum(len(batch.transactions) for batch in seen) in (1, 2)
        assert isinstance(failure(session), ServerUnreachableError)


@pytest.mark.parametrize("action", ["cut", "half_close"])
@pytest.mark.parametrize("at", [0, 1, 4, 5, 37, 150, 5000, 40_000])
def test_a_connection_cut_at_any_byte(server: OwnServer, at: int, action: str) -> None:
    """Whole transactions alone come through, and the slot has the others for the next session."""
    with published(server.dsn(), TABLE) as connection, cutting_proxy(server.port) as proxy:
        with StreamSession.connect(server.dsn(), timeout_s=10) as direct:
            position = direct.create_slot("kept", temporary=False)
        seen: list[StreamBatch] = []
        with StreamSession.connect(server.dsn(port=proxy.port), timeout_s=10) as session:
            session.start("kept", position, ["stream_test"])
            proxy.arm("to_client", at, action=action)  # type: ignore[arg-type]
            for number in range(20):
                insert(connection, number * 50, number * 50 + 49)
            assert isinstance(failure(session, seen.append), ServerUnreachableError)
        whole = 0
        for batch in seen:
            for found in batch.transactions:
                whole += 1
                position = found.end_lsn
                assert sum(len(s) for s in found.steps if isinstance(s, RowChanges)) == 50
        assert whole < 20
        wait_until(lambda: not is_active(connection), "the session's end")
        with StreamSession.connect(server.dsn(), timeout_s=10) as session:
            session.start("kept", position, ["stream_test"])
            rest = transactions(session, log_end(connection))
        wait_until(lambda: not is_active(connection), "the session's end")
        connection.execute("SELECT pg_drop_replication_slot('kept')")
        assert whole + len(rest) == 20


def is_active(connection: psycopg.Connection) -> bool:
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = 'kept'"
    return connection.execute(query.encode()).fetchone() == (True,)


def test_a_byte_that_was_bent_on_the_way(server: OwnServer) -> None:
    with (
        published(server.dsn(), TABLE) as connection,
        cutting_proxy(server.port) as proxy,
        streaming(server.dsn(port=proxy.port)) as session,
    ):
        proxy.arm("to_client", b"stream_test\0t\0", action="insert", more=b"\0")
        insert(connection, 1, 1)

        assert isinstance(failure(session), ProtocolError)


# ---- a server that hangs up on who is silent


@pytest.mark.slow
def test_a_slow_applier_keeps_its_stream(server: OwnServer) -> None:
    """Nothing is received for longer than the server waits for a sign of life."""
    with (
        published(server.dsn(), TABLE) as connection,
        streaming(server.dsn() + SHORT_TIMEOUT) as session,
    ):
        insert(connection, 1, 1000)
        time.sleep(1.5)
        insert(connection, 1001, 40_000)

        assert changes_in(session, log_end(connection)) == 40_000


@pytest.mark.slow
@pytest.mark.parametrize("direct", [True, False], ids=["socket", "libpq"])
def test_a_server_that_asks_is_answered_at_once(server: OwnServer, direct: bool) -> None:
    """Also where the timer does not come to it."""
    with (
        published(server.dsn(), TABLE) as connection,
        streaming(server.dsn() + SHORT_TIMEOUT, direct=direct) as session,
    ):
        assert session._sender is not None
        session._sender.stop()
        end_s = time.monotonic() + 1.5
        while time.monotonic() < end_s:
            session.receive(0.2)
        insert(connection, 1, 10)

        assert changes_in(session, log_end(connection)) == 10


@pytest.mark.slow
def test_a_transaction_that_takes_longer_than_the_servers_patience(server: OwnServer) -> None:
    """Its parts come slowly, because they are taken slowly."""
    dsn = server.dsn() + SHORT_TIMEOUT
    with (
        published(server.dsn(), TABLE) as connection,
        streaming(dsn, received_bytes_max=1 << 20) as session,
    ):
        insert(connection, 1, 60_000)
        end, rows, parts = log_end(connection), 0, 0
        for batch in batches(session, end):
            for found in batch.transactions:
                parts += 1
                rows += sum(len(s) for s in found.steps if isinstance(s, RowChanges))
            time.sleep(0.6)

        assert rows == 60_000
        assert parts >= 4


@pytest.mark.parametrize(("given_ms", "taken"), [(0, "1min"), (600_000, "1min"), (5000, "5s")])
def test_a_server_without_patience_of_its_own_is_given_some(
    server: OwnServer, given_ms: int, taken: str
) -> None:
    """Its shutdown would wait without end for who stands still."""
    dsn = f"{server.dsn()}&options=-c%20wal_sender_timeout%3D{given_ms}"
    with StreamSession.connect(dsn, timeout_s=10) as session:
        assert session._sender_timeout_s() == min(given_ms / 1000 or 60, 60)
        assert session._run("SHOW wal_sender_timeout") == [(taken,)]
