"""What is said of a table, from facts alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from neural_gpu_bus.stores.postgres.advice.advice import told_once
from neural_gpu_bus.stores.postgres.advice.facts import ColumnFacts, IndexFacts, TableFacts
from neural_gpu_bus.stores.postgres.advice.roles import series_of
from neural_gpu_bus.stores.postgres.advice.sizes import setting_size
from neural_gpu_bus.stores.postgres.advice.table_advice import serves, table_advice


def column(name: str, type_: str = "double precision", **more: Any) -> ColumnFacts:
    fixed = {"double precision": 8, "timestamp with time zone": 8, "bigint": 8, "integer": 4}
    return ColumnFacts(
        name, type_, **{"fixed_bytes": fixed.get(type_, -1), "not_null": True} | more
    )


KEY = IndexFacts("bars_pkey", "btree", ("instrument_id", "bar_type", "ts"), is_primary=True,
                 is_unique=True)  # fmt: skip
BARS = TableFacts(
    "public",
    "bars",
    (
        column("instrument_id", "text"),
        column("bar_type", "text", distinct=3.0),
        column("ts", "timestamp with time zone"),
        *(column(name) for name in ("open", "high", "low", "close", "volume")),
    ),
    rows=1_000_000,
    pages=10_000,
    pages_estimated=10_000,
    pages_visible=10_000,
    was_analysed=True,
)


def told(table: TableFacts, **changed: Any) -> list[str]:
    return [one.what for one in table_advice(msgspec.structs.replace(table, **changed))]


def statements(table: TableFacts, **changed: Any) -> list[str]:
    found = table_advice(msgspec.structs.replace(table, **changed))
    return [statement for one in found for statement in one.sql]


def test_a_table_with_its_index_and_key_has_no_advice() -> None:
    assert told(BARS, indexes=(KEY,)) == []


def test_the_covering_index_is_named_with_its_statement() -> None:
    first, second = table_advice(BARS)

    assert first.what == "no index begins with instrument_id, bar_type, ts; 1,000,000 rows"
    assert first.sql == (
        'CREATE INDEX CONCURRENTLY ON "public"."bars" ("instrument_id", "bar_type", "ts" DESC) '
        'INCLUDE ("open", "high", "low", "close", "volume")',
        'VACUUM (ANALYZE) "public"."bars"',
    )
    assert "123 ms without such an index, 13 ms with it" in first.why
    assert second.sql == (
        'CREATE UNIQUE INDEX CONCURRENTLY ON "public"."bars" ("instrument_id", "bar_type", "ts")',
    )
    assert second.what.endswith("if instrument_id, bar_type, ts tell its rows apart")


def test_what_has_one_value_is_no_part_of_the_index_but_of_the_key() -> None:
    columns = tuple(
        msgspec.structs.replace(one, distinct=1.0) if one.name == "bar_type" else one
        for one in BARS.columns
    )
    index, _, key = statements(BARS, columns=columns)

    assert '("instrument_id", "ts" DESC)' in index
    assert '("instrument_id", "bar_type", "ts")' in key


@pytest.mark.parametrize(
    ("index", "good"),
    [
        (IndexFacts("i", "btree", ("bar_type", "instrument_id", "ts")), True),
        (IndexFacts("i", "btree", ("instrument_id", "ts", "close")), True),
        (IndexFacts("i", "btree", ("ts", "instrument_id")), False),
        (IndexFacts("i", "btree", ("bar_type", "ts")), False),
        (IndexFacts("i", "btree", ("instrument_id", "close", "ts")), False),
        (IndexFacts("i", "btree", ("instrument_id", None, "ts")), False),
        (IndexFacts("i", "brin", ("instrument_id", "ts")), False),
        (IndexFacts("i", "btree", ("instrument_id", "ts"), is_partial=True), False),
        (IndexFacts("i", "btree", ("instrument_id", "ts"), is_valid=False), False),
    ],
)
def test_which_indexes_serve(index: IndexFacts, good: bool) -> None:
    series = series_of(BARS)

    assert series is not None
    assert serves(index, series) is good


def test_a_partitioned_table_cannot_be_indexed_concurrently() -> None:
    index, *_ = statements(BARS, is_partitioned=True)

    assert index.startswith('CREATE INDEX ON "public"."bars"')


def test_a_small_table_needs_no_index() -> None:
    assert not any("no index" in what for what in told(BARS, rows=500))


def test_names_are_quoted() -> None:
    columns = (column('sym"bol', "text"), column("Symbol", "text"), column("TS", "date"))
    index, *_ = statements(BARS, schema="my data", name='Bars"', columns=columns)

    assert index == ('CREATE INDEX CONCURRENTLY ON "my data"."Bars""" ("Symbol", "TS" DESC)')


