"""Random tables for live tables, and what a SELECT of them says, value by value."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

#: Values that are longer than a page's quarter are stored apart: an update leaves them out.
WIDE_CHARACTERS = 9_000
#: Rows of one table are few, so that transactions meet.
IDS = 60
SCHEMA = "Oracle"
#: A column of the replica identity, so that a row filter may ask for it.
FILTERED = "Is shown"

_TEXTS = ("", "a", "b", "zé", "a longer text, with 'quotes' and \\", "\t\n", "NULL", "ü" * 40)
_WORDS = ("a", "b", "Ca d", "")


@dataclass(frozen=True)
class RandomColumn:
    """Beside ``id`` and ``money``, which each table has."""

    name: str
    type: str
    nullable: bool = True

    def value(self, chance: random.Random) -> Any:
        """For a statement; of jsonb as text."""
        if self.nullable and chance.random() < 0.2:
            return None
        if self.name == "wide":
            made = chance.choice(("short", chance.randbytes(WIDE_CHARACTERS // 2).hex()))
            return f"{{{made},NULL}}" if self.type == "text[]" else made
        if self.name.startswith("Key"):
            return _KEYS[self.type](chance)
        return _made(self.type, chance)


@dataclass
class RandomTable:
    """One table, and how it is declared live."""

    name: str
    columns: list[RandomColumn]
    key: tuple[str, ...] = ()
    order_by: str | None = None
    #: "default", "full", "index", or "none": rows only come, and go all at once.
    identity: str = "default"
    partitioned: bool = False
    #: Its partitions come and go.
    parted: bool = False
    #: A row filter, and the columns that are followed; None for all.
    where: str | None = None
    shown: tuple[str, ...] | None = None
    #: Beside the others: ``twice``, twice the id.
    generated: bool = False
    #: It names rows of that one, which is not emptied without it. No row does.
    refers_to: RandomTable | None = None
    #: For names that are given later.
    given: int = 0

    @property
    def live_name(self) -> str:
        """In PostgreSQL, as ``plane.live`` takes it."""
        return f"{SCHEMA}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Quoted."""
        return sql.Identifier(SCHEMA, self.name)

    @property
    def append_only(self) -> bool:
        """Whether rows are never changed, and go all at once."""
        return self.identity == "none"

    @property
    def has_money(self) -> bool:
        """Whether all of it is followed, so that money may be moved to it and from it."""
        return self.where is None and self.shown is None and not self.parted

    def declared(self) -> dict[str, Any]:
        """For ``plane.live``."""
        return {
            "table": self.live_name,
            "key": self.key,
            "order_by": self.order_by,
            "columns": self.shown,
            "where": self.where,
            "append_only": self.append_only,
        }

    def free_columns(self) -> list[RandomColumn]:
        """Those that may be altered."""
        taken = {*self.key, self.order_by, FILTERED, *(self.shown or ())}
        return [one for one in self.columns if one.name not in taken]

    def create(self, connection: psycopg.Connection[Any]) -> None:
        """Make it, with its replica identity."""
        columns = [sql.SQL("id int8 NOT NULL"), sql.SQL("money int8 NOT NULL DEFAULT 0")]
        for one in self.columns:
            null = "" if one.nullable else " NOT NULL"
            columns.append(_sql("{} " + one.type + null).format(sql.Identifier(one.name)))
        if self.generated:
            columns.append(sql.SQL("twice int8 GENERATED ALWAYS AS (id * 2) STORED"))
        if self.refers_to is not None:
            columns.append(sql.SQL("whose int8 REFERENCES {}").format(self.refers_to.identifier))
        if self.identity in {"index", "default"}:
            columns.append(
                sql.SQL("UNIQUE (id)" if self.identity == "index" else "PRIMARY KEY (id)")
            )
        statement = sql.SQL("CREATE TABLE {} ({})").format(
            self.identifier, sql.SQL(", ").join(columns)
        )
        if self.partitioned:
            statement += sql.SQL(" PARTITION BY RANGE (id)")
        connection.execute(statement)
        for number in range(3 if self.partitioned else 0):
            self.add_partition(connection, number)
        for relation in (self.identifier, *self.partitions()):
            self._set_identity(connection, relation)
        for one in self.columns:
            if one.name == "wide":
                connection.execute(
                    sql.SQL("ALTER TABLE {} ALTER wide SET STORAGE EXTERNAL").format(
                        self.identifier
                    )
                )

    def partitions(self) -> list[sql.Identifier]:
        """Those it begins with."""
        return [self.partition(number) for number in range(3 if self.partitioned else 0)]

    def add_partition(self, connection: psycopg.Connection[Any], number: int) -> None:
        """Of a third of the ids; the last one takes all above."""
        connection.execute(
            _sql(f"CREATE TABLE {{}} PARTITION OF {{}} {range_of(number)}").format(
                self.partition(number), self.identifier
            )
        )

    def partition(self, number: int) -> sql.Identifier:
        """Quoted."""
        return sql.Identifier(SCHEMA, f"{self.name}_{number}")

    def _set_identity(self, connection: psycopg.Connection[Any], relation: sql.Identifier) -> None:
        if self.identity == "full":
            connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(relation))
        elif self.identity == "index":
            found = connection.execute(
                "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid "
                "WHERE indrelid = %s::regclass AND indisunique",
                [relation.as_string(connection)],
            ).fetchone()
            assert found is not None
            connection.execute(
                sql.SQL("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}").format(
                    relation, sql.Identifier(found[0])
                )
            )

    def select(
        self, connection: psycopg.Connection[Any], only: Sequence[str] | None = None
    ) -> tuple[list[str], Counter[Any]]:
        """Names of its columns, or some of them, and its rows as they are now."""
        wanted = self.shown if only is None else only
        types = connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [self.identifier.as_string(connection)],
        ).fetchall()
        types = [one for one in types if wanted is None or one[0] in wanted]
        parts = [
            _sql(_SELECTED.get(type_name, "{0}")).format(sql.Identifier(name))
            for name, type_name in types
        ]
        statement = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(parts), self.identifier)
        rows = connection.execute(
            statement + _sql(f" WHERE {self.where}" if self.where else "")
        ).fetchall()
        return [name for name, _ in types], multiset(rows)


