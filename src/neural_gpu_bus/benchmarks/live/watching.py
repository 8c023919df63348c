"""Question: how long from a commit of a position to its risk in PostgreSQL and in Redis?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from neural_gpu_bus.benchmarks.equality import require_equal
from neural_gpu_bus.benchmarks.live.processes import other, say_ready
from neural_gpu_bus.benchmarks.memory.answers import Answer, Kind, Line, Part, under
from neural_gpu_bus.benchmarks.memory.spread import spread
from neural_gpu_bus.errors import StaleError

if TYPE_CHECKING:
    from redis import Redis

    from neural_gpu_bus.benchmarks.live.ground import LiveGround
    from neural_gpu_bus.plane import DataPlane

#: Of the mission: real-time portfolio risk, from positions to updated metrics.
_P50_S = 3e-3
#: Commits in a second of the ground's: one after the other, each waits for its figure.
_COMMITS_PER_S = 40
#: Between two looks at both stores, and of the plain way at its table.
_PAUSE_S, _PLAIN_PAUSE_S = 300e-6, 1e-3
_REACHED_S_MAX = 30.0
_KEY = "ngb_bench_live:risk"
_NAMES = ("ngb_bench_positions", "ngb_bench_closes")
#: A desk with one position at a price of 1: its value is the number of the commit.
_PROBE = "probe"
_RESULT = ("desk", "value", "value_at_risk", "expected_shortfall", "observations")
_PRICES = {"date": "day", "asset": "asset", "price": "close"}
OURS, UPSERTS, PLAIN = (
    "plane.watch, append",
    "plane.watch, upsert",
    "poll, psycopg and pandas, executemany, JSON",
)


class Watched(NamedTuple):
    """What both ways are told."""

    home: Path
    dsn: str
    positions: str
    closes: str
    risk: str


def watch_risk(ground: LiveGround, closing: ExitStack) -> Answer:
    """Ours and the plain way, one after the other, over the same commits."""
    at = _made(ground)
    for table, name in zip((at.positions, at.closes), _NAMES, strict=True):
        ground.plane.live(table, name=name)
        closing.callback(ground.plane.drop_live, name)
    redis = _redis(ground.plane)
    closing.callback(redis.close)
    closing.callback(redis.delete, _KEY)
    steps = max(5, int(ground.sizes.seconds * _COMMITS_PER_S))
    ground.watcher.expect(len(WAYS))
    lines: dict[str, list[Line]] = {"PostgreSQL": [], "Redis": []}
    skipped = {}
    for way, (work, decode) in WAYS.items():
        if way == PLAIN and (missing := _missing()):
            skipped[way] = f"{missing} is not installed"
            continue
        ground.run(f"UPDATE {at.positions} SET quantity = 0 WHERE desk = '{_PROBE}'")  # noqa: S608
        ground.run(f"DROP TABLE IF EXISTS {at.risk}")
        redis.delete(_KEY)
        kind: Kind = "rival" if way == PLAIN else "ours"
        with other(work, at) as process:
            process.wait_ready()
            seen = [_seen(ground, redis, at, decode, step) for step in range(1, steps + 1)]
        _require_right(ground, at, way)
        for place, samples in zip(lines, zip(*seen, strict=True), strict=True):
            lines[place].append(Line(way, kind, spread(samples)))
        ground.watcher.step()
    goals = [under(f"p50 in {place}", found[0].spread.p50_s, _P50_S)
             for place, found in lines.items()]  # fmt: skip
    notes = [
        "one commit after the other; ours publishes in Redis what is stored in PostgreSQL",
        f"the plain way looks at its positions every {_PLAIN_PAUSE_S * 1e3:g} ms, and reads the "
        "prices again when they changed",
    ]
    parts = [Part(f"in {place}", found) for place, found in lines.items()]
    question = "From a commit of a position to its risk in PostgreSQL and in Redis"
    return Answer("watch", question, parts, goals, notes, skipped)


def _made(ground: LiveGround) -> Watched:
    """Assets, desks and days; the last one is the probe's."""
    assets, days = (50, 250) if ground.sizes.seconds >= 1 else (5, 20)
    at = Watched(ground.home, ground.dsn, *map(ground.table, ("positions", "closes", "risk")))
    ground.run(
        f"CREATE TABLE {at.closes} (asset text NOT NULL, day int NOT NULL, close float8 NOT NULL, "
        "PRIMARY KEY (asset, day))"
    )
    ground.run(
        f"INSERT INTO {at.closes} SELECT 'A' || a, d, "  # noqa: S608
        f"CASE WHEN d = {days} THEN 1.0 ELSE 1 + ((a * 37 + d * 17) % 101) / 400.0 END "
        f"FROM generate_series(0, {assets}) a, generate_series(0, {days}) d"
    )
    ground.run(
        f"CREATE TABLE {at.positions} (desk text NOT NULL, asset text NOT NULL, "
        "quantity float8 NOT NULL, PRIMARY KEY (desk, asset))"
    )
    ground.run(
        f"INSERT INTO {at.positions} SELECT 'D' || d, 'A' || a, (a * 7 + d * 3) % 50 - 20 "  # noqa: S608
        f"FROM generate_series(1, {assets}) a, generate_series(1, 4) d "
        f"UNION ALL SELECT '{_PROBE}', 'A0', 0"
    )
    return at


