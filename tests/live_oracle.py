"""Live tables against SELECT, after random transactions, definitions, kills and crashes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from live_oracle_home import RECOVERY_S, LiveHome
from live_oracle_readers import Declared, look_all_the_time
from live_oracle_tables import SCHEMA, RandomTable, multiset, random_tables
from live_oracle_writers import Writers, change_definition
from neural_gpu_bus.errors import StaleError
from neural_gpu_bus.live.live_table import LiveTable

#: Connections that write at the same time, and what each does between two comparisons.
WRITERS, TRANSACTIONS = 3, 12
#: A process that was killed is away ever longer, up to 30 s: that is said, and not tested here.
WAIT_S = 60.0


class Oracle:
    """Random tables on a server, live in a home; ``step`` by ``step`` compared."""

    def __init__(self, home: LiveHome, seed: int, tables: int = 4) -> None:
        self.home, self.chance = home, random.Random(seed)
        self.seed = seed
        self.tables = random_tables(self.chance, tables)
        with psycopg.connect(home.server.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{SCHEMA}"')
            for table in self.tables:
                table.create(connection)
        self.writers = Writers(home.server.dsn(), self.tables, WRITERS, seed)
        self.writers.batch(5, lambda: None)
        self.live = {one.name: self._live(one) for one in self.tables}
        self.done: Counter[str] = Counter()

    def _live(self, table: RandomTable) -> LiveTable:
        plane = self.home.plane
        return plane.live(table.live_name, key=table.key, order_by=table.order_by, timeout_s=WAIT_S)

    def declared(self) -> list[Declared]:
        """For readers elsewhere."""
        return [(one.live_name, one.key, one.order_by) for one in self.tables]

    # ---- one batch

    def step(self, events: dict[str, float]) -> None:
        """Transactions, maybe something else beside them, and a comparison of every table.

        ``events``: names of methods, and how likely each is.
        """
        drawn, chosen = self.chance.random(), ""
        for name, likely in events.items():
            drawn -= likely
            if drawn < 0:
                chosen = name
                break
        event: Callable[[], object] = getattr(self, chosen) if chosen else lambda: None
        self.writers.batch(TRANSACTIONS, event)
        self.done[chosen or "nothing"] += 1
        self.compare(chosen)

    def define(self) -> None:
        """Another definition of some table."""
        table = self.chance.choice(self.tables)
        time.sleep(self.chance.random() * 0.1)
        text = change_definition(self.home.server.dsn(), table, self.chance)
        self.writers.told_definition(text)

    def kill(self) -> None:
        """The process that follows the tables."""
        time.sleep(self.chance.random() * 0.2)
        self.home.kill()

    def pause(self) -> None:
        """The process that follows the tables, for a moment: it goes on where it stood."""
        with suppress(ProcessLookupError):  # it may end while it stands still
            pid = self.home.wait_pid()
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.chance.random() * 0.5)
            os.kill(pid, signal.SIGCONT)

    def crash(self) -> None:
        """The server."""
        time.sleep(self.chance.random() * 0.2)
        self.home.restart(self.chance.choice((signal.SIGQUIT, signal.SIGINT)))

    def cut(self) -> None:
        """The stream's session."""
        time.sleep(self.chance.random() * 0.2)
        self.home.server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")

    # ---- comparing

    def compare(self, after: str = "") -> None:
        """Every table is as SELECT says, at the end of the WAL as it is now."""
        position = self.home.position()
        for table in self.tables:
            self.compare_one(table, position, after)

    def compare_one(self, table: RandomTable, position: int, after: str) -> None:
        live = self.live[table.name]
        try:
            live.wait_for(position, WAIT_S)
        except StaleError as error:
            raise AssertionError(f"{self._told(table, after)}\n{error}") from error
        with psycopg.connect(self.home.server.dsn()) as connection:
            names, wanted = table.select(connection)
        found = live.arrow()
        assert found.column_names == names, self._told(table, after)
        rows = multiset(list(zip(*[column.to_pylist() for column in found.columns], strict=True)))
        if rows != wanted:
            raise AssertionError(_difference(names, rows, wanted) + self._told(table, after))
        self._compare_partitions(table, live, found)

    def _compare_partitions(self, table: RandomTable, live: LiveTable, whole: Any) -> None:
        """They have all rows, each where it belongs, in order."""
        if not table.key:
            return
        snapshot, rows = live.snapshot(), 0
        for key in snapshot.partitions():
            part = snapshot.arrow(**key)
            rows += part.num_rows
            for name, value in key.items():
                assert set(part[name].to_pylist()) == {value}, (table.name, key)
            if table.order_by is not None:
                values = part[table.order_by].to_pylist()
                assert values == sorted(values), (table.name, key, "falls")
        assert rows == whole.num_rows, (table.name, rows, whole.num_rows)

    def _told(self, table: RandomTable, after: str) -> str:
        return (
            f"\nseed {self.seed}, {dict(self.done)}, now {after!r}\n{table}\n"
            f"{self.home.state(table.live_name)}\n{self.writers.told(table.name)}\n"
            f"{self.home.log()}"
        )


def _difference(names: Sequence[str], found: Counter[Any], wanted: Counter[Any]) -> str:
    missing, extra = list((wanted - found).elements()), list((found - wanted).elements())
    lines = [f"{len(missing)} rows are missing, {len(extra)} should not be there: {names}"]
    lines += [f"  missing {str(row)[:600]}" for row in missing[:5]]
    lines += [f"  too much {str(row)[:600]}" for row in extra[:5]]
    return "\n".join(lines)


@contextmanager
def readers(home: LiveHome, declared: Sequence[Declared], count: int) -> Iterator[None]:
    """So many processes look all the time; what any saw that is wrong fails in the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["live_oracle_readers"])
    started = []
    for _ in range(count):
        here, there = context.Pipe()
        process = context.Process(
            target=look_all_the_time, args=(home.settings, declared, there), daemon=True
        )
        process.start()
        started.append((process, here))
    try:
        for _, here in started:
            assert here.poll(RECOVERY_S), "a reader does not begin"
            assert here.recv() == "looking"
        yield
        for _, here in started:
            here.send("enough")
            assert here.poll(RECOVERY_S), "a reader hangs"
            looks, stale, wrong = here.recv()
            assert not wrong, wrong
            print(f"a reader looked {looks} times, and {stale} times could not")
    finally:
        for process, _ in started:
            process.join(1)
            process.kill()
            process.join()
