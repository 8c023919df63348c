"""What was stored before: two small tables in schema ``ngb_ledger``, written in the store's own
transaction, so that a repeated job or file is told from a new one.

``ngb_ledger.stored_jobs`` has one row for each table that a job stored to, and forgets jobs after
``JOBS_KEPT_DAYS``: no queue hands one out so late.
The schema is not called ``ngb``: that is a likely user, and a user's own schema comes first in his
search path.
``ngb_ledger.loaded_files`` has one row for each file of a table and goes with the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from neural_gpu_bus.errors import QueryError

#: Answers live a week at most (settings.job_answer_ttl_s); a month leaves room for the rest.
JOBS_KEPT_DAYS = 30

#: Any constant that no other program uses for its advisory locks: "ngb" in ASCII.
_LOCK = 0x6E6762

_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS ngb_ledger",
    """CREATE TABLE IF NOT EXISTS ngb_ledger.stored_jobs (
        job_id text, table_name text, rows bigint NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT now(), content text,
        PRIMARY KEY (job_id, table_name))""",
    """CREATE TABLE IF NOT EXISTS ngb_ledger.loaded_files (
        table_oid oid, sha256 text, table_name text NOT NULL, rows bigint NOT NULL,
        loaded_at timestamptz NOT NULL DEFAULT now(), table_state text,
        PRIMARY KEY (table_oid, sha256))""",
)

#: The key of ``stored_jobs`` was ``job_id`` alone, and it had no ``content``; ``loaded_files`` had
#: no ``table_state``.
_ARE_AS_WANTED = """
SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = to_regclass('ngb_ledger.stored_jobs')
               AND indisprimary AND indnkeyatts = 2)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('ngb_ledger.loaded_files')
               AND attname = 'table_state')
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('ngb_ledger.stored_jobs')
               AND attname = 'content')
"""

_RENEW = (
    "ALTER TABLE ngb_ledger.stored_jobs DROP CONSTRAINT stored_jobs_pkey, "
    "ADD PRIMARY KEY (job_id, table_name)",
    "ALTER TABLE ngb_ledger.stored_jobs ADD COLUMN IF NOT EXISTS content text",
    "ALTER TABLE ngb_ledger.loaded_files ADD COLUMN IF NOT EXISTS table_state text",
)


def ensure_ledgers(connection: psycopg.Connection) -> None:
    """Make both tables where they are missing, and bring older ones to this form. Safe when several
    sessions do it at once: IF NOT EXISTS alone is not, two of them collide in the catalog.
    """
    if _are_as_wanted(connection):
        return
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            for statement in _CREATE:
                connection.execute(statement)
            if not _are_as_wanted(connection):
                for statement in _RENEW:
                    connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise QueryError(
            f"the ledgers of schema ngb_ledger cannot be made: {error.diag.message_primary}",
            hint="let an administrator run: CREATE SCHEMA ngb_ledger AUTHORIZATION your_user, or "
            "make your_user the owner of the tables that are in it",
            sqlstate=error.sqlstate,
        ) from None


def _are_as_wanted(connection: psycopg.Connection) -> bool:
    return connection.execute(_ARE_AS_WANTED).fetchone() == (True,)


def forget_old(connection: psycopg.Connection) -> None:
    """Bound both ledgers: jobs by age, files by the tables that are still there."""
    connection.execute(
        "DELETE FROM ngb_ledger.stored_jobs WHERE stored_at < now() - make_interval(days => %s)",
        (JOBS_KEPT_DAYS,),
    )
    connection.execute(
        "DELETE FROM ngb_ledger.loaded_files f "
        "WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = f.table_oid)"
    )


#: The claim of a job's id, for %s of its id, its table and its rows.
CLAIM_JOB = "INSERT INTO ngb_ledger.stored_jobs (job_id, table_name, rows) VALUES (%s, %s, %s)"


def claim_job(connection: psycopg.Connection, job_id: str, table: str, rows: int) -> bool:
    """True when this transaction is the first to store that job to that table; waits for one that
    is at it. Rows below zero: it is stored in that many ranges, and not all of them are there.
    """
    cursor = connection.execute(f"{CLAIM_JOB} ON CONFLICT DO NOTHING", (job_id, table, rows))
    return cursor.rowcount == 1


def claimed_rows(connection: psycopg.Connection, job_id: str, table: str) -> int:
    """Rows of a job that was claimed, below zero as ``claim_job`` says; 0 for one unknown."""
    found = connection.execute(
        "SELECT rows FROM ngb_ledger.stored_jobs WHERE job_id = %s AND table_name = %s",
        (job_id, table),
    ).fetchone()
    return found[0] if found else 0


def claimed_jobs(
    connection: psycopg.Connection, job_ids: Sequence[str], table: str
) -> dict[str, tuple[int, str | None]]:
    """Rows of those of the jobs that were claimed, and what was noted of their content."""
    found = connection.execute(
        "SELECT job_id, rows, content FROM ngb_ledger.stored_jobs "
        "WHERE job_id = ANY(%s) AND table_name = %s",
        (list(job_ids), table),
    )
    return {job_id: (rows, content) for job_id, rows, content in found}


def note_contents(connection: psycopg.Connection, contents: Mapping[str, str], table: str) -> None:
    """What those jobs stored, as a digest of the caller's."""
    connection.execute(
        "UPDATE ngb_ledger.stored_jobs s SET content = g.content "
        "FROM unnest(%s::text[], %s::text[]) AS g (job_id, content) "
        "WHERE s.job_id = g.job_id AND s.table_name = %s AND s.content IS NULL",
        (list(contents), list(contents.values()), table),
    )


