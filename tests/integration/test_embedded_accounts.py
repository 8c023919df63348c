"""As root and as an ordinary user; with programs where root alone gets; with existing servers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from fix_servers import private_settings, short_folder
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.account import Account, server_account
from neural_gpu_bus.embedded.home import named_home, read_passwords
from neural_gpu_bus.embedded.programs import installed_programs
from neural_gpu_bus.settings import Settings
from private_processes import Identity, all_text_of, assert_nothing_left, client, family, run_ngb

pytestmark = pytest.mark.slow

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


@pytest.fixture
def home() -> Iterator[Path]:
    """Where a home can be made."""
    with short_folder() as folder:
        yield folder / "home"


def servers_among(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.name() in {"postgres", "valkey-server"}]


@needs_root
def test_as_root_the_servers_run_as_another_account(private_servers: embedded.Attachment) -> None:
    servers = servers_among(family(private_servers.status().pid))

    assert len(servers) >= 4
    assert {process.uids().real for process in servers} == {server_account().uid}
    assert server_account().uid != 0


@needs_root
def test_as_an_ordinary_user_all_runs_as_that_user() -> None:
    nobody = pwd.getpwnam("nobody")
    identity = Identity.of(Account("nobody", nobody.pw_uid, nobody.pw_gid))
    with short_folder() as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        settings = private_settings(folder / "home")
        with client(settings, identity) as only:
            processes = family(only.keeper_pid())
            assert {process.uids().real for process in processes} == {nobody.pw_uid}
            assert len(servers_among(processes)) >= 4
            status = run_ngb(settings, "status", identity=identity)
            assert status.stdout.count("running") >= 4
            stopped = run_ngb(settings, "down", identity=identity)
            assert stopped.returncode == 0, stopped.stderr
        assert_nothing_left(settings, processes)
        modes = {path.name: path.stat().st_mode & 0o077 for path in (folder / "home").iterdir()}
        assert set(modes.values()) == {0}


@needs_root
def test_what_an_ordinary_user_may_not_write_is_a_sentence() -> None:
    nobody = pwd.getpwnam("nobody")
    identity = Identity.of(Account("nobody", nobody.pw_uid, nobody.pw_gid))
    with short_folder() as folder:
        for made in (folder / "home", folder / "home" / "log"):
            made.mkdir(mode=0o700)
            os.chown(made, nobody.pw_uid, nobody.pw_gid)
        settings = private_settings(folder / "home")
        (folder / "home").chmod(0o500)
        home = run_ngb(settings, "up", identity=identity)
        (folder / "home").chmod(0o700)
        memory = run_ngb(settings, "up", identity=identity, NGB_MEMORY_FOLDER="/root")
        somebody_elses = run_ngb(settings, "status")

    assert (home.returncode, memory.returncode, somebody_elses.returncode) == (4, 2, 4)
    assert f"home '{folder / 'home'}' cannot be written: Permission denied" in home.stderr
    assert "memory folder '/root' cannot be used: Permission denied" in memory.stderr
    assert "NGB_MEMORY_FOLDER" in memory.stderr
    assert "belongs to user id" in somebody_elses.stderr
    assert "Traceback" not in home.stderr + memory.stderr + somebody_elses.stderr


@needs_root
def test_programs_in_a_closed_folder_are_copied_into_the_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = installed_programs()
    with short_folder(0o700) as closed:
        for package in (programs.postgres.parent, programs.valkey.parents[2]):
            for folder in package.parent.glob(f"{package.name}*"):
                if folder.suffix in {"", ".libs"}:
                    shutil.copytree(folder, closed / folder.name)
        monkeypatch.setenv("PYTHONPATH", str(closed))
        settings = private_settings(home)
        with client(settings) as only:
            servers = servers_among(family(only.keeper_pid()))
            paths = {Path(process.exe()) for process in servers}
            assert all(path.is_relative_to(home / "programs") for path in paths), paths


def test_passwords_are_in_no_log_and_no_command_line(private_servers: embedded.Attachment) -> None:
    settings = private_servers.settings
    shown = run_ngb(settings, "status"), run_ngb(settings, "status", "--json")
    text = all_text_of(settings.home) + "".join(run.stdout + run.stderr for run in shown)
    text += repr(private_servers.addresses) + repr(private_servers.status()) + repr(settings)
    passwords = read_passwords(named_home(settings))
    files = [settings.home / "secrets.json", *(settings.home / "configuration").iterdir()]

    assert len(set(passwords.values())) == 4
    assert not [name for name, password in passwords.items() if password in text]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_tcp_needs_the_password(private_servers: embedded.Attachment) -> None:
    port = {server.name: server.port for server in private_servers.status().servers}

    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"postgresql://ngb@127.0.0.1:{port['postgres']}/ngb")
    for name in ("compute_redis", "market_data_redis", "engine_logic_redis"):
        with socket.create_connection(("127.0.0.1", port[name])) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100).startswith(b"-NOAUTH")


def test_existing_postgres_is_used_and_left_alone(home: Path, existing_postgres_dsn: str) -> None:
    settings = private_settings(home, postgres_dsn=existing_postgres_dsn)
    with embedded.attach(settings) as attachment:
        dsn = attachment.addresses.postgres_dsn.get_secret_value()
        shown = run_ngb(settings, "status").stdout
        embedded.stop(settings)

    assert dsn == existing_postgres_dsn
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("somebody",)
    assert "existing password" not in all_text_of(home) + shown
    assert "existing  127.0.0.1:" in shown
    assert not (home / "postgres").exists()


def test_existing_redis_is_used_and_left_alone(home: Path, existing_redis_url: str) -> None:
    settings: Settings = private_settings(
        home, postgres_dsn="postgresql://127.0.0.1:1/none", compute_redis_url=existing_redis_url
    )
    with embedded.attach(settings) as attachment:
        url = attachment.addresses.compute_redis_url.get_secret_value()
        shown = run_ngb(settings, "status").stdout
        embedded.stop(settings)

    assert url == existing_redis_url
    with Redis.from_url(url) as redis:
        assert redis.ping()
    assert "existing-password" not in all_text_of(home) + shown