def _seen(
    ground: LiveGround, redis: Redis, at: Watched, decode: Callable[[bytes], float], step: int
) -> tuple[int, int]:
    """Nanoseconds from the commit's return until its figure was in PostgreSQL, and in Redis."""
    ground.run(
        f"UPDATE {at.positions} SET quantity = {step} WHERE desk = '{_PROBE}'"  # noqa: S608
    )
    returned_ns = time.monotonic_ns()
    found: list[int | None] = [None, None]
    ask = f"SELECT max(value) FROM {at.risk} WHERE desk = '{_PROBE}'".encode()  # noqa: S608
    while None in found:
        if found[0] is None:
            row = ground.connection.execute(ask).fetchone()
            if row is not None and row[0] == step:
                found[0] = time.monotonic_ns() - returned_ns
        if found[1] is None:
            value: Any = redis.get(_KEY)
            if value is not None and decode(value) == step:
                found[1] = time.monotonic_ns() - returned_ns
        if time.monotonic_ns() - returned_ns > _REACHED_S_MAX * 1e9:
            raise StaleError(
                f"commit {step} has no figure after {_REACHED_S_MAX:g} s",
                hint="see the log of the home",
                table=at.risk,
                why="no run came",
            )
        time.sleep(_PAUSE_S)
    stored_ns, published_ns = found
    assert stored_ns is not None  # noqa: S101  the loop's end
    assert published_ns is not None  # noqa: S101
    return stored_ns, published_ns


def _require_right(ground: LiveGround, at: Watched, way: str) -> None:
    """ResultsDifferError where it is not the workload run by hand over SELECT's rows."""
    from neural_gpu_bus.workloads import check_params, find

    workload, plane = find("risk.portfolio"), ground.plane
    renamed = ", ".join(f"{own} AS {name}" for name, own in _PRICES.items())
    inputs = {
        "positions": plane.query(f"SELECT * FROM {at.positions}"),  # noqa: S608
        "prices": plane.query(f"SELECT {renamed} FROM {at.closes}"),  # noqa: S608
    }
    params = check_params(workload, {})
    arrays = workload.prepare(inputs, params)
    expected = workload.table(workload.kernels.cpu(arrays, params), params).sort_by("desk")
    newest = f"WHERE as_of_lsn::pg_lsn = (SELECT max(as_of_lsn::pg_lsn) FROM {at.risk})"  # noqa: S608
    read = f"SELECT {', '.join(_RESULT)} FROM {at.risk} "  # noqa: S608
    found = plane.query(read + (newest if way == OURS else "")).arrow().sort_by("desk")
    require_equal(
        {name: expected[name].to_pylist() for name in _RESULT},
        {name: found[name].to_pylist() for name in _RESULT},
        workload="watch",
        way=way,
        place="its rows",
        reference="by hand",
    )


