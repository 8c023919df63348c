"""When things go wrong: a sentence, a way out, an exit code; the docs quote the same words."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from acceptance.conftest import COMMAND, Ngb, run_ngb
from documented_failures import assert_told
from fix_servers import private_settings, short_folder, unused_port, wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.account import server_account
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.embedded.home import named_home
from neural_gpu_bus.settings import Settings
from old_servers import old_postgres, old_redis

PASSWORD = "not-the-password"
BARS = """instrument_id,bar_type,ts,close
ES.XCME,1-MINUTE-LAST,2024-01-02T10:00:00Z,4700.25
ES.XCME,1-MINUTE-LAST,2024-01-02T10:01:00Z,4700.50
"""


@pytest.fixture
def existing(home_settings: Settings) -> Iterator[dict[str, str]]:
    """Environment of a second home that uses the first one's servers as existing ones."""
    with embedded.attach(home_settings) as attachment, short_folder() as folder:
        loopback = attachment.addresses.loopback
        settings = Settings(home=folder / "home", workers=0)
        yield {
            "NGB_HOME": str(folder / "home"),
            "NGB_WORKERS": "0",
            "NGB_POSTGRES_DSN": loopback["postgres"].get_secret_value(),
            "NGB_COMPUTE_REDIS_URL": loopback["compute_redis"].get_secret_value(),
            "NGB_MARKET_DATA_REDIS_URL": loopback["market_data_redis"].get_secret_value(),
            "NGB_ENGINE_LOGIC_REDIS_URL": loopback["engine_logic_redis"].get_secret_value(),
        }
        wait_until(lambda: not named_home(settings).control_socket.exists(), "the keeper's end")


def test_existing_servers_are_used_as_they_are(ngb: Ngb, existing: dict[str, str]) -> None:
    result = ngb("query", "SELECT 6 * 7 AS answer", **existing)

    assert result.returncode == 0, result.stderr
    assert "42" in result.stdout


def test_postgres_unreachable(ngb: Ngb, existing: dict[str, str]) -> None:
    existing["NGB_POSTGRES_DSN"] = f"postgresql://me:{PASSWORD}@127.0.0.1:{unused_port()}/db"

    result = ngb("query", "SELECT 1", **existing)

    assert_told(result, "PostgreSQL does not answer", 3)
    assert PASSWORD not in result.stdout + result.stderr


def test_redis_unreachable(ngb: Ngb, existing: dict[str, str]) -> None:
    existing["NGB_COMPUTE_REDIS_URL"] = f"redis://:{PASSWORD}@127.0.0.1:{unused_port()}/0"

    result = ngb("worker", **existing)

    assert_told(result, "A Redis does not answer", 3)
    assert PASSWORD not in result.stdout + result.stderr


def test_wrong_postgres_password(ngb: Ngb, existing: dict[str, str]) -> None:
    address = existing["NGB_POSTGRES_DSN"]
    right = address.split("password=")[1].split()[0] if "password=" in address else ""
    right = right or address.split("//")[1].split("@")[0].split(":")[1]
    existing["NGB_POSTGRES_DSN"] = address.replace(right, PASSWORD)

    result = ngb("query", "SELECT 1", **existing)

    assert_told(result, "PostgreSQL refuses the password", 3)
    assert PASSWORD not in result.stdout + result.stderr


def test_wrong_redis_password(ngb: Ngb, existing: dict[str, str]) -> None:
    scheme, rest = existing["NGB_COMPUTE_REDIS_URL"].split("//")
    existing["NGB_COMPUTE_REDIS_URL"] = f"{scheme}//:{PASSWORD}@{rest.split('@')[1]}"

    result = ngb("worker", **existing)

    assert_told(result, "A Redis refuses the password", 3)
    assert PASSWORD not in result.stdout + result.stderr


def test_postgres_too_old(ngb: Ngb, existing: dict[str, str]) -> None:
    with old_postgres() as port:
        existing["NGB_POSTGRES_DSN"] = f"postgresql://me@127.0.0.1:{port}/db"

        result = ngb("query", "SELECT 1", **existing)

    assert_told(result, "PostgreSQL is too old", 3)


def test_redis_too_old(ngb: Ngb, existing: dict[str, str]) -> None:
    with old_redis() as port:
        existing["NGB_COMPUTE_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"

        result = ngb("worker", **existing)

    assert_told(result, "A Redis is too old", 3)


def test_missing_table(ngb: Ngb) -> None:
    assert_told(ngb("query", "SELECT * FROM prices_of_nothing"), "A table is missing", 2)


def test_missing_column(ngb: Ngb) -> None:
    result = ngb("query", "SELECT relnam FROM pg_class")

    assert_told(result, "A column is missing", 2)


def test_a_table_without_rows(ngb: Ngb) -> None:
    empty = "SELECT 1::float8 AS mkt, 2::float8 AS smb WHERE false"
    assert ngb("query", empty, "--name", "empty").returncode == 0

    result = ngb("submit", "factor.correlation", "factors=empty")

    assert_told(result, "A table has no rows", 2)


def test_an_unknown_workload(ngb: Ngb) -> None:
    assert_told(ngb("submit", "risk.portfoli"), "A workload is unknown", 2)


def test_a_bad_parameter(ngb: Ngb) -> None:
    assert ngb("query", "SELECT 1::float8 AS a", "--name", "one").returncode == 0

    result = ngb("submit", "vpin.trades", "trades=one", "window=0")

    assert_told(result, "A parameter does not fit", 2)


def test_a_file_of_the_wrong_type(ngb: Ngb, tmp_path: Path) -> None:
    picture = tmp_path / "chart.parquet"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))

    result = ngb("load", "chart.parquet", "--table", "pictures")

    assert_told(result, "A file is of the wrong type", 2)


