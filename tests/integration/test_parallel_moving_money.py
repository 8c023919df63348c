"""Money moves between rows and between tables all the time; every read adds up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from fix_reader import open_reader
from fix_stores import Playground
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader
from reading_moving_money import ACCOUNTS, MONEY, make_accounts, money_moves


@pytest.fixture(params=[True, False], ids=["direct", "libpq"])
def reader(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[PostgresReader]:
    with open_reader(postgres_dsn, direct=request.param, connections_max=5) as made:
        yield made


def assert_sums_hold(reader: PostgresReader, playground: Playground, duration_s: float) -> None:
    end_s, reads = time.monotonic() + duration_s, 0
    while time.monotonic() < end_s or reads < 3:
        connections = 2 + reads % 3
        alone: Any = reader.table(playground.table("inside"), connections=connections)
        assert_adds_up([alone], ACCOUNTS)
        report = reader.report(alone)
        assert report is not None
        assert report.connections > 1
        with reader.snapshot() as snapshot:
            both: list[Any] = [
                reader.table(playground.table(table), snapshot=snapshot, connections=connections)
                for table in ("left_side", "right_side")
            ]
        assert_adds_up(both, 2 * ACCOUNTS)
        reads += 1
    print(f"{3 * reads} reads add up")


def assert_adds_up(tables: list[Any], accounts: int) -> None:
    """All accounts, none twice, with all the money."""
    assert sum(table.num_rows for table in tables) == accounts
    for table in tables:
        assert sorted(table["id"].to_pylist()) == list(range(1, ACCOUNTS + 1))
    assert sum(sum(table["money"].to_pylist()) for table in tables) == accounts * MONEY


def test_sums_hold_while_money_moves(
    reader: PostgresReader, playground: Playground, postgres_dsn: str
) -> None:
    make_accounts(playground.connection, playground.schema)
    with money_moves(postgres_dsn, playground.schema):
        assert_sums_hold(reader, playground, duration_s=2)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_sums_hold_for_minutes(
    reader: PostgresReader, playground: Playground, postgres_dsn: str
) -> None:
    make_accounts(playground.connection, playground.schema)
    with money_moves(postgres_dsn, playground.schema, writers=4):
        assert_sums_hold(reader, playground, duration_s=150)
