"""Journals of one home and several servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_gpu_bus.stores.postgres.write_behind.server_folder import server_folder

HOME = Path("/home/of/somebody")
DSN = "postgresql://somebody:secret@db.example:5433/market"


def folder(dsn: str) -> str:
    return server_folder(HOME, dsn, is_private=False).name


def test_the_name_can_be_read_and_holds_no_password() -> None:
    assert folder(DSN).startswith("db.example_5433_market-")
    assert "secret" not in folder(DSN)
    assert folder(DSN) == folder(DSN.replace("secret", "another"))


@pytest.mark.parametrize(
    "other",
    [
        DSN.replace("5433", "5434"),
        DSN.replace("example", "sample"),
        DSN.replace("market", "Market"),
        DSN.replace("somebody", "anybody"),
        DSN + "?options=-csearch_path%3Dother",
    ],
)
def test_another_server_has_another_folder(other: str) -> None:
    assert folder(other) != folder(DSN)


def test_what_libpq_takes_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "one")
    first = folder("dbname=market")
    monkeypatch.setenv("PGHOST", "two")

    assert folder("dbname=market") != first
    assert folder(DSN) == folder(DSN)


def test_a_private_server_is_the_homes_own() -> None:
    assert server_folder(HOME, DSN, is_private=True) == HOME / "write-behind" / "private"
