"""What a table lacks for being read and written by this package. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from neural_gpu_bus.sql_text import quoted_name
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.advice.facts import ColumnFacts, IndexFacts, TableFacts
from neural_gpu_bus.stores.postgres.advice.roles import Series, series_of

#: Below it a scan of the whole table takes about as long as an index would.
ROWS_MIN = 10_000
#: Values that an index may carry along. A whole index entry has to fit a third of a page (2,704
#: bytes), or inserts fail: so only what is of fixed size, and texts that are short on average.
INCLUDED_MAX = 12
INCLUDED_TEXT_BYTES_MAX = 16
INCLUDED_BYTES_MAX = 128
#: Shares beyond which statistics, dead rows and visibility are worth a sentence.
STALE_SHARE = 0.2
DEAD_SHARE = 0.2
VISIBLE_SHARE_MIN = 0.5
#: Tables below it are too small for any of these to matter.
PAGES_MIN = 1000


def table_advice(table: TableFacts) -> list[Advice]:
    """Everything worth saying of one table, nothing where all is well."""
    if not table.can_select:
        return [_right(table)]
    return [*_order(table), *_key(table), *_statistics(table), *_room(table)]


def _right(table: TableFacts) -> Advice:
    return Advice(
        str(table),
        "advice",
        "this user may not read it",
        "queries of it are refused",
        (f"GRANT SELECT ON {table.quoted} TO CURRENT_USER",),
    )


# ---- "the last N rows of this instrument"


def _order(table: TableFacts) -> Iterator[Advice]:
    series = series_of(table)
    if series is None or (0 <= table.rows < ROWS_MIN):
        return
    serving = next((index for index in table.indexes if serves(index, series)), None)
    if serving is None:
        yield _missing_index(table, series)
    elif _is_seldom_visible(table) and serving.included:
        yield _not_visible(table, serving)
    if not series.time.type.startswith(("timestamp", "date", "bigint", "time")):
        yield _time_as_text(table, series.time)


def serves(index: IndexFacts, series: Series) -> bool:
    """Whether the newest rows of one series stand side by side in it: the instrument, and what
    else is compared, in any order, then the time.
    """
    if index.method != "btree" or index.is_partial or not index.is_valid:
        return False
    if series.time.name not in index.key:
        return False
    before = index.key[: index.key.index(series.time.name)]
    compared = {series.instrument.name, *(column.name for column in series.qualifiers_ever)}
    return series.instrument.name in before and set(before) <= compared


def covering_index(table: TableFacts, series: Series) -> str:
    """The statement that makes it."""
    key = [*map(quoted_name, series.equal), f"{quoted_name(series.time.name)} DESC"]
    carried = _carried(table, series)
    include = f" INCLUDE ({', '.join(map(quoted_name, carried))})" if carried else ""
    # A partitioned table takes no CONCURRENTLY; its writers wait.
    how = "" if table.is_partitioned else " CONCURRENTLY"
    return f"CREATE INDEX{how} ON {table.quoted} ({', '.join(key)}){include}"


def _carried(table: TableFacts, series: Series) -> list[str]:
    """Values that are worth having in the index itself, none where they are many or long."""
    sizes = {
        column.name: size
        for column in series.values
        if (size := _carried_bytes(column)) and not _is_bookkeeping(column, table)
    }
    fits = len(sizes) <= INCLUDED_MAX and sum(sizes.values()) <= INCLUDED_BYTES_MAX
    return list(sizes) if fits else []


def _is_bookkeeping(column: ColumnFacts, table: TableFacts) -> bool:
    """A row's own number, or when it was written: nobody asks for those with the bars."""
    numbers = {index.key for index in table.indexes if index.is_primary}
    return (column.name,) in numbers or column.name in {"created_at", "updated_at"}


def _carried_bytes(column: ColumnFacts) -> int | None:
    """What it takes in an index entry; None for what may be long."""
    if column.fixed_bytes > 0:
        return column.fixed_bytes
    short = column.average_bytes is not None and column.average_bytes <= INCLUDED_TEXT_BYTES_MAX
    return column.average_bytes if short else None


