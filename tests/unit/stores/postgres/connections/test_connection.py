"""What the server's refusals mean."""

from __future__ import annotations

import psycopg
import pytest

from neural_gpu_bus.errors import (
    NeuralGpuBusError,
    ProtocolError,
    QueryError,
    QueryTimeoutError,
    ServerAuthenticationError,
    ServerError,
    ServerFullError,
    ServerUnreachableError,
)
from neural_gpu_bus.stores.postgres.connections import connection
from neural_gpu_bus.stores.postgres.connections.connection import (
    connect,
    failure_from,
    translated,
)


@pytest.mark.parametrize(
    ("sqlstate", "kind", "match"),
    [
        (None, ServerUnreachableError, "cannot talk to PostgreSQL at db:5432/x: why"),
        ("42P01", QueryError, "refused the statement: why"),
        ("53100", ServerFullError, "has no room left: why"),
        ("53300", ServerUnreachableError, "cannot talk"),
        ("57014", QueryTimeoutError, "stopped the statement after 2 s: why"),
        ("57P01", ServerUnreachableError, "cannot talk"),
        ("28P01", ServerAuthenticationError, "refused the user or the password"),
        ("08P01", ProtocolError, "could not read what was sent"),
        ("XX000", ServerError, "failed: why"),
    ],
)
def test_a_sqlstate_means_one_error(
    sqlstate: str | None, kind: type[NeuralGpuBusError], match: str
) -> None:
    error = failure_from(sqlstate, "why", "db:5432/x", timeout_s=2.0)

    assert type(error) is kind
    assert match in error.what
    assert error.hint


@pytest.mark.parametrize(
    "words",
    [
        "server conn crashed?",
        "query_wait_timeout",
        "server login has been failing, try again later (server_login_retry)",
        "no more connections allowed (max_client_conn)",
    ],
)
def test_a_pooler_s_own_words_are_a_lost_connection(words: str) -> None:
    error = failure_from("08P01", words, "db:6432/x")

    assert type(error) is ServerUnreachableError
    assert f"the pooler in front says: {words}" in error.what


def test_a_refused_statement_keeps_position_detail_and_the_servers_hint() -> None:
    error = failure_from("42703", "no", "db", position="8", detail="more", hint="try that")

    assert (
        error.what
        == "PostgreSQL refused the statement: no (more) (at character 8 of the statement)"
    )
    assert (error.hint, error.position, error.sqlstate) == ("try that", 8, "42703")


def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(
        ServerUnreachableError, match=r"cannot talk to PostgreSQL at 127\.0\.0\.1:1/x"
    ):
        connect("postgresql://me:secret@127.0.0.1:1/x", timeout_s=2)


def test_a_full_disk_is_no_unreachable_server() -> None:
    """A backend that starts writes a file; the refusal has no SQLSTATE."""
    refusal = psycopg.OperationalError(
        'connection to server on socket "/h/.s.PGSQL.5" failed: FATAL:  could not write init file: '
        "No space left on device"
    )

    error = connection._connect_failure(refusal, "/h:5/ngb")

    assert type(error) is ServerFullError
    assert "PostgreSQL at /h:5/ngb has no room left: " in error.what


def test_what_the_driver_refuses_is_no_unreachable_server() -> None:
    """psycopg's own refusals have no SQLSTATE, and neither has a broken connection."""
    with pytest.raises(QueryError, match=r"cannot be sent: .* NUL"), translated("db"):
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    for lost in (psycopg.OperationalError, psycopg.InterfaceError):
        with pytest.raises(ServerUnreachableError, match="cannot talk"), translated("db"):
            raise lost("the connection is closed")


def test_the_hint_is_right_for_a_private_server_too() -> None:
    hint = failure_from(None, "why", "/home/run:5432/ngb").hint

    assert "an existing one is named by NGB_POSTGRES_DSN" in hint


@pytest.mark.parametrize("sqlstate", [None, "22P02", "53100"])
def test_a_long_text_is_cut(sqlstate: str | None) -> None:
    error = failure_from(sqlstate, "why" + "x" * 3_000_000, "db", detail="y" * 3_000_000)

    assert len(str(error)) < 5_000
    assert "(3000003 characters)" in error.what