def test_a_bad_value_in_a_file(ngb: Ngb, tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(BARS)
    assert ngb("load", "bars.csv", "--table", "bars_for_failures").returncode == 0
    (tmp_path / "more.csv").write_text(BARS.replace("4700.50", "n/a*"))

    result = ngb("load", "more.csv", "--table", "bars_for_failures")

    assert_told(result, "A file has a bad value", 2)
    assert "2" in ngb("query", "SELECT count(*) AS rows FROM bars_for_failures").stdout


def test_a_stray_quote_in_a_file(ngb: Ngb, tmp_path: Path) -> None:
    (tmp_path / "stray.csv").write_text('asset,price\nA,1\n"B,2\nC,3\n')

    result = ngb("load", "stray.csv", "--table", "quotes_for_failures")

    assert_told(result, "A quote is missing", 2)


def test_the_memory_budget_is_too_small(ngb: Ngb) -> None:
    rows = "SELECT g::int8 FROM generate_series(1, 300000) g"

    result = ngb("query", rows, NGB_MEMORY_BYTES_MAX=1 << 20, NGB_QUERY_BYTES_MAX=1 << 30)

    assert_told(result, "Shared memory is full", 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_shared_memory_file_system_is_full(tmp_path: Path) -> None:
    with short_folder() as folder, small_file_system(folder / "shm", "4m") as shm:
        settings = private_settings(folder / "home", memory_folder=shm)
        rows = "SELECT g::int8 FROM generate_series(1, 1000000) g"

        result = run_ngb(settings, tmp_path, "query", rows)

    assert_told(result, "Shared memory is full", 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_the_disk_is_full(tmp_path: Path) -> None:
    """The tables' disk, not the log's: PostgreSQL itself ends when it cannot write its log."""
    rows = "\n".join(f"{n},{'x' * 500}{n}" for n in range(20_000))
    (tmp_path / "big.csv").write_text("number,padding\n" + rows + "\n")
    with short_folder() as folder, small_file_system(folder / "disk", "4m") as disk:
        settings = private_settings(folder / "home")
        os.chown(disk, server_account().uid, server_account().gid)
        with embedded.attach(settings) as attachment:
            keep_tables_on(disk, attachment.addresses.postgres_dsn.get_secret_value())

            result = run_ngb(settings, tmp_path, "load", "big.csv", "--table", "big")

            assert_told(result, "The disk is full", 3)
            tables = run_ngb(settings, tmp_path, "tables")
            assert "no tables yet" in tables.stdout, tables.stderr
            embedded.stop(settings)


def test_second_up(tmp_path: Path) -> None:
    with short_folder() as folder:
        settings = private_settings(folder / "home")
        try:
            assert run_ngb(settings, tmp_path, "up").returncode == 0

            assert_told(run_ngb(settings, tmp_path, "up"), "The servers run already", 2)
        finally:
            run_ngb(settings, tmp_path, "down")


def test_a_setting_that_cannot_be(ngb: Ngb) -> None:
    assert_told(ngb("config", NGB_QUERY_TIMEOUT_S="soon"), "A setting cannot be used", 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_query_leaves_nothing(
    home_settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    sleeping = "SELECT pg_sleep(60)::text AS slept"
    process = subprocess.Popen(
        [*COMMAND, "query", sleeping],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=to_environment(home_settings, os.environ),
    )
    wait_until(lambda: sleepers(home_settings), "the query's start")

    process.send_signal(number)
    told = subprocess.CompletedProcess([], process.wait(20), *process.communicate())

    assert_told(told, "A command is interrupted", 130)
    wait_until(lambda: not sleepers(home_settings), "the query's end on the server", 5)


def keep_tables_on(folder: Path, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        connection.execute("ALTER ROLE ngb SET default_tablespace = small")


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of that size, for as long as the body runs."""
    folder.mkdir(mode=0o711)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def sleepers(settings: Settings) -> int:
    """Sessions that run our sleeping query now."""
    with (
        embedded.attach(settings) as attachment,
        psycopg.connect(attachment.addresses.postgres_dsn.get_secret_value()) as connection,
    ):
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_what_is_shown_has_no_room() -> None:
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            [*COMMAND, "config"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )

    assert told.returncode == 4
    assert told.stderr == ("ngb: what was to be shown cannot be written: No space left on device\n")
