"""The private PostgreSQL: its cluster, its configuration, and when it is ready."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from neural_gpu_bus.embedded.account import current_account
from neural_gpu_bus.embedded.failures import start_failure
from neural_gpu_bus.embedded.home import Home, own_folder, write_private
from neural_gpu_bus.embedded.logs import last_lines
from neural_gpu_bus.embedded.loopback import LOOPBACK
from neural_gpu_bus.embedded.processes import spawn, stop
from neural_gpu_bus.embedded.programs import POSTGRES_MAJOR
from neural_gpu_bus.embedded.records import ServerName
from neural_gpu_bus.embedded.sizes import MIB, POSTGRES_CONNECTIONS_MAX, Sizes
from neural_gpu_bus.errors import ServerVersionError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

USER = DATABASE = "ngb"
#: Beginning of the name that a cluster has until it is whole.
DRAFT = "postgres.draft"

#: postmaster.pid says "ready" in its eighth line when connections are taken (as pg_ctl reads it).
_STATUS_LINE = 7
_POLL_S = 0.01


class Postgres:
    """PostgreSQL of one home. Nothing is started here: the keeper runs ``command``."""

    name: ServerName = "postgres"
    #: Fast shutdown: sessions are ended, a checkpoint is written.
    stop_signal = signal.SIGINT
    standard_input = None

    def __init__(self, home: Home, program: Path, sizes: Sizes, password: str) -> None:
        self._home = home
        self._program = program
        self._sizes = sizes
        self._password = password
        self._data = home.data(self.name)

    async def prepare(self, on_spawn: Callable[[asyncio.subprocess.Process], None]) -> None:
        """Make the cluster when there is none. Raises ServerVersionError for one of another major
        version.
        """
        if (self._data / "PG_VERSION").exists():
            self._check_version()
            return
        for left in self._data.parent.glob(f"{DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        # Each keeper's own: the initdb of one that was killed may still be removing its draft.
        draft = self._data.with_name(f"{DRAFT}.{os.getpid()}")
        password_file = self._home.configuration / "postgres.password"
        write_private(password_file, self._password.encode(), self._home.account)
        try:
            await self._initialise(draft, password_file, on_spawn)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        finally:
            password_file.unlink(missing_ok=True)
        # By renaming: a cluster under its own name is whole, whatever was interrupted.
        draft.rename(self._data)

    def command(self, port: int) -> list[str | Path]:
        """Write the configuration and return the command line."""
        folder, account = self._home.configuration, self._home.account
        files = {
            "postgresql.conf": configuration(self._sizes, port, self._data, self._home),
            "pg_hba.conf": HOST_ACCESS,
            "pg_ident.conf": user_map({current_account().name, "root"}),
        }
        for name, text in files.items():
            write_private(folder / name, text.encode(), account)
        return [
            self._program / "bin" / "postgres",
            f"--config-file={folder / 'postgresql.conf'}",
        ]

    async def wait_ready(self, port: int, pid: int) -> str:
        """Wait until it takes connections; make the database; return the version."""
        while not self._says_ready(pid):
            await asyncio.sleep(_POLL_S)
        # Imported while the server starts: it takes 0.2 s.
        import psycopg

        async with await psycopg.AsyncConnection.connect(
            host=str(self._home.sockets),
            port=port,
            user=USER,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            found = await connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            )
            if await found.fetchone() is None:
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
            await self._set_password(connection)
            number = connection.info.server_version
        return f"{number // 10_000}.{number % 10_000}"

    def address(self, port: int) -> str:
        """By unix socket; the server knows its user by the kernel's word, so no password."""
        folder = quote(str(self._home.sockets), safe="")
        return f"postgresql://{USER}@/{DATABASE}?host={folder}&port={port}"

    def loopback(self, port: int) -> str:
        """By TCP, with the password."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{port}/{DATABASE}"

    async def data_bytes(self) -> int:
        """Size of the cluster on disk."""
        return await asyncio.to_thread(folder_bytes, self._data)

    def _check_version(self) -> None:
        version = (self._data / "PG_VERSION").read_text().strip()
        if version != str(POSTGRES_MAJOR):
            raise ServerVersionError(
                f"{str(self._data)!r} holds data of PostgreSQL {version}, and this is "
                f"PostgreSQL {POSTGRES_MAJOR}",
                hint="dump it with that version's pg_dump and load it into a new home (NGB_HOME)",
                server=self.name,
                version=version,
                version_min=str(POSTGRES_MAJOR),
            )

    async def _initialise(
        self,
        draft: Path,
        password_file: Path,
        on_spawn: Callable[[asyncio.subprocess.Process], None],
    ) -> None:
        account = self._home.account
        own_folder(draft, 0o700, account)
        log_file = self._home.log_file("initdb")
        log_file.unlink(missing_ok=True)
        process = await spawn(
            initialise_command(self._program, draft, password_file),
            death_signal=signal.SIGTERM,
            log_file=log_file,
            account=account,
        )
        on_spawn(process)
        try:
            status = await process.wait()
        finally:
            await stop(process, signal.SIGTERM)
        if status != 0:
            raise start_failure(self.name, last_lines(log_file), log_file)

    async def _set_password(self, connection: AsyncConnection) -> None:
        """Set it anew at each start: the file of the passwords may have been made anew. Without
        waiting for the disk, and as a hash, so that no log can show it.
        """
        hashed = connection.pgconn.encrypt_password(
            self._password.encode(), USER.encode(), b"scram-sha-256"
        ).decode()
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(f"ALTER ROLE \"{USER}\" PASSWORD '{hashed}'")

    def _says_ready(self, pid: int) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # A killed server leaves its file behind, so the process id has to be this one's.
        ours = bool(lines) and lines[0].strip() == str(pid)
        return ours and len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"


def initialise_command(program: Path, data: Path, password_file: Path) -> list[str | Path]:
    """initdb's command line.

    The builtin locale C.UTF-8 needs no locale of the host, sorts by code point (the fastest), and
    is the same on Linux and macOS. Checksums: a torn page is an error, never a wrong number.
    """
    return [
        program / "bin" / "initdb",
        f"--pgdata={data}",
        f"--username={USER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        # A killed or failed initdb would leave its shared memory in /dev/shm for good.
        "--set=dynamic_shared_memory_type=mmap",
    ]


def configuration(sizes: Sizes, port: int, data: Path, home: Home) -> str:
    """postgresql.conf, whole; ALTER SYSTEM still wins over it. Reasons for sizes: ``Sizes``."""
    settings = {
        "data_directory": data,
        "hba_file": home.configuration / "pg_hba.conf",
        "ident_file": home.configuration / "pg_ident.conf",
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": f'"{home.sockets}"',
        "unix_socket_permissions": "0700",
        "max_connections": POSTGRES_CONNECTIONS_MAX,
        "shared_buffers": _mebibytes(sizes.shared_buffers_bytes),
        "work_mem": _mebibytes(sizes.work_mem_bytes),
        "maintenance_work_mem": _mebibytes(sizes.maintenance_work_mem_bytes),
        # /dev/shm is for columns, and 64 MB small in a container: parallel queries use files.
        "dynamic_shared_memory_type": "mmap",
        "wal_level": "logical",
        "max_wal_size": _mebibytes(sizes.max_wal_size_bytes),
        # A live table's slot whose reader is gone must not fill the disk.
        "max_slot_wal_keep_size": _mebibytes(4 * sizes.max_wal_size_bytes),
        "max_wal_senders": 16,
        "max_replication_slots": 16,
        "password_encryption": "scram-sha-256",
        "log_line_prefix": "%m [%p] ",
        "cluster_name": "neural-gpu-bus",
    }
    lines = [f"{name} = {_quoted(str(value))}" for name, value in settings.items()]
    return "\n".join(["# Written at every start; use ALTER SYSTEM for changes.", *lines, ""])


#: The socket's folder admits one user, and the kernel says that it is that one (peer).
HOST_ACCESS = f"""\
local all all peer map=ngb
local replication all peer map=ngb
host all all {LOOPBACK}/32 scram-sha-256
host replication all {LOOPBACK}/32 scram-sha-256
"""


def user_map(names: set[str]) -> str:
    """pg_ident.conf: these users of the host are the database's one user."""
    return "".join(f'ngb "{name}" {USER}\n' for name in sorted(names))


def folder_bytes(folder: Path) -> int:
    """Bytes in all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    # Not Path.rglob, which fails when a folder vanishes; os.walk leaves it out.
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
            except FileNotFoundError:
                continue
    return total


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes // MIB}MB"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
