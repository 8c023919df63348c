"""What the servers are told, without starting one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from neural_gpu_bus.embedded import postgres, valkey
from neural_gpu_bus.embedded.account import Account, current_account
from neural_gpu_bus.embedded.home import Home
from neural_gpu_bus.embedded.sizes import GIB, sizes_for
from neural_gpu_bus.embedded.valkey import ValkeyPolicy

HOME = Home(Path("/it's/a home"), Account("somebody", 1000, 1000))


def test_postgres_listens_to_this_host_alone() -> None:
    text = postgres.configuration(sizes_for(16 * GIB, 100 * GIB), 5439, HOME.data("postgres"), HOME)

    assert "listen_addresses = '127.0.0.1'" in text
    assert "port = '5439'" in text
    assert "wal_level = 'logical'" in text
    assert "shared_buffers = '1024MB'" in text
    assert "data_directory = '/it''s/a home/postgres'" in text
    assert "trust" not in postgres.HOST_ACCESS


def test_initialising_names_no_password() -> None:
    command = postgres.initialise_command(Path("/programs"), Path("/data"), Path("/password"))

    assert "--pwfile=/password" in command
    assert "--data-checksums" in command
    assert "--set=dynamic_shared_memory_type=mmap" in command


def test_users_of_the_host_are_quoted() -> None:
    assert postgres.user_map({"root", "a b"}) == 'ngb "a b" ngb\nngb "root" ngb\n'


def test_the_compute_redis_forgets_and_the_others_persist() -> None:
    def text(policy: ValkeyPolicy) -> list[str]:
        made = valkey.configuration(policy, 6382, Path("/run/x.sock"), Path('/da"ta'), "word")
        return made.splitlines()

    compute = text(ValkeyPolicy(8 * GIB, "allkeys-lru", persistent=False))
    other = text(ValkeyPolicy(1 * GIB, "noeviction", persistent=True))

    assert {"maxmemory 8589934592", "maxmemory-policy allkeys-lru", "appendonly no"} <= set(compute)
    assert {"tcp-keepalive 60", 'save ""', "bind 127.0.0.1", "unixsocketperm 700"} <= set(compute)
    assert {"maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec"} <= set(other)
    assert 'dir "/da\\"ta"' in compute


def test_a_folder_that_vanishes_while_it_is_measured_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1234")
    scan = os.scandir

    def scan_late(folder: str) -> Any:
        if Path(folder).name == "gone":
            raise FileNotFoundError(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scan_late)

    assert postgres.folder_bytes(tmp_path) == 4


def test_no_path_is_an_argument_of_valkey(tmp_path: Path) -> None:
    """It would be a pattern, which a home with brackets in its name does not match."""
    home = Home(tmp_path / "x[1]", current_account())
    home.configuration.mkdir(parents=True)
    policy = ValkeyPolicy(1 * GIB, "noeviction", persistent=True)
    server = valkey.Valkey("compute_redis", home, Path("/programs/valkey"), policy, "word")

    assert server.command(6382) == [Path("/programs/valkey"), "-"]
    assert "requirepass" in server.standard_input.read_text()
