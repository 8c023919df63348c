"""Connections to PostgreSQL, and what its refusals mean in this package's own errors.

The address is part of every message; the password of none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from neural_gpu_bus.addresses import postgres_address, postgres_parts
from neural_gpu_bus.errors import (
    BadSettingError,
    NeuralGpuBusError,
    ProtocolError,
    QueryError,
    QueryTimeoutError,
    ServerAuthenticationError,
    ServerError,
    ServerFullError,
    ServerUnreachableError,
    ServerVersionError,
)

SERVER = "PostgreSQL"
APPLICATION_NAME = "neural_gpu_compute"

#: 14 is the oldest that is still maintained (until 2026-11) and has TID range scans.
SERVER_VERSION_MIN = 14

SET_UP = b"SET TimeZone = 'UTC'"
#: Takes back what a statement left in its session: role, settings, locks, temporary tables, last
#: values of sequences. DISCARD ALL does the same, and must be alone in its message: 35 us against
#: 11 (PostgreSQL 18, one core, 2026-11-22).
CLEAN_UP = b"; ".join(
    [
        b"SET SESSION AUTHORIZATION DEFAULT",
        # The line above leaves no role, this goes back to the connection's or the user's own.
        b"RESET ROLE",
        b"RESET ALL",
        SET_UP,
        b"SELECT pg_advisory_unlock_all()",
        b"DISCARD TEMP",
        b"DISCARD SEQUENCES",
    ]
)

#: A network or a machine that is gone without a word is noticed after a minute of silence, not
#: after the system's two hours (libpq's parameters, seconds). Not tcp_user_timeout: it also ends a
#: store whose server takes no more bytes while it waits for a lock.
_KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

#: psycopg rounds a shorter limit up to this (psycopg/conninfo.py, timeout_from_conninfo).
_CONNECT_TIMEOUT_S_MIN = 2

#: A failed connection attempt carries no SQLSTATE, only the server's English or translated text;
#: a translated one falls through to "cannot connect", with that text.
_AUTHENTICATION_TEXTS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "is not permitted to log in",
    "permission denied for database",
)
_DISK_FULL_TEXT = "no space left on device"
_DISK_FULL = "53100"
_REFUSED_PARAMETER_TEXT = "unsupported startup parameter"
#: Trying again does not help: what the address wants of TLS is not what stands there.
_TLS_TEXTS = (
    "server does not support ssl",
    "certificate verify failed",
    "root certificate file",
    "server certificate for",
    "could not load client certificate",
)

#: pgbouncer says all of its own by 08P01, which is PostgreSQL's word for bytes that it cannot read.
_PROTOCOL_VIOLATION = "08P01"
_POOLER_ONLY_TEXTS = ("query_wait_timeout", "server_login_retry", "no more connections allowed")
_POOLER_TEXTS = (
    *_POOLER_ONLY_TEXTS,
    "server conn crashed",
    "server login",
    "cannot connect",
    "timeout",
    "closing because",
    "is disabled",
)

_LOCK_NOT_AVAILABLE = "55P03"
_LOCK_WAY_OUT = (
    "another session holds a lock on the table: wait for its end, or see who it is with SELECT "
    "pid, query FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE granted AND relation = "
    "'the table'::regclass"
)

#: What is shown of a server's text; a refused value of megabytes is quoted whole.
TEXT_CHARACTERS_MAX = 2_000


def connect(dsn: str, *, timeout_s: float) -> psycopg.Connection:
    """A connection of our own kind: autocommit, UTC, UTF-8, nothing prepared behind the scenes.

    Raises BadSettingError, ServerUnreachableError, ServerAuthenticationError, ServerVersionError.
    """
    address = postgres_address(dsn)
    options = {"application_name": APPLICATION_NAME, "gssencmode": "disable", **_KEEPALIVES}
    options |= postgres_parts(dsn)
    options["client_encoding"] = "UTF8"
    options["connect_timeout"] = max(_CONNECT_TIMEOUT_S_MIN, math.ceil(timeout_s))
    try:
        connection = psycopg.connect(autocommit=True, prepare_threshold=None, **options)
    except psycopg.Error as error:
        raise _connect_failure(error, address) from None
    try:
        _check_version(connection.info.server_version, address)
        # Of transactions that we begin to write: with an older snapshot than the locks they wait
        # for, they would not see what was written meanwhile. Reads begin theirs themselves.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        with translated(address):
            connection.execute(SET_UP)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(version: int, address: str) -> None:
    major = version // 10_000
    if major < SERVER_VERSION_MIN:
        raise ServerVersionError(
            f"{SERVER} at {address} is version {major}, older than {SERVER_VERSION_MIN}",
            hint=f"use {SERVER} {SERVER_VERSION_MIN} or newer, or leave NGB_POSTGRES_DSN empty "
            "for a private one",
            server=SERVER,
            version=major,
            version_min=SERVER_VERSION_MIN,
        )


def _connect_failure(error: psycopg.Error, address: str) -> NeuralGpuBusError:
    text = " ".join(str(error).split())
    lowered = text.lower()
    if any(part in lowered for part in _AUTHENTICATION_TEXTS) or (
        'role "' in lowered and "does not exist" in lowered
    ):
        return _refused_user(text, address)
    if _DISK_FULL_TEXT in lowered:
        return failure_from(_DISK_FULL, text, address)
    if any(part in lowered for part in _POOLER_ONLY_TEXTS):
        return _unreachable(f"the pooler in front says: {text}", address)
    return _bad_address(text, lowered, address) or _unreachable(text, address)


def _bad_address(text: str, lowered: str, address: str) -> BadSettingError | None:
    """Where the address has to change; None where it may be right."""
    if 'database "' in lowered and "does not exist" in lowered:
        return BadSettingError(
            f"{SERVER} at {address} has no such database: {text}",
            hint="create it (createdb), or name another in NGB_POSTGRES_DSN",
            setting="postgres_dsn",
        )
    if any(part in lowered for part in _TLS_TEXTS):
        return BadSettingError(
            f"{SERVER} at {address} has not the TLS that was asked for: {text}",
            hint="check sslmode, sslrootcert and the host's name in NGB_POSTGRES_DSN, and ssl in "
            "the server's configuration",
            setting="postgres_dsn",
        )
    if _REFUSED_PARAMETER_TEXT in lowered:
        return BadSettingError(
            f"{SERVER} at {address} takes no such option: {text}",
            hint="a pooler stands in front: leave the option out of NGB_POSTGRES_DSN, or name it "
            "in pgbouncer's ignore_startup_parameters",
            setting="postgres_dsn",
        )
    return None


def _unreachable(text: str, address: str) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"cannot talk to {SERVER} at {address}: {text}",
        hint="see with `ngb status` which servers are used and whether they run; an existing one "
        "is named by NGB_POSTGRES_DSN",
        server=SERVER,
        address=address,
    )


@contextmanager
def translated(
    address: str, *, timeout_s: float | None = None, prefix_characters: int = 0
) -> Iterator[None]:
    """Turn psycopg's errors into ours; ``address`` as ``addresses`` shows it, positions counted
    behind ``prefix_characters`` of our own.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translation(
            error, address, timeout_s=timeout_s, prefix_characters=prefix_characters
        ) from error


