"""Live tables against SELECT, after random transactions, definitions, kills and crashes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import psycopg

from live_oracle_definitions import change_definition, change_partitions
from live_oracle_home import RECOVERY_S, LiveHome
from live_oracle_large import remove_many, write_many
from live_oracle_readers import look_all_the_time
from live_oracle_tables import SCHEMA, RandomTable, multiset, random_tables
from live_oracle_writers import EXPECTED, Writers
from memory_actors import forking
from neural_gpu_bus.errors import DatasetEvictedError, StaleError
from neural_gpu_bus.live.live_table import LiveTable

#: Connections that write at the same time, and what each does between two comparisons.
WRITERS, TRANSACTIONS = 3, 12
#: Until a table is live for the first time.
DECLARED_S = 60.0
#: Until a change is heard of, and tables that are copied anew are live.
COPIES_BEGIN_S, COPIED_S_MAX = 0.1, 10.0
#: One in so many comparisons looks for a row that was written just before.
OWN_WRITE_EVERY = 4
#: How often the process that follows is looked at while it stands still.
STILL_LOOKS = 5
ACKNOWLEDGED = (
    "SELECT slot_name, pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::int8 FROM pg_replication_slots "
    "WHERE active"
)
#: Of more rows than so many only what names and orders them is compared, and their money.
WHOLE_ROWS_MAX = 5_000
#: A process that was killed is away ever longer, up to 30 s: that is said, and not tested here.
WAIT_S = 60.0


class Oracle:
    """Random tables on a server, live in a home; ``step`` by ``step`` compared."""

    def __init__(self, home: LiveHome, seed: int, tables: int = 8, *, pause_s: float = 0.0) -> None:
        """``pause_s``: rest between two steps, so that other tests have the machine."""
        self.home, self.chance = home, random.Random(seed)
        self.seed, self.pause_s = seed, pause_s
        self._connection: psycopg.Connection[Any] | None = None
        self.tables = random_tables(self.chance, tables)
        with psycopg.connect(home.server.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{SCHEMA}"')
            connection.execute("CREATE TYPE pair AS (number int8, words text[])")
            for table in self.tables:
                table.create(connection)
        self.writers = Writers(home.server.dsn(), self.tables, WRITERS, seed)
        self.live: dict[str, LiveTable] = {}
        self.done: Counter[str] = Counter()
        #: When the last batch was over.
        self._over_s = time.monotonic()

    def declared(self) -> list[dict[str, Any]]:
        """For readers elsewhere, with whether its money counts."""
        return [{**one.declared(), "has_money": one.has_money} for one in self.tables]

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
        self.step_with(chosen)

    def step_with(self, chosen: str) -> None:
        """The same with that event; none where it is empty."""
        event: Callable[[], object] = getattr(self, chosen) if chosen else lambda: None
        self.writers.batch(TRANSACTIONS, event)
        self._over_s = time.monotonic()
        self.done[chosen or "nothing"] += 1
        self.compare(chosen)
        time.sleep(self.pause_s)

    def define(self) -> None:
        """Another definition of some table."""
        table = self.chance.choice(self.tables)
        time.sleep(self.chance.random() * 0.1)
        text = change_definition(self.home.server.dsn(), table, self.chance)
        self.writers.told(text or "NO DEFINITION")
        self._whole_again()

    def part(self) -> None:
        """Partitions come and go."""
        table = self.chance.choice([one for one in self.tables if one.parted])
        text = change_partitions(self.home.server.dsn(), table, self.chance)
        self.writers.told(text or "NO PARTITION")
        self._whole_again()

    def large(self, rows: int = 50_000) -> None:
        """A transaction that comes in several parts."""
        table, other = self.chance.sample([one for one in self.tables if one.has_money], 2)
        try:
            write_many(self.home.server.dsn(), table, other, rows)
        except EXPECTED as error:
            self.writers.told(f"NOT MANY: {error}")
        else:
            self.writers.told(f"{rows} {table.name} {other.name}")

    def small(self) -> None:
        """Such rows go again."""
        rich = [one for one in self.tables if one.has_money]
        with suppress(*EXPECTED):
            remove_many(self.home.server.dsn(), rich, self.chance.choice(rich))
        self.writers.told("NO LARGE ONES")

    def huge(self) -> None:
        """One of a million rows."""
        self.large(1_000_000)

    def persist(self) -> None:
        """From now on the slot outlives its sessions, and tables go on without a copy."""
        declared = self.chance.choice(self.tables).declared()
        self.home.plane.live(**declared, slot="persistent", timeout_s=WAIT_S)

    def kill(self) -> None:
        """The process that follows the tables."""
        time.sleep(self.chance.random() * 0.2)
        self.home.kill()
        self._whole_again()

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
        self._whole_again()

    def _whole_again(self) -> None:
        """Writers go on while tables are copied, and a little behind that; not for ever."""
        end_s = time.monotonic() + COPIED_S_MAX
        time.sleep(COPIES_BEGIN_S)
        while time.monotonic() < end_s:
            if {one.state for one in self.home.plane.live_states().values()} == {"live"}:
                return
            time.sleep(0.01)

    # ---- comparing

    def compare(self, after: str = "") -> None:
        """Every table is as SELECT says, at the end of the WAL as it is now."""
        with self._connected() as connection:
            position = wal_end(connection)
            for table in self.tables:
                self.compare_one(connection, table, position, after)
            self._compare_acknowledged(connection)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        """One for all comparisons, for as long as its server lives."""
        connection, self._connection = self._connection, None
        with suppress(psycopg.OperationalError):
            if connection is not None:
                connection.execute("SELECT 1")
        if connection is None or connection.closed:
            connection = psycopg.connect(
                self.home.server.dsn(), autocommit=True, prepare_threshold=None
            )
        self._connection = connection
        yield connection

    def __enter__(self) -> Self:
        """All are live."""
        try:
            self.writers.batch(5, lambda: None)
            for one in self.tables:
                self.live[one.name] = self.home.plane.live(**one.declared(), timeout_s=DECLARED_S)
        except BaseException:
            self.writers.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the server."""
        self.writers.close()
        if self._connection is not None:
            self._connection.close()

    def compare_one(
        self, connection: psycopg.Connection[Any], table: RandomTable, position: int, after: str
    ) -> None:
        """``position``: the end of the WAL."""
        if not self.chance.randrange(OWN_WRITE_EVERY):
            self.writers.write_one(table)
            position = wal_end(connection)
            self._over_s = time.monotonic()
        try:
            found = self._looked(self.live[table.name], position)
        except StaleError as error:
            raise AssertionError(f"{self._told(table, after)}\n{error}") from error
        only = None
        if found.num_rows > WHOLE_ROWS_MAX:
            wanted_names = {"id", "money", *table.key, table.order_by}
            only = [name for name in found.column_names if name in wanted_names]
            found = found.select(only)
        names, wanted = table.select(connection, only)
        told = f"columns {found.column_names}, and not {names}"
        assert found.column_names == names, told + self._told(table, after)
        rows = multiset(list(zip(*[column.to_pylist() for column in found.columns], strict=True)))
        if rows != wanted:
            raise AssertionError(_difference(names, rows, wanted) + self._told(table, after))
        self._compare_partitions(table, self.live[table.name], found)

    def _looked(self, live: LiveTable, position: int) -> Any:
        """All of it, by one of the three ways to know that it is not too old."""
        way = self.chance.choice(("wait for", "at", "lag"))
        if way == "at":
            with suppress(DatasetEvictedError):  # something else was published behind it
                return live.at(position, WAIT_S).arrow()
        if way != "lag":
            live.wait_for(position, WAIT_S)
            return live.arrow()
        end_s = time.monotonic() + WAIT_S
        while True:
            try:
                return live.arrow(max_lag_s=time.monotonic() - self._over_s)
            except StaleError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.01)

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

    def still(self) -> None:
        """In the midst of changes: what the server may forget by now is where readers see it."""
        for _ in range(STILL_LOOKS):
            time.sleep(self.chance.random() * 0.02)
            with suppress(ProcessLookupError):
                pid = self.home.wait_pid()
                os.kill(pid, signal.SIGSTOP)
                try:
                    with self._connected() as connection:
                        self._compare_acknowledged(connection)
                finally:
                    os.kill(pid, signal.SIGCONT)

    def _compare_acknowledged(self, connection: psycopg.Connection[Any]) -> None:
        """While a table is copied the positions may be those of another stream."""
        acknowledged = connection.execute(ACKNOWLEDGED).fetchall()
        states = {one.state for one in self.home.plane.live_states().values()}
        applied = self.home.plane.live_view.progress().applied_lsn
        if states == {"live"}:
            too_far = [one for one in acknowledged if one[1] > applied]
            assert not too_far, f"{too_far} were acknowledged, and {applied} is published"

    def _told(self, table: RandomTable, after: str) -> str:
        return (
            f"\nseed {self.seed}, {dict(self.done)}, now {after!r}\n{table}\n"
            f"{self.home.state(table.live_name)}\n{self.writers.newest(table.name)}\n"
            f"{self.home.log()}"
        )


