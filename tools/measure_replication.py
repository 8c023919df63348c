"""Measure a logical replication stream of 1,000,000 inserts and as many updates of a table with 6
columns: what the server sends alone (pg_recvlogical to /dev/null, or a loop that drops what comes),
psycopg's get_copy_data, our session without and with decoding to Arrow. All read the same log, in
turns.

Usage: python tools/measure_replication.py 'postgresql://...' [pg_recvlogical] [rows]
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from neural_gpu_bus.embedded.programs import installed_programs
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.replication.replication_commands import start_command
from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges
from neural_gpu_bus.stores.postgres.replication.tuple_rows import key_hashes, rows_of
from neural_gpu_bus.stores.postgres.replication.wal_positions import lsn_of, lsn_text

NAME = "ngb_measure_replication"
TURNS = 3
TRANSACTIONS = 20
MAKE = f"""
CREATE TABLE {NAME} (id int8 PRIMARY KEY, instrument text, ts timestamptz, price float8,
  size float8, side int4);
CREATE PUBLICATION {NAME} FOR TABLE {NAME};
"""
INSERT = f"""
INSERT INTO {NAME} SELECT g, 'I' || g %% 100, timestamptz '2026-01-01' + g * interval '1 ms',
  random(), g %% 1000, g %% 2 FROM generate_series(%s::int8, %s::int8) g
"""
UPDATE = f"UPDATE {NAME} SET price = random(), size = size + 1 WHERE id BETWEEN %s AND %s"


class Taken(NamedTuple):
    """One reading of the log."""

    elapsed_s: float
    cpu_s: float
    rows: int
    #: Of the server's process that sends; 0 where it cannot be seen.
    sender_cpu_s: float = 0


Reading = Callable[[str, str, int], Taken]


def main(dsn: str, program: Path | None, rows: int) -> None:
    """Write both kinds of changes, and measure each."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(MAKE.encode())
        try:
            for kind, statement in (("inserts", INSERT), ("updates", UPDATE)):
                _make_slot(connection, NAME)
                each = rows // TRANSACTIONS
                for number in range(TRANSACTIONS):
                    places = (number * each + 1, (number + 1) * each)
                    connection.execute(statement.encode(), places)
                end_lsn = _log_end(connection)
                print(f"{rows:,} {kind} in {TRANSACTIONS} transactions, best of {TURNS}")
                _measure(connection, dsn, program, rows, end_lsn)
                _drop_slot(connection, NAME)
        finally:
            connection.execute(f"DROP PUBLICATION {NAME}; DROP TABLE {NAME}".encode())
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE slot_name LIKE %s",
                (f"{NAME}%",),
            )


def _make_slot(connection: psycopg.Connection, name: str) -> None:
    connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))


def _drop_slot(connection: psycopg.Connection, name: str) -> None:
    """Once its session has gone, which takes a moment."""
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    while connection.execute(active.encode(), (name,)).fetchone() == (True,):
        time.sleep(0.01)
    connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def _log_end(connection: psycopg.Connection) -> int:
    """A position behind all that was written, with a record after it that is sent."""
    row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    connection.execute("SELECT pg_logical_emit_message(true, 'measured', '')")
    return lsn_of(row[0])


def _measure(
    connection: psycopg.Connection, dsn: str, program: Path | None, rows: int, end_lsn: int
) -> None:
    ways: dict[str, Reading] = {
        "the server alone, what comes is dropped": _dropped,
        "psycopg get_copy_data, nothing done": _by_psycopg,
        "ours, transactions": partial(_ours, decode=False),
        "ours, decoded to Arrow and hashed": partial(_ours, decode=True),
    }
    if program is not None:
        ways = {"pg_recvlogical to /dev/null": partial(_by_program, program), **ways}
    best: dict[str, Taken] = {}
    for _ in range(TURNS):
        for way, reading in ways.items():
            slot = f"{NAME}_copy"
            connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (NAME, slot))
            taken = reading(dsn, slot, end_lsn)
            _drop_slot(connection, slot)
            best[way] = min(best.get(way, taken), taken)
    first = next(iter(best.values()))
    for way, taken in best.items():
        share = first.elapsed_s / taken.elapsed_s
        sender = f", the server's {taken.sender_cpu_s / rows * 1e6:5.2f}"
        count = f", {taken.rows:,} rows seen" if taken.rows else ""
        print(
            f"  {way:42} {rows / taken.elapsed_s:10,.0f} rows/s ({share:6.1%} of the first), "
            f"own CPU {taken.cpu_s / rows * 1e6:5.2f} us/row"
            f"{sender if taken.sender_cpu_s else ''}{count}"
        )


