"""Many threads query one plane at once, errors between: everybody gets the own answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from neural_gpu_bus import DataPlane
from neural_gpu_bus.embedded.records import Addresses
from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.settings import Settings

THREADS = 8
QUERIES = 200


@pytest.fixture
def plane(postgres_dsn: str, redis_url: str, memory_folder: Path) -> Iterator[DataPlane]:
    """On given servers, with fewer connections than threads."""
    redis = SecretStr(redis_url)
    addresses = Addresses(SecretStr(postgres_dsn), redis, redis, redis, memory_folder, {})
    attachment = SimpleNamespace(addresses=addresses, close=lambda: None)
    settings = Settings(postgres_connections_max=3, memory_bytes_max=256 << 20)
    with DataPlane(settings, attachment) as plane:
        yield plane


def ask(plane: DataPlane, number: int) -> None:
    """One query of five kinds; fails with what it got instead of its own answer."""
    many = 1 + number * 37 % 5000
    match number % 5:
        case 0:
            frame = plane.query(f"SELECT {number} AS n FROM generate_series(1, {many})")
            assert frame["n"].tolist() == [number] * many
        case 1:
            frame = plane.query(
                "SELECT %(a)s AS a, %(b)s::float8 AS b", {"a": f"é{number}", "b": 0.5}
            )
            assert (frame["a"].tolist(), frame["b"].tolist()) == ([f"é{number}"], [0.5])
        case 2:
            with pytest.raises(QueryError, match=f'column "c{number}" does not exist'):
                plane.query(f"SELECT c{number} FROM pg_class")
        case 3:
            with pytest.raises(QueryError, match="division by zero"):
                plane.query(
                    f"SELECT {number} / (i - {many}) AS x FROM generate_series(1, {many}) i"
                )
        case _:
            plane.query(
                f"SELECT {number} AS n, set_config('application_name', 'n{number}', false) AS t",
                name=f"numbers/{number}",
            )
            assert plane.get(f"numbers/{number}")["n"].tolist() == [number]


def test_threads_get_their_own_answers(plane: DataPlane) -> None:
    numbers, wrong = iter(range(QUERIES)), []

    def work() -> None:
        for number in numbers:
            try:
                ask(plane, number)
            except BaseException as error:
                wrong.append((number, error))
                raise

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []
    assert next(numbers, None) is None
    assert not any(thread.is_alive() for thread in threads)
