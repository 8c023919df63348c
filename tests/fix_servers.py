"""Real servers for tests: the ones that environment variables name, else private ones of a
temporary home, which are gone after the session.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.account import server_account
from neural_gpu_bus.settings import Settings

#: Debian keeps every major version's programs here; they are not in PATH.
DEBIAN_POSTGRES = "/usr/lib/postgresql/*/bin"
READY_S_MAX = 30.0
#: Ten clusters of 60 MB, and room for what is tested.
QUICK_DISK_BYTES_MIN = 2 << 30


def wait_until(condition: Callable[[], object], what: str, limit_s: float = READY_S_MAX) -> None:
    """Poll until true; fail naming ``what`` after ``limit_s``."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            pytest.fail(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.01)


def unused_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quick_disk() -> str | None:
    """Memory where there is plenty: a new cluster is synced to disk, which is half its time."""
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and shutil.disk_usage(memory).free > QUICK_DISK_BYTES_MIN
    return str(memory) if plenty else None


@contextmanager
def short_folder(mode: int = 0o711) -> Iterator[Path]:
    """A temporary folder that the servers' account can enter, unlike pytest's own as root."""
    folder = Path(tempfile.mkdtemp(prefix="ngb-test-", dir=_quick_disk()))
    folder.chmod(mode)
    try:
        yield folder
    finally:
        for lock in (*folder.glob("keeper.lock"), *folder.glob("*/keeper.lock")):
            wait_until(lambda lock=lock: _is_free(lock), f"the keeper's end in {folder}")
        shutil.rmtree(folder)


def _is_free(lock: Path) -> bool:
    """Whether no keeper holds it; one that goes still writes into its home."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def private_settings(home: Path, **other: object) -> Settings:
    """Settings of a home of its own, on ports that are free, without workers."""
    ports = {
        f"{name}_port": unused_port()
        for name in ("postgres", "compute_redis", "market_data_redis", "engine_logic_redis")
    }
    return Settings(**{"home": home, "workers": 0, **ports, **other})


@pytest.fixture(scope="session")
def private_servers() -> Iterator[embedded.Attachment]:
    """Private servers of a temporary home, for the whole session."""
    with short_folder() as folder:
        settings = private_settings(folder / "home")
        with embedded.attach(settings) as attachment:
            yield attachment
            embedded.stop(settings)


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> str:
    """A PostgreSQL to play with, as libpq address; tests make their own schemas or tables and
    drop them.
    """
    named = os.environ.get("NGB_TEST_POSTGRES_DSN")
    if named:
        return named
    private: embedded.Attachment = request.getfixturevalue("private_servers")
    return private.addresses.loopback["postgres"].get_secret_value()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A Redis or Valkey to play with; tests use their own key prefixes."""
    named = os.environ.get("NGB_TEST_REDIS_URL")
    if named:
        return named
    private: embedded.Attachment = request.getfixturevalue("private_servers")
    return private.addresses.loopback["engine_logic_redis"].get_secret_value()


@pytest.fixture(scope="session")
def existing_postgres_dsn() -> Iterator[str]:
    """Debian's own PostgreSQL with a cluster made for this session; skips where there is none."""
    programs = sorted(Path("/").glob(DEBIAN_POSTGRES.lstrip("/")))
    if not programs:
        pytest.skip(f"no PostgreSQL in {DEBIAN_POSTGRES}")
    with short_folder() as folder:
        account = server_account()
        data, port = folder / "data", unused_port()
        for made in (data, folder / "run"):
            made.mkdir(mode=0o700)
            os.chown(made, account.uid, account.gid)
        password_file = folder / "password"
        password_file.write_text("existing password")
        initialise = [programs[-1] / "initdb", "-N", "-A", "scram-sha-256", "-U", "somebody"]
        # Our own id is given up before the program is looked at: as root it refuses to run.
        identity = {"user": account.uid, "group": account.gid} if os.geteuid() == 0 else {}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        subprocess.run(
            [*initialise, "-D", data, f"--pwfile={password_file}"], check=True, **identity, **quiet
        )
        command = [programs[-1] / "postgres", "-D", data, "-p", str(port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-k", folder / "run"]
        server = subprocess.Popen(command, **identity, **quiet)
        try:
            pid_file = data / "postmaster.pid"
            wait_until(
                lambda: pid_file.exists() and "ready" in pid_file.read_text(), "PostgreSQL's start"
            )
            yield f"postgresql://somebody:existing%20password@127.0.0.1:{port}/postgres"
        finally:
            # Fast shutdown: the polite one waits for clients that forgot to go.
            server.send_signal(signal.SIGINT)
            server.wait(READY_S_MAX)


@pytest.fixture(scope="session")
def existing_redis_url() -> Iterator[str]:
    """The host's own redis-server or valkey-server, run for this session; skips where none is."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    with short_folder(0o700) as folder:
        port = unused_port()
        options = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder), "save": ""}
        options["requirepass"] = "existing-password"
        command = [program, *(part for name in options for part in (f"--{name}", options[name]))]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: _listens(port), "redis-server's start")
            yield f"redis://:existing-password@127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(READY_S_MAX)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def market_data_folder() -> Path:
    """Folder of real market data, where there is one (NGB_TEST_DATA); tests that need it skip
    otherwise.
    """
    folder = os.environ.get("NGB_TEST_DATA")
    if not folder:
        pytest.skip("NGB_TEST_DATA names no folder of market data")
    return Path(folder)
