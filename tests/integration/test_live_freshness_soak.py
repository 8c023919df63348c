"""Live queries under everything at once: writers, kills of the process, definitions, standbys.

NGB_TEST_LIVE_SEED and NGB_TEST_LIVE_SECONDS as for the oracle of live tables.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest

import neural_gpu_bus as ngb
from live_oracle_home import LiveHome, live_home, live_server
from neural_gpu_bus.errors import NeuralGpuBusError, QueryTimeoutError, StaleError

pytestmark = [pytest.mark.slow, pytest.mark.soak]

SECONDS = float(os.environ.get("NGB_TEST_LIVE_SECONDS", "120"))
TABLES = ("left_side", "right_side", "alone")
#: Both sides change together: their sum is 0 in whatever is of one moment.
SQL = (
    "SELECT l.n AS n, l.n + r.n AS sum FROM left_side l, right_side r",
    "SELECT n, 0 AS sum FROM left_side",
    "SELECT max(n) AS n, 0 AS sum FROM both_sides",
)
MAX_LAG_S = 2.0


class Watched:
    """What was committed when, and what was found wrong."""

    def __init__(self, home: LiveHome, seed: int) -> None:
        self.home = home
        self.random = random.Random(seed)
        self.end_s = time.monotonic() + SECONDS
        #: When a commit had returned, and its number.
        self.commits: list[tuple[float, int]] = [(time.monotonic(), 0)]
        self.wrong: list[Any] = []
        self.answers = self.hits = 0

    def write(self) -> None:
        """One writer counts up; now and then by TRUNCATE, or in a transaction that takes long."""
        number = 0
        while time.monotonic() < self.end_s:
            with suppress(psycopg.Error), psycopg.connect(self.home.server.dsn()) as writer:
                while time.monotonic() < self.end_s:
                    number += 1
                    if number % 50 == 0:
                        writer.execute("TRUNCATE left_side, right_side")
                        writer.execute("INSERT INTO left_side VALUES (1, %s)", [number])
                        writer.execute("INSERT INTO right_side VALUES (1, %s)", [-number])
                    else:
                        writer.execute("UPDATE left_side SET n = %s", [number])
                        writer.execute("UPDATE right_side SET n = %s", [-number])
                    writer.execute("UPDATE alone SET n = n + 1")
                    writer.commit()
                    self.commits.append((time.monotonic(), number))
                    time.sleep(self.random.choice([0, 0.001, 0.01, 0.2]))

    def read(self, plane: ngb.DataPlane, sql: str) -> None:
        """Compare with what a live table showed before, and with what was committed long ago."""
        table = plane.live("left_side", timeout_s=60)
        newest = 0
        while time.monotonic() < self.end_s:
            seen = 0
            with suppress(StaleError, NeuralGpuBusError, IndexError):
                seen = int(table.last(1)["n"][0])
            began_s = time.monotonic()
            old = max(
                n for at_s, n in self.commits[-3000:] if at_s <= began_s - MAX_LAG_S or n == 0
            )
            try:
                found = plane.query(sql, freshness="live", max_lag_s=MAX_LAG_S, timeout_s=5)
            except (QueryTimeoutError, ngb.errors.ServerError):
                continue
            n, total = int(found["n"][0]), int(found["sum"][0])
            if total or n < max(seen, old, newest):
                self.wrong.append((sql, n, total, seen, old, newest))
            newest = n
            self.answers += 1

    def disturb(self) -> None:
        """Kills, definitions, publications, a standby that does not answer."""
        kinds: list[Callable[[], object]] = [
            self._kill,
            lambda: self._run("ALTER TABLE left_side ADD COLUMN more int DEFAULT 3"),
            lambda: self._run("ALTER TABLE left_side DROP COLUMN IF EXISTS more"),
            lambda: self._run("ALTER TABLE right_side ALTER n TYPE numeric, ALTER n TYPE int8"),
            self._unpublish,
            self._standby,
        ]
        while time.monotonic() < self.end_s:
            time.sleep(self.random.uniform(0.2, 4))
            with suppress(psycopg.Error):
                self.random.choice(kinds)()

    def _kill(self) -> None:
        pid = self.home.looked()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _run(self, statement: str) -> None:
        given = "SET lock_timeout = '2s'; SET synchronous_commit = local"
        self.home.server.run(f"{given}; {statement}")

    def _unpublish(self) -> None:
        rows = self.home.server.run(
            "SELECT pubname FROM pg_publication_tables WHERE tablename = 'right_side'"
        )
        if rows:
            self._run(f'ALTER PUBLICATION "{rows[0][0]}" DROP TABLE right_side')

    def _standby(self) -> None:
        try:
            self.name_standby("nobody")
            time.sleep(self.random.uniform(0.1, 1))
        finally:
            self.name_standby("")

    def name_standby(self, name: str) -> None:
        """Whose answer each commit waits for."""
        self.home.server.run(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        self.home.server.run("SELECT pg_reload_conf()")


@pytest.mark.timeout(SECONDS + 300)
def test_nobody_gets_less_than_he_saw_whatever_happens() -> None:
    seed = int(os.environ.get("NGB_TEST_LIVE_SEED", "0")) or random.randrange(1 << 30)
    print(f"NGB_TEST_LIVE_SEED={seed}")
    with live_server() as server, live_home(server) as home:
        for table in TABLES:
            server.run(f"CREATE TABLE {table} (id int8 PRIMARY KEY, n int8 NOT NULL)")
            server.run(f"INSERT INTO {table} VALUES (1, 0)")
        server.run("CREATE VIEW both_sides AS SELECT l.n FROM left_side l, right_side r")
        home.plane.live("left_side", timeout_s=60)
        watched = Watched(home, seed)
        planes = [ngb.open(**home.settings) for _ in SQL]
        threads = [threading.Thread(target=work) for work in (watched.write, watched.disturb)]
        threads += [
            threading.Thread(target=watched.read, args=[plane, sql])
            for plane, sql in zip(planes, SQL, strict=True)
        ]
        for thread in threads:
            thread.start()
        threads[1].join()  # the one that disturbs the others
        watched.name_standby("")
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        counted = [plane.query_cache.statistics() for plane in planes]
        for plane in planes:
            plane.close()
        print(watched.answers, "answers,", len(watched.commits), "commits,", counted)
    assert not watched.wrong
    assert watched.answers > 0
    assert sum(one.hits for one in counted) > 0