def _redis(plane: DataPlane) -> Redis:
    from neural_gpu_bus.stores.redis import connect

    url = plane.addresses.compute_redis_url.get_secret_value()
    return connect(url, timeout_s=plane.settings.connect_timeout_s)


def _missing() -> str:
    """A library of the plain way that is not there."""
    from importlib.util import find_spec

    return next((name for name in ("pandas", "scipy") if find_spec(name) is None), "")


# ---- in processes of their own


def run_appended(pipe: Connection, at: Watched) -> None:
    """Ours, until the pipe ends; each result stays."""
    _run_watched(pipe, at, [])


def run_upserted(pipe: Connection, at: Watched) -> None:
    """Ours; the newest result takes the place of the one before."""
    _run_watched(pipe, at, ["desk"])


def _run_watched(pipe: Connection, at: Watched, key: list[str]) -> None:
    import neural_gpu_bus as ngb

    inputs = {"positions": _NAMES[0], "prices": ngb.LiveInput(_NAMES[1], columns=_PRICES)}
    with (
        ngb.open(home=at.home) as plane,
        plane.watch(
            "risk.portfolio", inputs=inputs, store=at.risk, key=key, publish=_KEY, name=at.risk
        ) as watch,
    ):
        first = watch.next(_REACHED_S_MAX)
        if first is not None and first.error is not None:
            raise first.error
        watch.start()
        say_ready(pipe)
        with suppress(EOFError):
            pipe.recv()


def run_plain(pipe: Connection, at: Watched) -> None:
    """As one writes it without this package."""
    import pandas as pd
    import psycopg

    import neural_gpu_bus as ngb
    from neural_gpu_bus.benchmarks.traditional_maths import portfolio_risk

    prices = f"SELECT {', '.join(f'{own} AS {name}' for name, own in _PRICES.items())} "
    with (
        ngb.open(home=at.home) as plane,
        _redis(plane) as redis,
        psycopg.connect(at.dsn, autocommit=True) as connection,
    ):
        _make_risk(connection, at.risk)

        def read(statement: str) -> pd.DataFrame:
            cursor = connection.execute(statement.encode())
            names = [column.name for column in cursor.description or ()]
            return pd.DataFrame(cursor.fetchall(), columns=names)

        before, is_first = None, True
        while not pipe.poll(0 if is_first else _PLAIN_PAUSE_S):
            positions = read(f"SELECT * FROM {at.positions}")  # noqa: S608
            if before is not None and positions.equals(before):
                continue
            before = positions
            result = portfolio_risk(read(f"{prices} FROM {at.closes}"), positions)
            _store(connection, at.risk, result.itertuples(index=False, name=None))
            redis.set(_KEY, result.to_json(orient="records"))
            if is_first:
                is_first = False
                say_ready(pipe)


def _make_risk(connection: Any, table: str) -> None:
    connection.execute(
        f"CREATE TABLE {table} (desk text PRIMARY KEY, value float8, value_at_risk float8, "
        "expected_shortfall float8, observations bigint)"
    )


def _store(connection: Any, table: str, rows: Any) -> None:
    sets = ", ".join(f"{name} = excluded.{name}" for name in _RESULT[1:])
    statement = (
        f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s) "  # noqa: S608
        f"ON CONFLICT (desk) DO UPDATE SET {sets}"
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(rows))


def _probe_of_stream(value: bytes) -> float:
    from neural_gpu_bus.stores.redis.columns import decode_stream

    rows = decode_stream(value, _KEY)
    return float(rows["value"][rows["desk"].to_pylist().index(_PROBE)].as_py())


def _probe_of_json(value: bytes) -> float:
    return float(next(row["value"] for row in msgspec.json.decode(value) if row["desk"] == _PROBE))


WAYS: Mapping[str, tuple[Callable[..., None], Callable[[bytes], float]]] = MappingProxyType(
    {
        OURS: (run_appended, _probe_of_stream),
        UPSERTS: (run_upserted, _probe_of_stream),
        PLAIN: (run_plain, _probe_of_json),
    }
)