def translation(
    error: psycopg.Error,
    address: str,
    *,
    timeout_s: float | None = None,
    prefix_characters: int = 0,
) -> NeuralGpuBusError:
    """Our error for one of psycopg's; arguments as ``translated``."""
    if error.sqlstate is None and not isinstance(error, _OF_THE_CONNECTION):
        return _unsent_statement(error)
    return failure_from(
        error.sqlstate,
        error.diag.message_primary or " ".join(str(error).split()),
        address,
        position=position_behind(prefix_characters, error.diag.statement_position),
        detail=error.diag.message_detail,
        hint=error.diag.message_hint,
        timeout_s=timeout_s,
    )


#: What psycopg raises, without a SQLSTATE, when the connection broke or is closed.
_OF_THE_CONNECTION = (psycopg.OperationalError, psycopg.InterfaceError)


def _unsent_statement(error: psycopg.Error) -> QueryError:
    """What psycopg itself refused: the server never saw it, and is there."""
    return QueryError(
        f"the statement cannot be sent: {_cut(' '.join(str(error).split()))}",
        hint="mend the statement or its parameters",
        sqlstate=None,
        position=None,
    )


def position_behind(prefix_characters: int, position: str | None) -> str | None:
    """The server's position, counted in the caller's statement alone; None outside of it."""
    counted = int(position or 0) - prefix_characters
    return str(counted) if counted > 0 else None


