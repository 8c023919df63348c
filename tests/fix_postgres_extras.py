"""Servers that tests stop, kill and change; TLS, a pooler, a slow network in front of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest

from cutting_proxy import CuttingProxy, cutting_proxy
from fix_servers import READY_S_MAX, short_folder, unused_port, wait_until
from neural_gpu_bus.embedded.account import server_account
from neural_gpu_bus.memory import UnifiedMemory
from own_server import (
    PASSWORD,
    USER,
    OwnServer,
    as_account,
    debian_programs,
    given_folder,
    own_server,
)
from watched_store import WatchedStore, watched_store

PoolMode = Literal["session", "transaction"]

#: Rows enough for several receives and a parallel read; a sum over all of them is exact in int8.
BARS = "SELECT g AS i, g * 0.5::float8 AS price, 'bar ' || g AS t FROM generate_series(1, 60000) g"
BARS_ROWS, BARS_SUM = 60_000, 60_000 * 60_001 // 2


@pytest.fixture(scope="session")
def _failing_server() -> Iterator[OwnServer]:
    with own_server() as server:
        server.run(f"CREATE TABLE bars AS {BARS}")
        server.run("VACUUM ANALYZE bars")
        yield server


@pytest.fixture
def failing_server(_failing_server: OwnServer) -> OwnServer:
    """Runs when the test begins, whatever the one before did; has a table ``bars``."""
    if not _failing_server.is_ready():
        _failing_server.stop(signal.SIGQUIT)
        _failing_server.start()
    return _failing_server


@pytest.fixture
def proxy(failing_server: OwnServer) -> Iterator[CuttingProxy]:
    """In front of ``failing_server``."""
    with cutting_proxy(failing_server.port) as opened:
        yield opened


@pytest.fixture
def watched(failing_server: OwnServer, memory: UnifiedMemory) -> Iterator[WatchedStore]:
    """A store on ``failing_server``."""
    with watched_store(failing_server.dsn(), memory) as opened:
        yield opened


@pytest.fixture
def proxied(
    failing_server: OwnServer, proxy: CuttingProxy, memory: UnifiedMemory
) -> Iterator[WatchedStore]:
    """A store that reaches ``failing_server`` through ``proxy`` alone."""
    direct = failing_server.dsn()
    with watched_store(failing_server.dsn(port=proxy.port), memory, direct_dsn=direct) as opened:
        yield opened


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """Debian's PostgreSQL with a certificate that it signed itself; the private one has no TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    programs = debian_programs()
    with short_folder() as folder:
        key, certificate = folder / "server.key", folder / "server.crt"
        command = ["openssl", "req", "-new", "-x509", "-days", "2", "-nodes"]
        command += ["-newkey", "rsa:2048", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        key.chmod(0o600)
        for file in (key, certificate):
            os.chown(file, server_account().uid, server_account().gid)
        files = {"ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
        with own_server(programs, ssl="on", **files) as server:
            server.run(f"CREATE TABLE bars AS {BARS}")
            server.run("VACUUM ANALYZE bars")
            server.certificate = certificate
            yield server


@contextmanager
def pgbouncer(server: OwnServer, mode: PoolMode, **settings: object) -> Iterator[int]:
    """A real pgbouncer in front of the server; its port. Skips where it is not installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with short_folder() as outer:
        folder, port = given_folder(outer / "pgbouncer"), unused_port()
        given = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users.txt",
            "pool_mode": mode,
            "default_pool_size": 6,
            "logfile": folder / "log",
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in given.items()]
        target = f"* = host=127.0.0.1 port={server.port}"
        text = "\n".join(["[databases]", target, "[pgbouncer]", *lines, ""])
        write_given(folder / "pgbouncer.ini", text)
        write_given(folder / "users.txt", f'"{USER}" "{PASSWORD}"\n')
        process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_account(),
        )
        try:
            wait_until(lambda: listens(port), "pgbouncer's start")
            yield port
        finally:
            process.terminate()
            process.wait(READY_S_MAX)


def write_given(path: Path, text: str) -> None:
    """A file that the servers' account alone reads."""
    path.write_text(text)
    path.chmod(0o600)
    os.chown(path, server_account().uid, server_account().gid)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def small_disk(folder: Path, size: str, *, owned: bool = True) -> Iterator[Path]:
    """A file system of that size, the servers' account's own, or ours; skips where not root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder.mkdir(mode=0o711)
    options = ["-o", f"size={size},mode={'0711' if owned else '0700'}"]
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], check=True)
    if owned:
        os.chown(folder, server_account().uid, server_account().gid)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