def wal_end(connection: psycopg.Connection[Any]) -> int:
    """Whatever was committed lies before."""
    statement = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def _difference(names: Sequence[str], found: Counter[Any], wanted: Counter[Any]) -> str:
    missing, extra = list((wanted - found).elements()), list((found - wanted).elements())
    lines = [f"{len(missing)} rows are missing, {len(extra)} should not be there: {names}"]
    lines += [f"  missing {str(row)[:600]}" for row in missing[:5]]
    lines += [f"  too much {str(row)[:600]}" for row in extra[:5]]
    return "\n".join(lines)


@contextmanager
def readers(
    home: LiveHome, declared: Sequence[dict[str, Any]], count: int
) -> Iterator[Callable[[], None]]:
    """So many processes look all the time; what any saw that is wrong fails in the end, or as soon
    as what comes is called.
    """
    context = forking()
    started = []
    for _ in range(count):
        here, there = context.Pipe()
        process = context.Process(
            target=look_all_the_time, args=(home.settings, declared, there), daemon=True
        )
        process.start()
        started.append((process, here))

    def check() -> None:
        for _, here in started:
            assert not here.poll(), here.recv()[2]  # it tells when it saw something wrong

    try:
        for _, here in started:
            assert here.poll(RECOVERY_S), "a reader does not begin"
            assert here.recv() == "looking"
        yield check
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
