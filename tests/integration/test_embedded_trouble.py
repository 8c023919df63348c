"""When the host does not help: each case is a sentence that says what to do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from fix_servers import private_settings, short_folder, wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded import client as client_module
from neural_gpu_bus.embedded.home import named_home, read_state
from neural_gpu_bus.embedded.lock import holder, is_kept
from neural_gpu_bus.errors import (
    AlreadyRunningError,
    BadSettingError,
    DiskFullError,
    HostError,
    NotRunningError,
    ServerStartError,
    ServerVersionError,
)
from neural_gpu_bus.settings import Settings
from private_processes import assert_nothing_left, client, family, run_ngb

pytestmark = pytest.mark.slow

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def home() -> Iterator[Path]:
    """Where a home can be made."""
    with short_folder() as folder:
        yield folder / "home"


def without_postgres(home: Path, **other: object) -> Settings:
    """Quick to start: three Valkeys."""
    return private_settings(home, postgres_dsn="postgresql://me:secret@127.0.0.1:1/x", **other)


def drafts(home: Path) -> list[Path]:
    """Clusters that are not whole."""
    return list(home.glob("postgres.draft*"))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_taken_port_is_replaced_and_its_holder_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = without_postgres(home, compute_redis_port=port)
        with embedded.attach(settings) as attachment:
            server = {server.name: server for server in attachment.status().servers}[
                "compute_redis"
            ]
            shown = run_ngb(settings, "status")
            embedded.stop(settings)

    assert server.port_asked == port
    assert server.port not in {0, port}
    assert server.port_holder.startswith(f"pid {os.getpid()} (")
    assert f"port {port} is held by pid {os.getpid()}" in shown.stdout
    assert f"port {port} asked for compute_redis" in (home / "log" / "keeper.log").read_text()


def test_another_version_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = without_postgres(home)
    with embedded.attach(settings):
        monkeypatch.setattr(client_module, "__version__", "99.0")
        with pytest.raises(AlreadyRunningError, match=r"this is version 99\.0") as raised:
            embedded.attach(settings)
        embedded.stop(settings)

    assert "ngb down" in raised.value.hint


def test_other_servers_are_refused_without_showing_them(home: Path) -> None:
    settings = without_postgres(home)
    with embedded.attach(settings):
        other = Settings(**settings.model_dump() | {"postgres_dsn": "postgresql://x:pw@h/y"})
        with pytest.raises(BadSettingError, match="other settings for postgres_dsn") as raised:
            embedded.attach(other)
        embedded.stop(settings)

    assert "pw" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_uncounted_client_starts_nothing(home: Path) -> None:
    with pytest.raises(NotRunningError, match="do not run"):
        embedded.attach(without_postgres(home), counted=False)


@needs_root
def test_too_small_a_disk_is_said_before_anything_is_made(home: Path) -> None:
    home.mkdir()
    with small_disk(home, "16m"):
        with pytest.raises(DiskFullError, match="15 MiB are free: no space left") as raised:
            embedded.attach(private_settings(home))
        assert not (home / "postgres").exists()
    assert "NGB_HOME" in raised.value.hint


@needs_root
def test_a_disk_that_fills_up_while_initialising(home: Path) -> None:
    home.mkdir()
    with small_disk(home, "130m"):
        home.chmod(0o711)
        filler = home / "filler"
        settings = private_settings(home)
        with client(settings) as starting:
            # The check before has passed once the first server's folder is there.
            while not drafts(home) and starting.process.poll() is None:
                continue
            with suppress(OSError):  # the disk may be full before the filler is
                filler.write_bytes(bytes(110 << 20))
            status, said = starting.end()
        assert status != 0
        assert "DiskFullError" in said
        assert not (home / "postgres").exists()
        assert not drafts(home)


@needs_root
def test_root_is_told_when_the_account_cannot_reach_the_home() -> None:
    with short_folder(0o700) as closed:
        expected = f"cannot be reached by the account .* '{closed}' is closed to it"
        with pytest.raises(HostError, match=expected) as raised:
            embedded.attach(private_settings(closed / "home"))

    assert "/var/lib/neural-gpu-bus" in raised.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written() -> None:
    with pytest.raises(HostError, match="cannot be written"):
        embedded.attach(private_settings(Path("/proc/home")))


def test_broken_data_gives_the_servers_last_words_and_other_data_is_left_alone(
    home: Path,
) -> None:
    settings = private_settings(home)
    embedded.attach(settings).close()
    embedded.stop(settings)
    (home / "postgres" / "global" / "pg_control").write_bytes(b"broken")

    with pytest.raises(ServerStartError, match="postgres did not start") as raised:
        embedded.attach(settings)

    assert "pg_control" in raised.value.what
    assert raised.value.log == str(home / "log" / "postgres.log")
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerVersionError, match="holds data of PostgreSQL 17"):
        embedded.attach(settings)


def test_a_long_home_has_short_sockets() -> None:
    with short_folder() as folder:
        settings = without_postgres(folder / ("long" * 20))
        with client(settings) as only:
            processes = family(only.keeper_pid())
        assert_nothing_left(settings, processes)


@pytest.mark.parametrize("name", ["x[1]", "a ?*'{z}", 'quote"d, listed'])
def test_any_name_of_a_home_gives_closed_servers(name: str) -> None:
    """Valkey and PostgreSQL read some of these characters in ways of their own."""
    with short_folder() as folder:
        settings = private_settings(folder / name)
        with client(settings) as only:
            processes = family(only.keeper_pid())
            with embedded.attach(settings) as attachment:
                addresses = attachment.addresses
                with psycopg.connect(addresses.postgres_dsn.get_secret_value()) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
                url = addresses.market_data_redis_url.get_secret_value()
                with redis.Redis.from_url(url) as market_data:
                    assert market_data.config_get("requirepass")["requirepass"]
            listening = {
                socket.laddr
                for process in processes
                for socket in process.net_connections("inet")
                if socket.status == psutil.CONN_LISTEN
            }
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert len(listening) == 4
        assert_nothing_left(settings, processes)


@needs_root
def test_a_home_on_a_nearly_full_disk_can_be_opened(home: Path) -> None:
    home.mkdir()
    with small_disk(home, "300m"):
        home.chmod(0o711)
        settings = private_settings(home)
        embedded.attach(settings).close()
        embedded.stop(settings)
        free_bytes = psutil.disk_usage(str(home)).free
        (home / "filler").write_bytes(bytes(free_bytes - (8 << 20)))

        with embedded.attach(settings) as attachment:
            assert {server.state for server in attachment.status().servers} == {"running"}
            embedded.stop(settings)


def test_lost_passwords_are_made_anew(home: Path) -> None:
    settings = private_settings(home)
    with embedded.attach(settings) as attachment:
        before = attachment.addresses.loopback["postgres"].get_secret_value()
        embedded.stop(settings)
    (home / "secrets.json").unlink()

    with embedded.attach(settings) as attachment:
        after = attachment.addresses.loopback["postgres"].get_secret_value()
        with psycopg.connect(after) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(before)
        embedded.stop(settings)


def test_a_keeper_killed_while_initialising_is_followed_by_a_whole_start(home: Path) -> None:
    settings = private_settings(home)
    with client(settings) as starting:
        wait_until(lambda: drafts(home), "the first start")
        keeper = holder(named_home(settings))
        assert keeper is not None
        wait_until(lambda: read_state(named_home(settings)).processes[1:], "initdb's record")
        keeper.kill()
        starting.process.kill()

    with embedded.attach(settings) as attachment:
        assert {server.state for server in attachment.status().servers} == {"running"}
        embedded.stop(settings)
    assert not drafts(home)


def test_a_stuck_keeper_is_named_and_then_killed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = without_postgres(home)
    settings = patient.model_copy(update={"connect_timeout_s": 0.3})
    with client(patient) as only:
        pid = only.keeper_pid()
        processes = family(pid)
        os.kill(pid, signal.SIGSTOP)

        with pytest.raises(HostError, match=f"pid {pid}, gave no answer") as raised:
            embedded.status(settings)

        assert "ngb down" in raised.value.hint
        monkeypatch.setattr(client_module, "STOP_S_MAX", 0.3)
        embedded.stop(settings)
        assert_nothing_left(settings, processes)
        with pytest.raises(NotRunningError, match="do not run"):
            embedded.status(settings)


def test_a_client_killed_early_takes_its_keeper_along(home: Path) -> None:
    settings = private_settings(home)
    lock = named_home(settings)
    with client(settings) as starting:
        wait_until(lambda: is_kept(lock), "the keeper")
        starting.signal(signal.SIGKILL)
        wait_until(lambda: not is_kept(lock), "the keeper's end", 8.0)

    assert not embedded.memory_folder(settings).exists()


def test_other_settings_right_after_the_last_client_start_anew(home: Path) -> None:
    settings = without_postgres(home)
    with short_folder() as other:
        embedded.attach(settings).close()
        with embedded.attach(without_postgres(home, memory_folder=other)) as attachment:
            assert attachment.addresses.memory_folder.parent == other
            embedded.stop(settings)


@pytest.mark.parametrize("command", ["status", "down", "up", "doctor"])
def test_a_home_that_is_a_file_is_a_sentence(home: Path, command: str) -> None:
    home.touch()

    answer = run_ngb(private_settings(home / "below"), command)

    assert answer.returncode == 4
    assert "cannot be used" in answer.stderr
    assert "Traceback" not in answer.stderr
