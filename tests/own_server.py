"""A PostgreSQL cluster of a test's own: stopped, killed, promoted and changed at will."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.pq import ExecStatus

from fix_servers import DEBIAN_POSTGRES, READY_S_MAX, short_folder, unused_port, wait_until
from neural_gpu_bus.embedded.account import may_read, server_account
from neural_gpu_bus.embedded.programs import installed_programs

USER, PASSWORD = "somebody", "a password / with @ marks"

#: What a test server needs least of: durability and memory. ``-N`` and ``fsync`` are for speed; a
#: killed process loses nothing without them, only a killed machine does.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "30",
    "dynamic_shared_memory_type": "mmap",
    "password_encryption": "scram-sha-256",
    "wal_level": "replica",
}
_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}


def private_programs() -> Path:
    """Those of the private PostgreSQL, where the servers' account can run them, else Debian's."""
    private = installed_programs().postgres / "bin"
    return private if may_read(private / "postgres", server_account()) else debian_programs()


def debian_programs() -> Path:
    """Programs of the newest PostgreSQL that Debian installed; skips where there is none."""
    found = sorted(Path("/").glob(DEBIAN_POSTGRES.lstrip("/")))
    if not found:
        pytest.skip(f"no PostgreSQL in {DEBIAN_POSTGRES}")
    return found[-1]


def as_account() -> dict[str, Any]:
    """For ``subprocess``: our own id is given up, PostgreSQL and pgbouncer refuse root."""
    account = server_account()
    given = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return given if os.geteuid() == 0 else {}


def given_folder(path: Path) -> Path:
    """A folder of that name, the servers' account's own."""
    path.mkdir(mode=0o700)
    os.chown(path, server_account().uid, server_account().gid)
    return path


class OwnServer:
    """One cluster in ``folder``; not running until ``start``."""

    def __init__(self, folder: Path, programs: Path, settings: Mapping[str, str]) -> None:
        self.data = folder / "data"
        self.programs = programs
        self.port = unused_port()
        #: What vouches for it over TLS.
        self.certificate: Path | None = None
        self._folder = folder
        self._settings = {**SETTINGS, **settings, "unix_socket_directories": str(folder / "run")}
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self, encoding: str = "UTF8") -> None:
        """Make the cluster."""
        self._make_folders()
        password_file = self._folder / "password"
        password_file.write_text(PASSWORD)
        command = [self.programs / "initdb", "-N", "-A", "scram-sha-256", "-U", USER]
        command += ["-D", self.data, f"--pwfile={password_file}", "-E", encoding, "--locale=C"]
        command += ["--set=dynamic_shared_memory_type=mmap"] if "18" in str(command[0]) else []
        subprocess.run(command, check=True, **as_account(), **_QUIET)
        with (self.data / "pg_hba.conf").open("a") as access:
            access.write("host replication all 127.0.0.1/32 scram-sha-256\n")

    def copy_of(self, primary: OwnServer) -> None:
        """Become a streaming standby of a running server."""
        self._make_folders()
        command = [self.programs / "pg_basebackup", "-D", self.data, "-R", "-N", "-c", "fast"]
        subprocess.run([*command, "-d", primary.dsn()], check=True, **as_account(), **_QUIET)

    def _make_folders(self) -> None:
        for made in (self.data, self._folder / "run"):
            given_folder(made)

    def dsn(self, database: str = "postgres", *, port: int | None = None, user: str = USER) -> str:
        """By TCP, with the password; ``port``: of something that stands in front."""
        return (
            f"postgresql://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{port or self.port}/"
            f"{database}?gssencmode=disable"
        )

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start it; ``settings`` for this run alone."""
        given = {**self._settings, **settings, "port": str(self.port)}
        command: list[str | Path] = [self.programs / "postgres", "-D", self.data]
        for name, value in given.items():
            command += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(command, **as_account(), **_QUIET)
        if wait:
            wait_until(self.is_ready, "PostgreSQL's start")

    def is_ready(self) -> bool:
        """Whether it takes connections now, as pg_ctl reads it."""
        with suppress(FileNotFoundError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            ours = self._process is not None and lines[0].strip() == str(self._process.pid)
            return ours and lines[7].strip() in ("ready", "standby")
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast; SIGQUIT: immediate, as a crash; SIGTERM: polite, waits for clients."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(READY_S_MAX)
            self._process = None

    def signal(self, how: signal.Signals) -> None:
        """Begin to stop, and do not wait."""
        assert self._process is not None
        self._process.send_signal(how)

    def is_there(self) -> bool:
        """Whether its process has not ended yet."""
        return self._process is not None and self._process.poll() is None

    def promote(self) -> None:
        """A standby becomes the primary."""
        command = [self.programs / "pg_ctl", "promote", "-D", self.data, "-w"]
        subprocess.run(command, check=True, **as_account(), **_QUIET)

    def run(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        """One statement by a connection of its own."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            found = connection.execute(statement.encode(), params or None)
            # Not by its description: a SELECT without columns has none, and rows.
            has_rows = found.pgresult is not None and found.pgresult.status == ExecStatus.TUPLES_OK
            return found.fetchall() if has_rows else []

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody else reads or writes that table meanwhile."""
        holder = psycopg.connect(self.dsn())
        try:
            holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            yield
        finally:
            holder.close()

    def sessions(self) -> list[tuple[Any, ...]]:
        """Sessions of this package: state and statement of each."""
        return self.run(
            "SELECT state, query FROM pg_stat_activity "
            "WHERE application_name = 'neural_gpu_compute' AND pid <> pg_backend_pid()"
        )


@contextmanager
def own_server(
    programs: Path | None = None, *, encoding: str = "UTF8", **settings: str
) -> Iterator[OwnServer]:
    """A running server; gone afterwards."""
    with short_folder() as folder:
        server = OwnServer(folder, programs or private_programs(), settings)
        server.initialise(encoding)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)


@contextmanager
def standby_of(primary: OwnServer, **settings: str) -> Iterator[OwnServer]:
    """A running standby that streams from it."""
    with short_folder() as folder:
        server = OwnServer(folder, primary.programs, settings)
        server.copy_of(primary)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