def range_of(number: int) -> str:
    """Ids of one of three partitions."""
    third = IDS // 3
    first = "MINVALUE" if number == 0 else str(number * third)
    last = "MAXVALUE" if number == 2 else str((number + 1) * third)
    return f"FOR VALUES FROM ({first}) TO ({last})"


def multiset(rows: Sequence[Sequence[Any]]) -> Counter[Any]:
    """Rows with how often each is there; values that are equal are equal in kind as well."""
    return Counter(tuple(_plain(value) for value in row) for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _plain(part)) for name, part in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_plain(part) for part in value)
    for kind, plain in _PLAIN:
        if isinstance(value, kind):
            return plain(value)
    return value


#: Types that psycopg gives in another way than Arrow, as parts that both give alike.
_SELECTED = {
    "jsonb": "{0}::text",
    "json": "{0}::text",
    "int4range": "CASE WHEN {0} IS NOT NULL THEN jsonb_build_object('lower', lower({0}), 'upper', "
    "upper({0}), 'lower_inclusive', lower_inc({0}), 'upper_inclusive', upper_inc({0}), 'empty', "
    "isempty({0})) END",
    "interval": "CASE WHEN {0} IS NOT NULL THEN ARRAY[extract(year FROM {0}) * 12 + "
    "extract(month FROM {0}), extract(day FROM {0}), (extract(hour FROM {0}) * 3600000000 + "
    "extract(minute FROM {0}) * 60000000 + extract(microseconds FROM {0})) * 1000]::int8[] END",
    "pair": "to_jsonb({0})",
}


_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (uuid.UUID, lambda value: value.bytes),
    (float, repr),
    (Decimal, Decimal.normalize),
    (memoryview | bytearray, bytes),
    (dt.datetime, lambda value: value.astimezone(dt.UTC)),
)


def _made(type_name: str, chance: random.Random) -> Any:
    return _VALUES[type_name](chance)


_BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_VALUES: dict[str, Callable[[random.Random], Any]] = {
    "text": lambda chance: chance.choice(_TEXTS),
    "varchar(8)": lambda chance: chance.choice(_WORDS),
    "int4": lambda chance: chance.choice((0, 1, -1, chance.randrange(-(1 << 31), 1 << 31))),
    "int8": lambda chance: chance.choice((0, 1, -1, chance.randrange(-(1 << 63), 1 << 63))),
    "numeric(12,3)": lambda chance: Decimal(chance.randrange(-(10**9), 10**9)).scaleb(-3),
    "float8": lambda chance: chance.choice((0.0, -0.0, 1.5, float("inf"), chance.random())),
    "bool": lambda chance: chance.random() < 0.5,
    "bytea": lambda chance: chance.randbytes(chance.choice((0, 1, 9))),
    "timestamptz": lambda chance: _BEGIN + dt.timedelta(microseconds=chance.randrange(10**13)),
    "jsonb": lambda chance: f'{{"a": [1, null, "x"], "b": {chance.randrange(9)}}}',
    "uuid": lambda chance: uuid.UUID(int=chance.getrandbits(128)),
    "int4[]": lambda chance: chance.choice(("{}", "{1,NULL,-3}", f"{{{chance.randrange(9)}}}")),
    "int4range": lambda chance: chance.choice(("empty", "[2,)", f"(,{chance.randrange(9)})")),
    "interval": lambda chance: f"{chance.randrange(-30, 30)} mons -2 days {chance.randrange(9)} us",
    "pair": lambda chance: chance.choice(("(,)", "(1,{})", '(-2,"{a,NULL,""ü""}")')),
}