def test_long_texts_are_left_out_of_the_index() -> None:
    """An entry that does not fit a third of a page would make inserts fail."""
    columns = (*BARS.columns, column("note", "text", average_bytes=900), column("kind", "text"))
    index, *_ = statements(BARS, columns=columns)

    assert "note" not in index
    assert "kind" not in index
    assert "volume" in index


def test_times_as_digits_are_told() -> None:
    columns = tuple(column("ts", "text") if one.name == "ts" else one for one in BARS.columns)

    assert "ts is text" in told(BARS, columns=columns, indexes=(KEY,))


def test_no_key_over_columns_that_may_be_null() -> None:
    columns = tuple(msgspec.structs.replace(one, not_null=False) for one in BARS.columns)
    unique = msgspec.structs.replace(KEY, is_primary=False)

    assert any("no primary key" in what for what in told(BARS, columns=columns, indexes=(unique,)))
    assert told(BARS, indexes=(unique,)) == []


def test_a_table_without_series_still_needs_a_key() -> None:
    (only,) = table_advice(msgspec.structs.replace(BARS, columns=(column("x"),)))

    assert only.sql == ()
    assert "ADD PRIMARY KEY" in only.what


@pytest.mark.parametrize(
    ("changed", "what", "statement"),
    [
        ({"rows": -1.0, "was_analysed": False}, "never analysed, 10,000 pages", "ANALYZE"),
        ({"rows": -1.0, "was_analysed": False, "pages": 1}, "never analysed", "ANALYZE"),
        ({"pages": 20_000}, "statistics say 10,000 pages, it has 20,000", "ANALYZE"),
        ({"rows_dead": 300_000}, "300,000 dead rows beside 1,000,000 live ones", "VACUUM"),
        ({"can_select": False}, "this user may not read it", "GRANT SELECT"),
    ],
)
def test_what_is_stale_or_forbidden(changed: dict[str, Any], what: str, statement: str) -> None:
    found = table_advice(msgspec.structs.replace(BARS, indexes=(KEY,), **changed))

    assert [one.what for one in found] == [what]
    assert found[0].sql[0].startswith(statement)


def test_an_index_that_carries_all_needs_visible_pages() -> None:
    carrying = msgspec.structs.replace(KEY, included=("close",))

    assert told(BARS, indexes=(carrying,), pages_visible=100) == [
        "1% of its pages are known to be visible to all"
    ]
    assert told(BARS, indexes=(KEY,), pages_visible=100) == []


def test_an_index_whose_building_failed_is_told() -> None:
    broken = msgspec.structs.replace(KEY, name="half", is_valid=False)

    (only,) = table_advice(msgspec.structs.replace(BARS, indexes=(KEY, broken)))

    assert only.sql == ('REINDEX INDEX CONCURRENTLY "public"."half"',)


def test_equal_advice_is_told_once_with_everybodys_statements() -> None:
    tables = [
        msgspec.structs.replace(
            BARS, name=f"t{index}", indexes=(KEY,), rows=-1.0, was_analysed=False, pages=1
        )
        for index in range(8)
    ]
    (one,) = told_once(advice for table in tables for advice in table_advice(table))

    assert one.subject == "t0, t1, t2, t3, t4, t5 and 2 more"
    assert one.what == "never analysed"
    assert one.sql == tuple(f'ANALYZE "public"."t{index}"' for index in range(8))


@pytest.mark.parametrize(
    ("setting", "shown"),
    [("9256531kB", "8.8 GiB"), ("32140kB", "31.4 MiB"), ("16GB", "16 GiB"), ("on", "on")],
)
def test_settings_are_shown_in_one_form(setting: str, shown: str) -> None:
    assert setting_size(setting) == shown