def note_job_rows(connection: psycopg.Connection, job_id: str, table: str, rows: int) -> None:
    """How many rows the claimed job stored."""
    connection.execute(
        "UPDATE ngb_ledger.stored_jobs SET rows = %s WHERE job_id = %s AND table_name = %s",
        (rows, job_id, table),
    )


def claim_file(connection: psycopg.Connection, table_oid: int, table: str, sha256: str) -> bool:
    """True when this transaction is the first to load these bytes into that table."""
    cursor = connection.execute(
        "INSERT INTO ngb_ledger.loaded_files (table_oid, sha256, table_name, rows) "
        "VALUES (%s, %s, %s, 0) ON CONFLICT DO NOTHING",
        (table_oid, sha256, table),
    )
    return cursor.rowcount == 1


def note_file_rows(connection: psycopg.Connection, table_oid: int, sha256: str, rows: int) -> None:
    """How many rows the claimed file had."""
    connection.execute(
        "UPDATE ngb_ledger.loaded_files SET rows = %s WHERE table_oid = %s AND sha256 = %s",
        (rows, table_oid, sha256),
    )


def note_table_state(
    connection: psycopg.Connection, table_oid: int, sha256: str, state: str | None
) -> None:
    """The table (see ``table_state``) as it was when it held every row of the file."""
    connection.execute(
        "UPDATE ngb_ledger.loaded_files SET table_state = %s WHERE table_oid = %s AND sha256 = %s",
        (state, table_oid, sha256),
    )


def loaded_file(
    connection: psycopg.Connection, table_oid: int, sha256: str
) -> tuple[int, str | None] | None:
    """Rows of a file that was loaded into the table, and the table's state noted for it."""
    return connection.execute(
        "SELECT rows, table_state FROM ngb_ledger.loaded_files "
        "WHERE table_oid = %s AND sha256 = %s",
        (table_oid, sha256),
    ).fetchone()


def loaded_rows(connection: psycopg.Connection, table_oid: int) -> int:
    """Rows of all files that were loaded into the table."""
    query = "SELECT coalesce(sum(rows), 0)::int8 FROM ngb_ledger.loaded_files WHERE table_oid = %s"
    (count,) = connection.execute(query, (table_oid,)).fetchall()[0]
    return int(count)


def forget_files(connection: psycopg.Connection, table_oid: int) -> None:
    """The table's rows went; what was loaded into it may be loaded again."""
    if connection.execute("SELECT to_regclass('ngb_ledger.loaded_files')").fetchone() == (None,):
        return
    connection.execute("DELETE FROM ngb_ledger.loaded_files WHERE table_oid = %s", (table_oid,))
