"""Write-behind on a server that a test may stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fix_servers import short_folder
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.write_behind.receipts import Acknowledgement
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind
from own_server import OwnServer
from write_behind_actor import open_write_behind

WAIT_S = 20.0

Open = Callable[..., WriteBehind]


@pytest.fixture
def later_home() -> Iterator[Path]:
    with short_folder(0o700) as folder:
        yield folder / "write-behind"


@pytest.fixture
def open_one(failing_server: OwnServer, later_home: Path) -> Iterator[Open]:
    """Opens write-behind on ``failing_server``, as processes of one home do."""
    made: list[tuple[WriteBehind, Pool]] = []

    def opened(folder: Path = later_home, dsn: str = "", **settings: object) -> WriteBehind:
        given = {"close_timeout_s": 0.5, **settings}
        made.append(open_write_behind(dsn or failing_server.dsn(), folder, **given))
        return made[-1][0]

    failing_server.run("DROP SCHEMA IF EXISTS ngb_ledger CASCADE")
    failing_server.run("DROP TABLE IF EXISTS later, other")
    yield opened
    for one, pool in made:
        one.close()
        pool.close()


@pytest.fixture
def later(open_one: Open) -> WriteBehind:
    return open_one()


def numbers(server: OwnServer, table: str = "later") -> list[int]:
    """What is in the table's column ``n``."""
    return [n for (n,) in server.run(f"SELECT n FROM {table} ORDER BY n")]


def store(later: WriteBehind, *values: int, table: str = "later") -> Acknowledgement:
    """Rows of one column, ``n``."""
    return later.store_later(table, {"n": list(values)})