#: What columns are of, whose values ``RandomColumn.value`` makes.
TYPES = tuple(_VALUES)
_KEYS: dict[str, Callable[[random.Random], Any]] = {
    "text": lambda chance: chance.choice(_WORDS),
    "int4": lambda chance: chance.randrange(3),
    "bool": lambda chance: chance.random() < 0.5,
}
_NAMES = ("plain", "Mixed Case", 'quo"ted', "sch'ön", "UPPER", "select", "tail")


def random_tables(chance: random.Random, count: int) -> list[RandomTable]:
    """The first without key and order, the second partitioned, the third with a wide column; from
    ``_SPECIAL`` on others that are followed in another way than whole.
    """
    made: list[RandomTable] = []
    for number in range(count):
        columns, key, order_by = _random_columns(chance, number)
        # New partitions inherit a primary key, and no REPLICA IDENTITY: any other is refused.
        others = () if number == 1 else ("full", "index")
        identity = chance.choice(("default", "default", *others))
        name = f"{_NAMES[number % len(_NAMES)]}{number}"
        table = RandomTable(name, columns, key, order_by, identity, partitioned=number == 1)
        table.generated = chance.random() < 0.3
        if number in _SPECIAL:
            _SPECIAL[number](table, made, chance)
        made.append(table)
    return made


def _random_columns(
    chance: random.Random, number: int
) -> tuple[list[RandomColumn], tuple[str, ...], str | None]:
    """Columns, and which of them are the key and the order."""
    columns = [
        RandomColumn(f"c{place}" if place else "Two words", chance.choice(TYPES))
        for place in range(chance.randrange(1, 5))
    ]
    key: list[str] = []
    for place in range(0 if number == 0 else chance.randrange(3)):
        columns.append(RandomColumn(f"Key {place}", chance.choice(list(_KEYS)), nullable=False))
        key.append(f"Key {place}")
    order_by = None
    if number and chance.random() < 0.7:
        order_by = "at"
        columns.append(RandomColumn("at", chance.choice(("int8", "timestamptz")), nullable=False))
    if number == 2 or chance.random() < 0.3:
        columns.append(RandomColumn("wide", chance.choice(("text", "text[]"))))
    return columns, tuple(key), order_by


def _referred(table: RandomTable, made: list[RandomTable], chance: random.Random) -> None:
    table.identity, table.generated = "default", True


def _filtered(table: RandomTable, made: list[RandomTable], chance: random.Random) -> None:
    if table.identity == "full":
        table.columns.append(RandomColumn(FILTERED, "bool"))
        table.where = f'"{FILTERED}"'
    else:
        table.where = "id % 3 <> 0 AND id < 100000"


def _growing(table: RandomTable, made: list[RandomTable], chance: random.Random) -> None:
    table.identity = "none"


def _partly_shown(table: RandomTable, made: list[RandomTable], chance: random.Random) -> None:
    table.refers_to, table.generated = made[3], True
    order = () if table.order_by is None else (table.order_by,)
    wide = [one.name for one in table.columns if one.name == "wide"]
    table.shown = ("id", *table.key, *order, *wide, chance.choice(("money", "twice", "whose")))


def _parted(table: RandomTable, made: list[RandomTable], chance: random.Random) -> None:
    table.identity, table.partitioned, table.parted = "default", True, True


#: What tables of these numbers are besides.
_SPECIAL: dict[int, Callable[[RandomTable, list[RandomTable], random.Random], None]] = {
    3: _referred,
    4: _filtered,
    5: _growing,
    6: _partly_shown,
    7: _parted,
}


def _sql(text: str) -> sql.SQL:
    return sql.SQL(text)  # type: ignore[arg-type]  made of our own constants
