"""Private servers live exactly as long as somebody needs them, whoever is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import psycopg
import pytest
from redis import Redis

from fix_servers import private_settings, short_folder, wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.errors import NotRunningError
from neural_gpu_bus.settings import Settings
from private_processes import assert_nothing_left, client, family, lives, run_ngb

pytestmark = pytest.mark.slow


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A home of its own, which is stopped whatever happens."""
    with short_folder() as folder:
        made = private_settings(folder / "home")
        yield made
        try:
            embedded.stop(made)
        except NotRunningError:
            return


@pytest.fixture
def light(settings: Settings) -> Settings:
    """Without PostgreSQL, whose first start takes a second."""
    return Settings(**settings.model_dump() | {"postgres_dsn": "postgresql://127.0.0.1:1/none"})


def test_all_servers_end_with_a_killed_client(settings: Settings) -> None:
    with client(settings) as only:
        processes = family(only.keeper_pid())
        assert len(processes) > 5
        assert embedded.memory_folder(settings).is_dir()
        only.signal(signal.SIGKILL)

    assert_nothing_left(settings, processes)
    assert not (settings.home / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_servers_end_with_an_interrupted_client(light: Settings, number: signal.Signals) -> None:
    with client(light) as only:
        processes = family(only.keeper_pid())
        only.signal(number)

    assert_nothing_left(light, processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_keeper_in_order(light: Settings, number: signal.Signals) -> None:
    settings = light
    with client(settings) as only:
        pid = only.keeper_pid()
        processes = family(pid)
        psutil.Process(pid).send_signal(number)

        assert_nothing_left(settings, processes)
    log = (settings.home / "log" / "keeper.log").read_text()
    assert f"stopping on {number.name}" in log
    assert log.splitlines()[-1].endswith("stopped")


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux tells children of their parent's death")
def test_a_killed_keeper_takes_all_with_it_and_the_next_start_works(settings: Settings) -> None:
    with client(settings) as first:
        pid = first.keeper_pid()
        processes = family(pid)
        psutil.Process(pid).kill()
        assert_nothing_left(settings, processes)

    with embedded.attach(settings) as attachment:
        states = {server.name: server.state for server in attachment.status().servers}
    assert set(states.values()) == {"running"}


def test_who_asks_a_killed_keeper_is_told(light: Settings) -> None:
    with embedded.attach(light) as attachment:
        psutil.Process(attachment.status().pid).kill()
        for ask in (attachment.follow, attachment.stay):
            with pytest.raises(NotRunningError, match="attached to has ended"):
                ask()


def test_two_clients_at_once_make_one_keeper(light: Settings) -> None:
    settings = light
    with client(settings) as one, client(settings) as other:
        assert one.keeper_pid() == other.keeper_pid()
        processes = family(embedded.status(settings).pid)
        assert embedded.status(settings).leases == 2
        one.signal(signal.SIGKILL)
        wait_until(lambda: embedded.status(settings).leases == 1, "end of the first lease")
        assert other.process.poll() is None

    assert_nothing_left(settings, processes)


def test_data_survives_and_ports_come_back(settings: Settings) -> None:
    with embedded.attach(settings) as attachment:
        ports = {server.name: server.port for server in attachment.status().servers}
        with psycopg.connect(attachment.addresses.postgres_dsn.get_secret_value()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        for name in ("market_data_redis", "engine_logic_redis", "compute_redis"):
            with Redis.from_url(attachment.addresses.loopback[name].get_secret_value()) as redis:
                redis.set("kept", name)
        embedded.stop(settings)

    with embedded.attach(settings) as attachment:
        found = {server.name: server.port for server in attachment.status().servers}
        dsn = attachment.addresses.loopback["postgres"].get_secret_value()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
            assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
            assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        with Redis.from_url(attachment.addresses.market_data_redis_url.get_secret_value()) as redis:
            assert redis.get("kept") == b"market_data_redis"
        with Redis.from_url(attachment.addresses.compute_redis_url.get_secret_value()) as redis:
            assert redis.get("kept") is None
            limit = redis.config_get("maxmemory*")
            assert int(limit["maxmemory"]) == settings.compute_redis_limit_bytes
            assert limit["maxmemory-policy"] == "allkeys-lru"
            assert redis.config_get("tcp-keepalive") == {"tcp-keepalive": "60"}
        embedded.stop(settings)
    assert found == ports


def test_a_server_that_dies_is_started_again(settings: Settings) -> None:
    with embedded.attach(settings) as attachment:
        for name in ("postgres", "compute_redis"):
            before = {server.name: server for server in attachment.status().servers}[name]
            psutil.Process(before.pid).kill()

            def again(name: str = name, old: int = before.pid) -> bool:
                now = {server.name: server for server in attachment.status().servers}[name]
                return now.state == "running" and now.pid != old and now.restarts >= 1

            wait_until(again, f"restart of {name}")
        with psycopg.connect(attachment.addresses.postgres_dsn.get_secret_value()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        embedded.stop(settings)


def test_up_stays_without_clients_until_down(settings: Settings) -> None:
    started = run_ngb(settings, "up")
    assert started.returncode == 0, started.stderr
    processes = family(embedded.status(settings).pid)
    with client(settings) as passing:
        passing.keeper_pid()
    assert embedded.status(settings).stay

    ended = run_ngb(settings, "down")

    assert ended.returncode == 0
    assert not any(lives(process) for process in processes)
    assert not embedded.memory_folder(settings).exists()