def _timed(work: Callable[[], int], who: int = resource.RUSAGE_SELF) -> Taken:
    before, started_s = resource.getrusage(who), time.perf_counter()
    rows = work()
    elapsed_s, after = time.perf_counter() - started_s, resource.getrusage(who)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Taken(elapsed_s, cpu_s, rows)


def _with_sender(taken: Taken, pid: int) -> Taken:
    """With the CPU of the server's process, which still is there, where it runs on this host."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return taken
    ticks = int(fields[11]) + int(fields[12])
    return taken._replace(sender_cpu_s=ticks / os.sysconf("SC_CLK_TCK"))


def _by_program(program: Path, dsn: str, slot: str, end_lsn: int) -> Taken:
    command: list[str | Path] = [program, "-d", dsn, "--slot", slot, "--start", "-f", "/dev/null"]
    command += ["--endpos", lsn_text(end_lsn), "--no-loop", "-o", "proto_version=1"]
    command += ["-o", f'publication_names="{NAME}"', "-o", "binary=true", "-o", "messages=true"]

    def run() -> int:
        subprocess.run(command, check=True)
        return 0

    return _timed(run, resource.RUSAGE_CHILDREN)


def _started(dsn: str, slot: str) -> psycopg.Connection:
    connection = psycopg.connect(make_conninfo(dsn, replication="database"), autocommit=True)
    connection.pgconn.send_query(start_command(slot, 0, [NAME]).encode())
    while connection.pgconn.is_busy():
        connection.pgconn.consume_input()
    connection.pgconn.get_result()
    return connection


def _by_psycopg(dsn: str, slot: str, end_lsn: int) -> Taken:
    """Look at each message's position and first letter; nothing else."""
    with closing(_started(dsn, slot)) as connection:
        pgconn = connection.pgconn

        def run() -> int:
            rows = 0
            while True:
                size, message = pgconn.get_copy_data(0)
                if size > 25 and message[25] in b"IUD":
                    rows += 1
                elif size > 8 and int.from_bytes(message[1:9]) >= end_lsn:
                    return rows

        return _with_sender(_timed(run), connection.info.backend_pid)


def _dropped(dsn: str, slot: str, end_lsn: int) -> Taken:
    """Receive into one place again and again; a mark in the log's last message ends it."""
    import socket

    with closing(_started(dsn, slot)) as connection:
        plain = socket.socket(fileno=connection.pgconn.socket)
        plain.setblocking(True)
        place = bytearray(1 << 20)
        mark = b"measured\x00"

        def run() -> int:
            tail = b""
            while True:
                count = plain.recv_into(place)
                if mark in tail + place[max(0, count - 200) : count]:
                    return 0
                tail = bytes(place[max(0, count - 100) : count])

        try:
            return _with_sender(_timed(run), connection.info.backend_pid)
        finally:
            plain.detach()
            del end_lsn


def _ours(dsn: str, slot: str, end_lsn: int, *, decode: bool) -> Taken:
    with StreamSession.connect(dsn, timeout_s=10) as session:
        session.start(slot, 0, [NAME])

        def run() -> int:
            rows = 0
            while True:
                batch = session.receive(10)
                assert batch is not None
                for transaction in batch.transactions:
                    for step in transaction.steps:
                        if isinstance(step, RowChanges):
                            rows += len(step)
                            if decode:
                                _decode(step)
                if batch.end_lsn >= end_lsn:
                    return rows

        return _with_sender(_timed(run), session.process_id)


def _decode(changes: RowChanges) -> None:
    columns = [
        source_column(column.name, column.type_oid, column.modifier)
        for column in changes.relation.columns
    ]
    every = np.arange(len(changes))
    rows_of(changes, "new", every, columns, range(len(columns)))
    key_hashes(changes, "new", every, [0])


def _program(given: str | None) -> Path | None:
    """pg_recvlogical: as given, beside the private PostgreSQL's, or where PATH says."""
    beside = installed_programs().postgres / "bin" / "pg_recvlogical"
    if given:
        return Path(given)
    found = shutil.which("pg_recvlogical")
    return beside if beside.exists() else Path(found) if found else None


if __name__ == "__main__":
    arguments = [*sys.argv[1:], "", ""]
    main(arguments[0], _program(arguments[1]), int(arguments[2] or 1_000_000))
