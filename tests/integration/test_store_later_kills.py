"""Processes are killed and the server crashes at random: every acknowledged row arrives once.

NGB_TEST_SEED repeats a run; NGB_TEST_KILLS sets how many of each kind the long one has.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from fix_servers import short_folder, wait_until
from memory_actors import forking
from own_server import OwnServer, own_server
from write_behind_actor import TABLES, open_write_behind, store_until_killed

pytestmark = pytest.mark.slow

ACTORS = 2
SHORT_S = 5.0


class World:
    """Some processes that store into one home, and their server."""

    def __init__(self, server: OwnServer, folder: Path, seed: int) -> None:
        self.server, self.folder = server, folder
        self.chance = random.Random(seed)
        self.kills = self.crashes = 0
        self._context = forking()
        self._actors: list[ForkServerProcess] = []
        self._born = 0
        for table in TABLES:
            columns = "id bigserial, actor int8, n int8, value float8"
            server.run(f"SET synchronous_commit = on; CREATE TABLE {table} ({columns})")

    def _log(self, actor: int) -> Path:
        return self.folder / f"{actor}.log"

    def populate(self) -> None:
        """As many actors as there should be."""
        while len(self._actors) < ACTORS:
            given = (
                self.server.dsn(),
                self.folder / "write-behind",
                self._born,
                self._log(self._born),
                self.chance.randrange(1 << 31),
            )
            actor = self._context.Process(target=store_until_killed, args=given)
            actor.start()
            self._actors.append(actor)
            self._born += 1

    def kill(self) -> None:
        """One of them, by SIGKILL."""
        actor = self._actors.pop(self.chance.randrange(len(self._actors)))
        assert actor.exitcode is None, "an actor ended by itself"
        actor.kill()
        actor.join()
        self.kills += 1

    def crash(self) -> None:
        """The server, as `pg_ctl stop -m immediate`, and start it again a little later."""
        self.server.stop(signal.SIGQUIT)
        time.sleep(self.chance.random() * 0.2)
        self.server.start()
        self.crashes += 1

    def wait_first(self) -> None:
        """Importing takes seconds where nothing is cached; later ones are forks."""
        self.populate()
        log = self._log(0)
        wait_until(lambda: log.exists() and log.stat().st_size, "the first acknowledgement")

    def step(self) -> None:
        """Something bad, after a while."""
        self.populate()
        time.sleep(self.chance.random() * 0.4)
        if self.chance.random() < 0.5:
            self.kill()
        else:
            self.crash()

    def end(self) -> None:
        while self._actors:
            self.kill()

    def deliver_the_rest(self) -> None:
        """One more process of that home, for as long as anything waits."""
        opened, pool = open_write_behind(self.server.dsn(), self.folder / "write-behind")
        opened.resume()
        end_s = time.monotonic() + 60
        while opened.statistics().waiting_records or self._journals():
            assert time.monotonic() < end_s, opened.statistics()
            time.sleep(0.05)
        assert opened.statistics().set_aside == ()
        opened.close()
        pool.close()

    def _journals(self) -> list[Path]:
        return list((self.folder / "write-behind" / "journals").glob("*"))

    def check(self) -> int:
        """Rows that were acknowledged; each is there once, and in order."""
        acknowledged: dict[str, set[tuple[int, int]]] = {table: set() for table in TABLES}
        for actor in range(self._born):
            log = self._log(actor)
            for line in log.read_text().splitlines() if log.exists() else ():
                table, first, rows = line.split()
                numbers = range(int(first), int(first) + int(rows))
                acknowledged[table].update((actor, n) for n in numbers)
        for table in TABLES:
            found = self.server.run(f"SELECT actor, n FROM {table} ORDER BY id")
            counts = Counter(found)
            assert not acknowledged[table] - counts.keys(), "acknowledged rows are missing"
            assert max(counts.values(), default=1) == 1, "rows are there twice"
            for actor in range(self._born):
                own = [n for owner, n in found if owner == actor]
                assert own == sorted(own), f"rows of actor {actor} came out of order"
        assert self.server.run("SELECT * FROM ngb_ledger.delivered_batches") == []
        return sum(map(len, acknowledged.values()))


@pytest.fixture
def world() -> Iterator[World]:
    seed = int(os.environ.get("NGB_TEST_SEED") or random.SystemRandom().randrange(1 << 31))
    print(f"seed {seed}")
    # A commit that nobody waits for is lost with the server: deliveries must not trust the setting.
    with own_server(synchronous_commit="off") as server, short_folder(0o700) as folder:
        made = World(server, folder, seed)
        try:
            made.wait_first()
            yield made
        finally:
            made.end()


def finish(world: World) -> None:
    world.end()
    world.deliver_the_rest()
    rows = world.check()
    assert rows
    print(f"{world.kills} processes killed, {world.crashes} crashes of the server, {rows} rows")


@pytest.mark.timeout(120)
def test_every_acknowledged_row_arrives_once_whoever_dies(world: World) -> None:
    end_s = time.monotonic() + SHORT_S
    while time.monotonic() < end_s:
        world.step()
    finish(world)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_every_acknowledged_row_arrives_once_by_the_hundred(world: World) -> None:
    wanted = int(os.environ.get("NGB_TEST_KILLS", "100"))
    while min(world.kills, world.crashes) < wanted:
        world.step()
    finish(world)
