"""`ngb up`, `ngb down`, `ngb status` as a person types them: each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from fix_servers import private_settings, short_folder, wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.addresses import postgres_address, postgres_parts
from neural_gpu_bus.errors import NotRunningError
from neural_gpu_bus.settings import Settings
from private_processes import NGB, assert_nothing_left, environment_for, family, run_ngb

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(postgres_dsn: str) -> Iterator[Settings]:
    """A home of its own; PostgreSQL is named, so that starts are quick."""
    with short_folder() as folder:
        made = private_settings(folder / "home", postgres_dsn=postgres_dsn)
        yield made
        run_ngb(made, "down")


def test_the_life_of_private_servers(settings: Settings, postgres_dsn: str) -> None:
    before = run_ngb(settings, "status")
    assert (before.returncode, before.stdout.startswith("not running: ")) == (3, True)
    before = run_ngb(settings, "status", "--json")
    assert (before.returncode, json.loads(before.stdout)["running"]) == (3, False)

    up = run_ngb(settings, "up")
    assert up.returncode == 0, up.stderr
    assert "running until `ngb down`" in up.stdout
    assert f"127.0.0.1:{settings.compute_redis_port}" in up.stdout
    assert str(postgres_parts(postgres_dsn).get("password")) not in up.stdout + up.stderr

    again = run_ngb(settings, "up")
    assert again.returncode == 2
    assert "run already, kept by pid" in again.stderr
    assert "stop them with `ngb down`" in again.stderr
    assert "Traceback" not in again.stderr

    status = run_ngb(settings, "status", "--json")
    found = json.loads(status.stdout)
    assert (status.returncode, found["running"], found["stay"]) == (0, True, True)
    assert [server["state"] for server in found["servers"]] == ["existing", *["running"] * 3]
    assert found["servers"][0]["address"] == postgres_address(postgres_dsn)

    processes = family(found["pid"])
    down = run_ngb(settings, "down")
    assert (down.returncode, down.stdout) == (0, "stopped; the data stays\n")
    assert_nothing_left(settings, processes)

    down = run_ngb(settings, "down")
    assert (down.returncode, down.stdout.endswith("do not run\n")) == (0, True)


def test_an_interrupted_first_start_leaves_nothing() -> None:
    with short_folder() as folder:
        settings = private_settings(folder / "home")
        starting = subprocess.Popen(
            [sys.executable, *NGB, "up"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment_for(settings, None),
            start_new_session=True,
        )
        wait_until(lambda: any(settings.home.glob("postgres.draft*")), "the first start")
        processes = family(starting.pid)[1:]  # the keeper is its child, with all servers below
        # As Ctrl-C does it: to the whole group of the terminal.
        os.killpg(starting.pid, signal.SIGINT)
        starting.communicate(timeout=30)

        assert starting.returncode == 130
        assert_nothing_left(settings, processes)
        assert not any(settings.home.glob("postgres.draft*"))
        with pytest.raises(NotRunningError, match="do not run"):
            embedded.status(settings)


def test_up_meets_existing_servers_before_it_starts_anything() -> None:
    with short_folder() as folder:
        settings = private_settings(
            folder / "home", postgres_dsn="postgresql://me:pw@127.0.0.1:1/x"
        )
        answer = run_ngb(settings, "up")

        assert answer.returncode == 3
        assert "cannot talk to PostgreSQL at 127.0.0.1:1/x" in answer.stderr
        assert not settings.home.exists()


def test_addresses_are_whole_in_a_pipe(settings: Settings) -> None:
    long = "redis://a-long-name-of-a-host.in-a-long-domain.of-somebody.example.org:6379/0"
    with embedded.attach(settings.model_copy(update={"compute_redis_url": SecretStr(long)})):
        shown = run_ngb(settings, "status", COLUMNS="80")

    assert long.removeprefix("redis://") in shown.stdout
