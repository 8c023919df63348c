"""Random transactions over random tables. All money together is zero after each of them."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors, sql

from live_oracle_tables import IDS, RandomTable

#: What happens among writers that meet: the transaction is rolled back, and another one comes.
EXPECTED = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.UniqueViolation,
    errors.UndefinedColumn,
    errors.DatatypeMismatch,
    errors.InvalidTextRepresentation,
    errors.StringDataRightTruncation,
    errors.NotNullViolation,
    errors.FeatureNotSupported,
    errors.LockNotAvailable,
    errors.NumericValueOutOfRange,
    errors.InFailedSqlTransaction,
    errors.QueryCanceled,
    errors.UndefinedTable,
    errors.ObjectNotInPrerequisiteState,
    errors.CheckViolation,
    errors.IndeterminateDatatype,
    errors.AmbiguousFunction,
    errors.CannotCoerce,
    errors.DependentObjectsStillExist,
    errors.DuplicateTable,
    errors.InvalidObjectDefinition,
    errors.InvalidDatetimeFormat,
)
_DELETE = "DELETE FROM {} WHERE id BETWEEN %s AND %s"
_DELETE_OTHERS = "DELETE FROM {} WHERE id NOT BETWEEN %s AND %s"
#: Between two transactions that come because something else lasts.
SLOWER_S = 0.02
#: Ids of rows that come by COPY, by many.
_numbers = itertools.count(1_000)


class Writer:
    """One connection, for as long as it stays."""

    def __init__(self, dsn: str, tables: Sequence[RandomTable], seed: int) -> None:
        self._dsn = dsn
        self._tables = tables
        self._rich = [one for one in tables if one.has_money]
        self._chance = random.Random(seed)
        self._connection: psycopg.Connection[Any] | None = None
        #: What it did, newest last, and whether that was committed.
        self.log: list[str] = []
        self.committed = self.rolled_back = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def transaction(self) -> None:
        """One, of random steps; rolled back where it fails or chance says so."""
        try:
            connection = self._connected()
            with connection.transaction(force_rollback=self._chance.random() < 0.15) as made:
                connection.execute("SET LOCAL lock_timeout = '2s'")
                for _ in range(self._chance.choice((1, 1, 2, 3, 6))):
                    self._step(connection)
            self.rolled_back += made.force_rollback
            self.committed += not made.force_rollback
            self.log.append("ROLLBACK" if made.force_rollback else "COMMIT")
        except EXPECTED as error:
            self.rolled_back += 1
            self.log.append(f"ROLLBACK: {type(error).__name__} {error}")
        except psycopg.OperationalError as error:
            self.log.append(f"LOST: {error}")
            self._connection = None
            time.sleep(0.05)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
        return self._connection

    def _step(self, connection: psycopg.Connection[Any]) -> None:
        if self._chance.random() < 0.2:
            undone = self._chance.random() < 0.5
            self.log.append("SAVEPOINT")
            with connection.transaction(force_rollback=undone):
                self._step(connection)
            self.log.append("ROLLBACK TO" if undone else "RELEASE")
            return
        table, other = self._chance.choice(self._tables), self._chance.choice(self._rich)
        name, weight = zip(*_WEIGHTS.items(), strict=True)
        chosen = self._chance.choices(name, weight)[0]
        if chosen == "transfer" and not table.has_money:
            table = self._chance.choice(self._rich)
        if table.append_only and chosen not in _GROWING:
            chosen = "insert_several"
        self.log.append(f"{chosen} {table.name} {other.name}")
        getattr(self, f"_{chosen}")(connection, table, other)

    def write_one(self, table: RandomTable) -> None:
        """A row that nobody else has; or none, where that fails."""
        with suppress(*EXPECTED, psycopg.OperationalError):
            connection = self._connected()
            with connection.transaction():
                self._put(connection, table, [next(_numbers)])

    # ---- steps

    def _rows(self, table: RandomTable, ids: Sequence[int], money: int = 0) -> list[list[Any]]:
        columns = list(table.columns)
        return [[number, money, *(one.value(self._chance) for one in columns)] for number in ids]

    def _id(self) -> int:
        return self._chance.randrange(IDS)

    def _put(
        self,
        connection: psycopg.Connection[Any],
        table: RandomTable,
        ids: Sequence[int],
        money: int = 0,
        update: bool = False,
    ) -> None:
        """Rows that come, or change the one that is there."""
        columns = list(table.columns)
        names = [sql.Identifier(name) for name in ("id", "money", *(c.name for c in columns))]
        rows = [[n, money, *(c.value(self._chance) for c in columns)] for n in ids]
        row = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(names)))
        statement = sql.SQL("INSERT INTO {} AS old ({}) VALUES {}").format(
            table.identifier, sql.SQL(", ").join(names), sql.SQL(", ").join([row] * len(rows))
        )
        if table.identity in {"default", "index"}:
            changes = [sql.SQL("money = old.money + excluded.money")]
            if update:
                changes += [sql.SQL("{0} = excluded.{0}").format(name) for name in names[2:]]
            statement += sql.SQL(" ON CONFLICT (id) DO UPDATE SET {}").format(
                sql.SQL(", ").join(changes)
            )
        connection.execute(statement, [value for row in rows for value in row])

    def _insert(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        self._put(connection, table, [self._id()])

    def _insert_several(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        ids = {self._id() for _ in range(self._chance.choice((3, 10, 30)))}
        self._put(connection, table, sorted(ids), update=self._chance.random() < 0.5)

    def _upsert(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        self._put(connection, table, [self._id()], update=True)

    def _transfer(self, connection: Any, table: RandomTable, other: RandomTable) -> None:
        money = self._chance.randrange(1, 1_000)
        self._put(connection, table, [self._id()], money)
        self._put(connection, other, [self._id()], -money)

    def _change(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        columns = list(table.columns)
        chosen = self._chance.sample(columns, self._chance.randrange(len(columns)) + 1)
        first = self._id()
        self._update(
            connection,
            table,
            {one.name: one.value(self._chance) for one in chosen},
            (first, first + self._chance.choice((0, 0, 3, IDS))),
        )

    def _change_plain(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        """What a wide value that stays is left out of."""
        chosen = [one for one in table.columns if one.name != "wide"]
        one, first = self._chance.choice(chosen), self._id()
        self._update(connection, table, {one.name: one.value(self._chance)}, (first, first + 5))

    def _update(
        self, connection: Any, table: RandomTable, values: dict[str, Any], ids: tuple[int, int]
    ) -> None:
        changes = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values]
        connection.execute(
            sql.SQL("UPDATE {} SET {} WHERE id BETWEEN %s AND %s").format(
                table.identifier, sql.SQL(", ").join(changes)
            ),
            [*values.values(), *ids],
        )

    def _swap(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        one, other = self._chance.sample(range(IDS), 2)
        hidden = -1 - next(_numbers)
        for before, after in ((one, hidden), (other, one), (hidden, other)):
            self._update(connection, table, {"id": after}, (before, before))

    def _shift(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        """Keys that are free, also of another partition."""
        self._update(connection, table, {"id": next(_numbers)}, (before := self._id(), before))

    def _delete(self, connection: Any, table: RandomTable, other: RandomTable) -> None:
        first = self._id()
        last = first + self._chance.choice((0, 2, 9))
        self._gone(connection, table, other, _DELETE, first, last)

    def _delete_far(self, connection: Any, table: RandomTable, other: RandomTable) -> None:
        """What came by COPY and the like, so that tables stay small."""
        self._gone(connection, table, other, _DELETE_OTHERS, 0, IDS)

    def _gone(
        self, connection: Any, table: RandomTable, other: RandomTable, statement: str, *ids: int
    ) -> None:
        text = sql.SQL(statement + " RETURNING money")  # type: ignore[arg-type]
        gone = connection.execute(text.format(table.identifier), ids).fetchall()
        money = sum(row[0] for row in gone)
        if money:
            self._put(connection, other, [self._id()], money)

    def _delete_insert(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        one = self._id()
        self._gone(connection, table, table, _DELETE, one, one)
        self._put(connection, table, [one])

    def _truncate(self, connection: Any, table: RandomTable, other: RandomTable) -> None:
        """Maybe with another table that names its rows."""
        gone = [table, *(one for one in self._tables if one.refers_to is table)]
        money = 0
        for one in gone:
            connection.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(one.identifier)
            )
            total = sql.SQL("SELECT coalesce(sum(money), 0)::int8 FROM {}").format(one.identifier)
            money += connection.execute(total).fetchone()[0]
        cascade = sql.SQL(" CASCADE" if len(gone) > 1 else "")
        connection.execute(sql.SQL("TRUNCATE {}").format(table.identifier) + cascade)
        self._put(connection, other, [self._id()], money)

    def _copy(self, connection: Any, table: RandomTable, _: RandomTable) -> None:
        columns = list(table.columns)
        names = [sql.Identifier(name) for name in ("id", "money", *(c.name for c in columns))]
        text = sql.SQL("COPY {} ({}) FROM STDIN").format(
            table.identifier, sql.SQL(", ").join(names)
        )
        count = self._chance.choice((1, 20, 200))
        with connection.cursor() as cursor, cursor.copy(text) as copy:
            for _ in range(count):
                copy.write_row([next(_numbers), 0, *(c.value(self._chance) for c in columns)])


_WEIGHTS = {
    "insert": 6,
    "insert_several": 4,
    "upsert": 6,
    "transfer": 10,
    "change": 10,
    "change_plain": 6,
    "swap": 3,
    "shift": 2,
    "delete": 4,
    "delete_far": 2,
    "delete_insert": 2,
    "truncate": 0.5,
    "copy": 2,
}
#: What comes to tables whose rows are never changed.
_GROWING = {"insert", "insert_several", "transfer", "truncate", "copy"}


class Writers:
    """Several of them, at the same time, for one batch after the other."""

    def __init__(self, dsn: str, tables: Sequence[RandomTable], count: int, seed: int) -> None:
        self._writers = [Writer(dsn, tables, seed + number) for number in range(count)]

    def batch(self, transactions: int, meanwhile: Callable[[], object]) -> None:
        """So many of each; ``meanwhile`` is done beside them. While it lasts they go on, slower."""
        failed: list[BaseException] = []
        over = threading.Event()

        def run(writer: Writer) -> None:
            try:
                for _ in range(transactions):
                    writer.transaction()
                while not over.wait(SLOWER_S):
                    writer.transaction()
            except BaseException as error:  # noqa: BLE001  a defect of the test: told below
                failed.append(error)

        threads = [threading.Thread(target=run, args=(one,)) for one in self._writers]
        for thread in threads:
            thread.start()
        try:
            meanwhile()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        if failed:
            raise failed[0]

    def write_one(self, table: RandomTable) -> None:
        """While no batch runs: one row more."""
        self._writers[0].write_one(table)

    def told(self, text: str) -> None:
        """Told with the steps."""
        self._writers[0].log.append(text)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def counts(self) -> tuple[int, int]:
        """Transactions that were committed, and rolled back."""
        return (
            sum(writer.committed for writer in self._writers),
            sum(writer.rolled_back for writer in self._writers),
        )

    def newest(self, table: str) -> str:
        """The newest steps that name a table."""
        lines = [line for writer in self._writers for line in writer.log[-60:]]
        return "\n".join(line for line in lines if table in line or line.isupper())
