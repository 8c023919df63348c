"""``ngb doctor postgres`` as a person types it, and as a program reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from documented_failures import assert_told

pytestmark = pytest.mark.slow


def test_a_private_server_is_looked_at(ngb: Any) -> None:
    shown = ngb("doctor", "postgres")
    answer = ngb("doctor", "postgres", "--json")
    found = json.loads(answer.stdout)

    assert (shown.returncode, answer.returncode) == (0, 0), shown.stderr
    assert "no problem found" in shown.stdout
    assert "12.5 % of the server's memory all together" in " ".join(shown.stdout.split())
    assert list(found["groups"]) == ["Connection", "Rights", "Settings", "Live tables", "Tables"]
    assert found["groups"]["Connection"][0]["subject"] == "version"


def test_a_server_that_is_away_is_one_line(ngb: Any) -> None:
    dsn = "postgresql://u:hush-hush@127.0.0.1:1/x"
    shown = ngb("doctor", "postgres", NGB_POSTGRES_DSN=dsn)

    assert shown.returncode == 3
    assert shown.stdout == ""
    assert shown.stderr.startswith("ngb: cannot talk to PostgreSQL at 127.0.0.1:1/x")
    assert "hush-hush" not in shown.stderr
    assert "Traceback" not in shown.stderr


def test_doctor_alone_is_as_ever(ngb: Any) -> None:
    shown = ngb("doctor")

    assert "Optional parts" in shown.stdout
    assert "Missing command" not in shown.stderr


def test_a_work_mem_that_the_server_cannot_bear_is_summed_up(ngb: Any) -> None:
    given = {"NGB_POSTGRES_WORK_MEM_BYTES": str(1 << 30), "NGB_POSTGRES_MEMORY_BYTES": str(1 << 34)}
    for command in (["doctor", "postgres"], ["query", "SELECT 1"]):
        assert_told(ngb(*command, **given), "work_mem could take more than the server has", 2)
