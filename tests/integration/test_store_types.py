"""Columns of every type into a real server, as the server then sees them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from fix_stores import Playground
from neural_gpu_bus.errors import BadValueError, QueryError, UnsupportedTypeError


def test_new_tables_hold_decimals_lists_and_spans(playground: Playground) -> None:
    table = pa.table(
        {
            "price": pa.array([Decimal("1.2500"), None, Decimal("-0.0001")], pa.decimal128(12, 4)),
            "levels": pa.array([[1.5, None], [], None], pa.list_(pa.float64())),
            "grid": pa.array([[[1, 2], [3, 4]], None, []], pa.list_(pa.list_(pa.int64()))),
            "words": pa.array([["a", "é,"], ['"'], None], pa.large_list(pa.string())),
            "span": pa.array([pa.MonthDayNano([1, -2, 3_000_000]), None, None]),
            "held": pa.array([90_000_000, None, -1], pa.duration("us")),
            "pair": pa.array([[1, 2], [3, 4], None], pa.list_(pa.float32(), 2)),
        }
    )

    playground.writer.store(playground.table("t"), table)

    found = playground.rows("SELECT *, price::text FROM t ORDER BY ctid")
    assert [tuple(row[:4]) for row in found] == [
        (Decimal("1.2500"), [1.5, None], [[1, 2], [3, 4]], ["a", "é,"]),
        (None, [], None, ['"']),
        (Decimal("-0.0001"), None, [], None),
    ]
    assert playground.rows("SELECT span::text, held::text, pair::text FROM t LIMIT 1") == [
        ("1 mon -2 days +00:00:00.003", "00:01:30", "{1,2}")
    ]
    assert found[0][-1] == "1.2500"


def test_large_whole_numbers_and_decimals_go_into_numeric_exactly(playground: Playground) -> None:
    playground.run("CREATE TABLE t (a numeric, b numeric(20,0), c numeric(76,30))")
    exact = Decimal("1234567890123456789012345678901234567890123456.000000000000000000000000000001")

    playground.writer.store(
        playground.table("t"),
        {
            "a": pa.array([2**64 - 1], pa.uint64()),
            "b": pa.array([2**64 - 1], pa.uint64()),
            "c": pa.array([exact], pa.decimal256(76, 30)),
        },
    )

    assert playground.rows("SELECT * FROM t") == [(2**64 - 1, 2**64 - 1, exact)]


CASTS = [
    ("inet", ["10.0.0.1/8", None, "::1"], "10.0.0.1/8"),
    ("int4range", ["[1,5)", None, "empty"], "[1,5)"),
    ("tsvector", ["'a' 'b'", None, ""], "'a' 'b'"),
    ("bit(3)", ["101", None, "000"], "101"),
    ("money", ["$1.50", None, "-$2.00"], "$1.50"),
    ("timetz", ["12:00:00+02", None, "00:00:00-05"], "12:00:00+02"),
    ("point", ["(1,2)", None, "(0,0)"], "(1,2)"),
    ("pg_lsn", ["0/10", None, "A/0"], "0/10"),
    ("timestamptz", ["infinity", None, "2020-01-01 00:00:00+00"], "infinity"),
    ("numeric(6,2)", ["1.50", None, "NaN"], "1.50"),
    ("int4[]", ["{1,2}", None, "{}"], "{1,2}"),
    ("regclass", ["pg_class", None, "pg_type"], "pg_class"),
]


@pytest.mark.parametrize(("kind", "texts", "first"), CASTS, ids=[case[0] for case in CASTS])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_texts_are_read_by_the_servers_own_input_function(
    playground: Playground, kind: str, texts: list[str | None], first: str, mode: str
) -> None:
    playground.run(f"CREATE TABLE t (k int PRIMARY KEY, v {kind})")
    playground.run("INSERT INTO t VALUES (0, NULL)")

    receipt = playground.writer.store(
        playground.table("t"), {"k": [1, 2, 3], "v": pa.array(texts)}, mode=mode
    )

    assert receipt.rows == 3
    assert playground.rows("SELECT v::text FROM t WHERE k IN (1, 2) ORDER BY k") == [
        (first,),
        (None,),
    ]


def test_lists_of_texts_are_read_element_by_element(playground: Playground) -> None:
    playground.run("CREATE TABLE t (v inet[])")

    playground.writer.store(playground.table("t"), {"v": [["10.0.0.1", None], []]})

    assert playground.rows("SELECT v::text FROM t") == [("{10.0.0.1,NULL}",), ("{}",)]


REFUSED = [
    (
        "inet",
        ["::1", "?", "nonsense"],
        "row 2, column 'v': '\\?' is refused by PostgreSQL: invalid",
    ),
    (
        "numeric(4,2)",
        ["1.25", "99.99", "1.255"],
        r"row 3, .*'1.255' would be rounded by numeric",
    ),
    ("numeric(4,2)", ["1.25", "100"], r"row 2, column 'v': '100' is refused by PostgreSQL"),
    ("timestamptz(0)", ["2020-01-01 00:00:00.5"], "row 1, .* would be rounded by timestamp"),
    ("bit(3)", ["101", "11"], "bit string length 2 does not match type bit"),
]


@pytest.mark.parametrize(("kind", "texts", "message"), REFUSED)
def test_a_text_that_its_type_refuses_is_named(
    playground: Playground, kind: str, texts: list[str], message: str
) -> None:
    playground.run(f"CREATE TABLE t (v {kind})")

    with pytest.raises((BadValueError, QueryError), match=message):
        playground.writer.store(playground.table("t"), {"v": texts})

    assert playground.rows("SELECT count(*) FROM t") == [(0,)]


BEFORE_SENDING: list[tuple[str, Any, str]] = [
    (
        "numeric(5,2)",
        pa.array([Decimal("999.99"), Decimal("1000.00")], pa.decimal128(10, 2)),
        r"row 2, column 'v': 1000.00 does not fit into numeric\(5,2\)",
    ),
    (
        "numeric(5,2)",
        pa.array([Decimal("1.10"), Decimal("1.101")], pa.decimal128(10, 3)),
        r"row 2, column 'v': 1.101 has more digits behind the point than numeric\(5,2\) holds",
    ),
    ("int4[]", pa.array([[1], [1, 2**40]]), "row 2, column 'v': 1099511627776 does not fit"),
    ("int4[]", pa.array([[[1], [2, 3]]]), "row 1, .* all of a row have one length"),
    (
        "timestamp(3)",
        pa.array([1_000, 1], pa.timestamp("us")),
        "row 2, .* has more digits of a second than",
    ),
    ('"char"', pa.array(["a", "bc"]), 'row 2, column .*bc.* is longer than "char" holds'),
]


@pytest.mark.parametrize(("kind", "column", "message"), BEFORE_SENDING)
def test_what_the_server_would_bend_is_refused_before(
    playground: Playground, kind: str, column: Any, message: str
) -> None:
    playground.run(f"CREATE TABLE t (v {kind})")

    with pytest.raises(BadValueError, match=message):
        playground.writer.store(playground.table("t"), {"v": column})


def test_a_float_is_no_decimal(playground: Playground) -> None:
    playground.run("CREATE TABLE t (v numeric)")

    with pytest.raises(UnsupportedTypeError, match="cannot go into a numeric column") as caught:
        playground.writer.store(playground.table("t"), {"v": [0.1]})

    assert "decimal128(p, s)" in caught.value.hint


def test_rows_domains_enums_and_one_character_types(playground: Playground) -> None:
    playground.run("CREATE TYPE side AS ENUM ('buy', 'sell')")
    playground.run("CREATE DOMAIN cents AS numeric(8,2) NOT NULL")
    playground.run("CREATE DOMAIN more_cents AS cents CHECK (VALUE > 0)")
    playground.run('CREATE TYPE leg AS (side side, price more_cents, "Odd x" int[], w text)')
    playground.run('CREATE TABLE t (s side, c more_cents, l leg, ss side[], o oid, ch "char")')
    legs = [{"w": "w", "side": "buy", "price": Decimal("1.50"), "Odd x": [1, 2]}, None]
    leg = pa.struct(
        [
            ("w", pa.string()),
            ("side", pa.string()),
            ("price", pa.decimal128(8, 2)),
            ("Odd x", pa.list_(pa.int16())),
        ]
    )
    columns = {
        "s": pa.array(["sell", None]).dictionary_encode(),
        "c": pa.array([Decimal("0.01"), Decimal("2.00")], pa.decimal128(8, 2)),
        "l": pa.array(legs, leg),
        "ss": [["buy", "sell"], []],
        "o": pa.array([2**32 - 1, None], pa.uint32()),
        "ch": ["x", ""],
    }

    playground.writer.store(playground.table("t"), columns)

    assert playground.rows("SELECT s::text, c, l::text, ss::text, o::int8, ch::text FROM t") == [
        ("sell", Decimal("0.01"), '(buy,1.50,"{1,2}",w)', "{buy,sell}", 2**32 - 1, "x"),
        (None, Decimal("2.00"), None, "{}", None, ""),
    ]
    with pytest.raises(BadValueError, match="row 2, column 'c': NULL cannot go into a NOT NULL"):
        playground.writer.store(playground.table("t"), {"c": pa.array([Decimal(1), None])})


def test_vectors_of_pgvector(playground: Playground) -> None:
    playground.run("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    playground.run("CREATE TABLE t (v public.vector(3))")
    store, name = playground.writer.store, playground.table("t")

    store(name, {"v": pa.array([[1, 2, 3], None], pa.list_(pa.float32(), 3))})
    store(name, {"v": pa.array([[4, 5, 6]], pa.list_(pa.float32()))})

    assert playground.rows("SELECT v::text FROM t") == [("[1,2,3]",), (None,), ("[4,5,6]",)]
    with pytest.raises(BadValueError, match=r"row 2, .* does not have the length of a .*vector\(3"):
        store(name, {"v": pa.array([[1, 2, 3], [1, 2]], pa.list_(pa.float32()))})


def test_hstore_where_it_is_installed(existing_playground: Playground) -> None:
    existing_playground.run("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public")
    pairs = pa.array([[("a", "1"), ("b", None)], [], None], pa.map_(pa.string(), pa.string()))

    existing_playground.writer.store(existing_playground.table("t"), {"v": pairs})

    found = existing_playground.rows("SELECT v::text FROM t")
    assert found == [('"a"=>"1", "b"=>NULL',), ("",), (None,)]
    with pytest.raises(BadValueError, match="row 1, column 'v': 'a' is a key twice in one map"):
        existing_playground.writer.store(
            existing_playground.table("t"),
            {"v": pa.array([[("a", "1"), ("a", "2")]], pa.map_(pa.string(), pa.string()))},
        )


def test_uuids_dates_and_others_inside_of_arrays(playground: Playground) -> None:
    one = uuid.uuid4()
    playground.run("CREATE TABLE t (u uuid[], d date[], n numeric(6,2)[], b bool[])")

    playground.writer.store(
        playground.table("t"),
        {
            "u": pa.array([[one.bytes]], pa.list_(pa.binary(16))),
            "d": [[dt.date(2020, 1, 2), None]],
            "n": pa.array([[Decimal("1.25")]], pa.list_(pa.decimal128(9, 2))),
            "b": [[True, False, None]],
        },
    )

    assert playground.rows("SELECT * FROM t") == [
        ([one], [dt.date(2020, 1, 2), None], [Decimal("1.25")], [True, False, None])
    ]


# --- kinds of tables


def test_a_partitioned_table_takes_rows_into_its_leaves(playground: Playground) -> None:
    playground.run("CREATE TABLE t (k int PRIMARY KEY, v text) PARTITION BY RANGE (k)")
    playground.run("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    playground.run("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
    store, name = playground.writer.store, playground.table("t")

    for number in range(2):
        store(name, {"k": [number, 10 + number], "v": ["a", "b"]})
    store(name, {"k": [10, 12], "v": ["B", "c"]}, mode="upsert")

    assert playground.rows("SELECT count(*) FROM t1 UNION ALL SELECT count(*) FROM t2") == [
        (2,),
        (3,),
    ]


def test_policies_for_rows_are_kept(playground: Playground, postgres_dsn: str) -> None:
    from neural_gpu_bus.stores.postgres.connections.connection import connect
    from neural_gpu_bus.stores.postgres.connections.pool import Pool
    from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter

    role = f"{playground.schema}_role"
    playground.run(f"CREATE ROLE {role}")
    playground.run(f"GRANT USAGE ON SCHEMA {playground.schema} TO {role}")
    playground.run("CREATE TABLE t (desk int, v text)")
    playground.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    playground.run("CREATE POLICY own ON t USING (desk = 7)")
    playground.run(f"GRANT SELECT, INSERT ON t TO {role}")
    dsn = f"{postgres_dsn}?options=-crole%3D{role}"
    pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=1, wait_timeout_s=5)
    store = PostgresWriter(pool.lend, "server").store
    try:
        store(playground.table("t"), {"desk": [7], "v": ["mine"]})
        with pytest.raises(QueryError, match="violates row-level security policy"):
            store(playground.table("t"), {"desk": [7, 8], "v": ["mine", "not mine"]})
    finally:
        pool.close()
        playground.run(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert playground.rows("SELECT * FROM t") == [(7, "mine")]


def test_generated_and_identity_columns_are_left_to_the_server(playground: Playground) -> None:
    playground.run(
        "CREATE TABLE t (k int PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY, "
        "d int GENERATED ALWAYS AS (k * 2) STORED, v text)"
    )
    store, name = playground.writer.store, playground.table("t")

    store(name, {"v": ["a", "b"], "k": [1, 2]})
    store(name, {"v": ["B", "c"], "k": [2, 3]}, mode="upsert")

    assert playground.rows("SELECT k, d, v FROM t ORDER BY k") == [
        (1, 2, "a"),
        (2, 4, "B"),
        (3, 6, "c"),
    ]


def test_a_trigger_that_drops_rows_is_told_by_their_number(playground: Playground) -> None:
    playground.run("CREATE TABLE t (k int)")
    playground.run(
        "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.k % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    playground.run("CREATE TRIGGER odd BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION odd()")

    receipts = [playground.writer.store(playground.table("t"), {"k": [1, 2, 3]}) for _ in "ab"]

    assert [receipt.rows for receipt in receipts] == [2, 2]


def test_create_false_makes_no_table(playground: Playground) -> None:
    with pytest.raises(QueryError, match=r"there is no table '.*\.t', and create=False makes none"):
        playground.writer.store(playground.table("t"), {"k": [1]}, create=False)

    assert playground.tables() == []