def _missing_index(table: TableFacts, series: Series) -> Advice:
    words = ", ".join((*series.equal, series.time.name))
    rows = f"{table.rows:,.0f} rows" if table.rows >= 0 else "rows nobody counted"
    return Advice(
        str(table),
        "advice",
        f"no index begins with {words}; {rows}",
        f"the last N rows of one {series.instrument.name} scan and sort the table: the last 10,000 "
        "of 1,000,000 bars took 123 ms without such an index, 13 ms with it",
        (covering_index(table, series), f"VACUUM (ANALYZE) {table.quoted}"),
    )


def _is_seldom_visible(table: TableFacts) -> bool:
    return (
        table.pages_estimated >= PAGES_MIN
        and table.pages_visible < VISIBLE_SHARE_MIN * table.pages_estimated
    )


def _not_visible(table: TableFacts, index: IndexFacts) -> Advice:
    share = table.pages_visible / table.pages_estimated
    return Advice(
        str(table),
        "advice",
        f"{share:.0%} of its pages are known to be visible to all",
        f"index {index.name} has all values, and the table's pages are looked at all the same",
        (f"VACUUM {table.quoted}",),
    )


def _time_as_text(table: TableFacts, time: ColumnFacts) -> Advice:
    return Advice(
        str(table),
        "advice",
        f"{time.name} is {time.type}",
        "ORDER BY sorts its characters: right only while all have the same number of digits (19 "
        "digits of nanoseconds do until 2286). Cast what is read, and order by the table's own "
        f"column, for a cast's result has its name: SELECT {quoted_name(time.name)}::int8 ... "
        f"ORDER BY {quoted_name(table.name)}.{quoted_name(time.name)}",
    )


# ---- keys


def _key(table: TableFacts) -> Iterator[Advice]:
    if any(_is_key(index, table) for index in table.indexes):
        return
    series = series_of(table)
    sql: tuple[str, ...] = ()
    told = "name the columns that tell its rows apart: ALTER TABLE ... ADD PRIMARY KEY"
    if series is not None:
        names = series.identity
        columns = ", ".join(map(quoted_name, names))
        how = "" if table.is_partitioned else " CONCURRENTLY"
        sql = (f"CREATE UNIQUE INDEX{how} ON {table.quoted} ({columns})",)
        told = f"if {', '.join(names)} tell its rows apart"
    yield Advice(
        str(table),
        "advice",
        f"no primary key and no unique index over NOT NULL columns; {told}",
        "mode='upsert' has nothing to find rows by, and live tables will not see which row changed",
        sql,
    )


def _is_key(index: IndexFacts, table: TableFacts) -> bool:
    if not index.is_unique or not index.is_valid or index.is_partial:
        return False
    nullable = {column.name for column in table.columns if not column.not_null}
    return None not in index.key and (index.is_primary or not nullable & set(index.key))


# ---- statistics and room


def _statistics(table: TableFacts) -> Iterator[Advice]:
    if table.is_partitioned or table.pages == 0:
        return
    if not table.was_analysed and table.rows < 0:
        yield Advice(
            str(table),
            "advice",
            # How small a small one is makes no difference: equal advice is told once for all.
            "never analysed" + (f", {table.pages:,} pages" if table.pages >= PAGES_MIN else ""),
            "plans are guesses, and parallel reads cannot size their parts",
            (f"ANALYZE {table.quoted}",),
        )
    elif _differ(table.pages_estimated, table.pages):
        yield Advice(
            str(table),
            "advice",
            f"statistics say {table.pages_estimated:,} pages, it has {table.pages:,}",
            "plans are for a table of another size",
            (f"ANALYZE {table.quoted}",),
        )


def _differ(estimated: int, found: int) -> bool:
    return found >= PAGES_MIN and abs(found - estimated) > STALE_SHARE * found


def _room(table: TableFacts) -> Iterator[Advice]:
    alive = max(table.rows, 1)
    if table.rows_dead >= ROWS_MIN and table.rows_dead > DEAD_SHARE * alive:
        yield Advice(
            str(table),
            "advice",
            f"{table.rows_dead:,} dead rows beside {alive:,.0f} live ones",
            "every scan reads them too",
            (f"VACUUM (ANALYZE) {table.quoted}",),
        )
    for index in table.indexes:
        if not index.is_valid:
            name = f"{quoted_name(table.schema)}.{quoted_name(index.name)}"
            yield Advice(
                str(table),
                "advice",
                f"index {index.name} is not valid: its building failed",
                "it is written to and never read",
                (f"REINDEX INDEX CONCURRENTLY {name}",),
            )