def failure_from(
    sqlstate: str | None,
    message: str,
    address: str,
    *,
    position: str | None = None,
    detail: str | None = None,
    hint: str | None = None,
    timeout_s: float | None = None,
) -> NeuralGpuBusError:
    """Our error for one refusal of the server; no SQLSTATE means that the connection broke.

    ``position``: character in the statement, 1 = first, as the server counts.
    """
    message, detail = _cut(message), _cut(detail or "")
    if sqlstate is None:
        return _unreachable(message, address)
    text = f"{message} ({detail})" if detail else message
    if sqlstate == _PROTOCOL_VIOLATION and any(part in message for part in _POOLER_TEXTS):
        return _unreachable(f"the pooler in front says: {message}", address)
    meaning = next((kind for prefix, kind in _MEANINGS if sqlstate.startswith(prefix)), None)
    if meaning is None:
        return _refused_statement(text, sqlstate, position, hint)
    if meaning is ServerUnreachableError:
        return _unreachable(text, address)
    if meaning is ServerAuthenticationError:
        return _refused_user(text, address)
    sentence, way_out = _SENTENCES[meaning]
    if sqlstate == _LOCK_NOT_AVAILABLE:
        way_out, text = _LOCK_WAY_OUT, text + _at(position)
    limit = f" after {timeout_s:g} s" if meaning is QueryTimeoutError and timeout_s else ""
    return meaning(
        f"{SERVER} at {address} {sentence}{limit}: {text}",
        hint=way_out,
        server=SERVER,
        sqlstate=sqlstate,
        position=None,
        timeout_s=timeout_s,
    )


def _cut(text: str) -> str:
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return f"{text[:TEXT_CHARACTERS_MAX]} ... ({len(text)} characters)"


def _refused_user(text: str, address: str) -> ServerAuthenticationError:
    return ServerAuthenticationError(
        f"{SERVER} at {address} refused the user or the password: {text}",
        hint="check user and password of NGB_POSTGRES_DSN",
        server=SERVER,
        address=address,
    )


def _at(position: str | None) -> str:
    return f" (at character {position} of the statement)" if position else ""


def _refused_statement(
    text: str, sqlstate: str, position: str | None, hint: str | None
) -> QueryError:
    where = _at(position)
    return QueryError(
        f"{SERVER} refused the statement: {text}{where}",
        hint=_cut(hint or _HINTS.get(sqlstate, "mend the statement")),
        sqlstate=sqlstate,
        position=int(position) if position else None,
    )


#: Ways out where the server gives none of its own.
_HINTS = {
    "42P01": "check the table's name and schema; a name with capitals needs double quotes",
    "42703": "check the column's name; a name with capitals needs double quotes",
    "42P02": "write %(name)s in the statement and give params={'name': value}",
    "42501": "ask the table's owner for the right (GRANT ...), or use another user",
    "25006": "the server takes no writes now (a standby, or default_transaction_read_only): "
    "use the primary",
    "22021": "mend the statement's text; where it is the table's (a database in SQL_ASCII), read "
    "its bytes with convert_to(column, 'SQL_ASCII')",
    "22P05": "the database's encoding has no such character: leave it out, or use a database in "
    "UTF8",
    "40001": "another transaction came in between: run it again",
    "40P01": "two transactions waited for each other: run it again",
    "23505": "the key is there already: use mode='upsert', or remove the row first",
}

#: SQLSTATE prefix to what it means here, the first match wins (PostgreSQL manual, appendix A).
#: What matches nothing is the statement's own fault.
_MEANINGS: tuple[tuple[str, type[NeuralGpuBusError]], ...] = (
    ("53300", ServerUnreachableError),
    ("53", ServerFullError),
    ("57014", QueryTimeoutError),
    ("55P03", QueryTimeoutError),
    ("25P04", QueryTimeoutError),
    ("25P03", ServerUnreachableError),
    ("57P", ServerUnreachableError),
    ("08P01", ProtocolError),
    ("22P03", ProtocolError),
    ("22P04", ProtocolError),
    ("08", ServerUnreachableError),
    ("28", ServerAuthenticationError),
    ("58", ServerError),
    ("XX", ServerError),
)

#: What happened, and what to do about it.
_SENTENCES: dict[type[NeuralGpuBusError], tuple[str, str]] = {
    ServerFullError: (
        "has no room left",
        "free space on the server's disk (or raise the limit that the message names), then run "
        "it again; nothing was stored",
    ),
    QueryTimeoutError: (
        "stopped the statement",
        "narrow the statement, add an index, or give it a longer timeout_s",
    ),
    ProtocolError: (
        "could not read what was sent",
        "this is a bug of neural-gpu-bus: please report the statement and the table",
    ),
    ServerError: ("failed", "see the server's log"),
}
