"""Every type against the server's own text and JSON: edge values, NULLs, several rows at once."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from fix_reader import open_reader
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

#: Part of tests' names, so the same in all processes of a run.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
SCHEMA = f"ngb_test_{RUN[:12]}"

NUMBERS = [
    "0",
    "1",
    "-1",
    "0.1",
    "-0.001",
    "12345.6789",
    "99999999.9999",
    "-99999999.9999",
    "10000",
]
WIDE = [
    "0",
    "-12345678901234567890123456.789012345678",
    "99999999999999999999999999.999999999999",
    "0.000000000001",
    "-0.5",
    "10000000000000000000000000",
    "18446744073709551616",
]
BARE = [
    *WIDE,
    "1e100",
    "-1e-50",
    "NaN",
    "0.00",
    "1.500",
    "1234500000",
    "9" * 60,
    "0." + "0" * 30 + "7",
]
ADDRESSES = [
    "127.0.0.1",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:1.2.3.4",
    "::1.2.3.4",
    "::2/127",
    "2001:db8::8a2e:370:7334/64",
    "1:0:0:2:0:0:0:3",
    "1:2:3:4:5:6:7:8",
    "fe80::",
    "0:0:1::",
]

#: Type -> texts of values at its edges, and how the server says what we should have read.
JSON_TYPES: dict[str, list[str]] = {
    "int4[]": ["{}", "{1}", "{1,NULL,-2147483648}", "{NULL}"],
    "text[]": ["{}", '{"",a,"b,c",NULL,"größer €"}'],
    "bool[]": ["{t,f,NULL,t,t,f,t,f,t}"],
    "float8[]": ["{0.5,-1.25,NULL}"],
    "numeric(8,2)[]": ["{1.25,-999999.99,NULL}", "{}"],
    "uuid[]": ["{00000000-0000-0000-0000-000000000001}"],
    "date[]": ["{2020-02-29,0001-01-01,NULL}"],
    "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
    "int2vector": ["1 2 3", ""],
    f"{SCHEMA}.mood": ["calm", "wild", "größer"],
    f"{SCHEMA}.mood[]": ["{calm,NULL,wild}", "{}"],
    f"{SCHEMA}.bar": [
        '(1,"two, three","{0.50,NULL}",calm)',
        "(,,,)",
        '(-5,"","{}",wild)',
    ],
    f"{SCHEMA}.bar[]": ['{"(1,x,\\"{0.25}\\",calm)",NULL}', "{}"],
    f"{SCHEMA}.nested": ['("(1,x,\\"{0.25}\\",calm)","{1,2}")', "(,)"],
    f"{SCHEMA}.price": ["1.25"],
    f"{SCHEMA}.price[]": ["{1.25,NULL}"],
    f"{SCHEMA}.shapes": ['("{1,2}",{3})'],
}
TEXT_TYPES: dict[str, list[str]] = {
    "numeric": BARE,
    "inet": ADDRESSES,
    "cidr": ["10.0.0.0/8", "::/0", "2001:db8::/32", "127.0.0.1/32", "0.0.0.0/0", "::ffff:1.2.3.4"],
    "macaddr": ["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(10)": ["1010101011", "0000000000"],
    "varbit": ["", "1", "0101010101010101"],
    "jsonpath": ["$.a"],
    "refcursor": ["one"],
    f"{SCHEMA}.word": ["", "größer"],
}
NUMBER_TYPES: dict[str, list[str]] = {
    "xid": ["0", "4294967295"],
    "cid": ["7"],
    "xid8": ["0", "18446744073709551615"],
    "regclass": ["pg_class"],
    "regtype": ["int4"],
    "regrole": ["-"],
    "regnamespace": ["pg_catalog"],
}


@pytest.fixture(scope="module")
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """psycopg in UTC, and types of a schema of their own."""
    with psycopg.connect(postgres_dsn, autocommit=True) as made:
        made.execute("SET TimeZone = 'UTC'")
        made.execute(f"CREATE SCHEMA {SCHEMA}".encode())
        try:
            made.execute(
                f"""
                SET search_path = {SCHEMA}, public;
                CREATE TYPE mood AS ENUM ('wild', 'größer', 'calm');
                CREATE DOMAIN price AS numeric(10, 2) CHECK (value > 0);
                CREATE DOMAIN word AS text;
                CREATE DOMAIN ints AS int4[];
                CREATE TYPE bar AS (number int4, words text, sizes numeric(6, 2)[], mood mood,
                                    gone int8);
                ALTER TYPE bar DROP ATTRIBUTE gone;
                CREATE TYPE nested AS (bar bar, numbers int2[]);
                CREATE TYPE shapes AS (numbers ints, more ints);
                CREATE TYPE floatrange AS RANGE (subtype = float8);
                RESET search_path;
                """.encode()
            )
            yield made
        finally:
            made.execute(f"DROP SCHEMA {SCHEMA} CASCADE".encode())


@pytest.fixture(scope="module")
def module_reader(postgres_dsn: str) -> Iterator[PostgresReader]:
    with open_reader(postgres_dsn, connections_max=2) as made:
        yield made


def rows_of(kind: str, texts: list[str]) -> str:
    """FROM clause of one column ``x`` of a type, in order, the last one NULL."""
    values = ", ".join(
        "({}, {}::text)".format(at, "NULL" if text is None else "$q$" + text + "$q$")
        for at, text in enumerate([*texts, None])
    )
    return f"FROM (SELECT n, t::{kind} AS x FROM (VALUES {values}) v(n, t)) s ORDER BY n"


def read(reader: PostgresReader, kind: str, texts: list[str], **options: Any) -> pa.ChunkedArray:
    table: Any = reader.query(f"SELECT x {rows_of(kind, texts)}", options=ReadOptions(**options))
    return table["x"]


def server(connection: psycopg.Connection, expression: str, kind: str, texts: list[str]) -> Any:
    return [
        value
        for (value,) in connection.execute(f"SELECT {expression} {rows_of(kind, texts)}".encode())
    ]


def as_json(value: Any) -> Any:
    """Our values as the server's JSON has them."""
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    return value


@pytest.mark.parametrize("kind", JSON_TYPES)
def test_a_type_with_parts_equals_the_servers_json(
    connection: psycopg.Connection, module_reader: PostgresReader, kind: str
) -> None:
    texts = JSON_TYPES[kind]
    said = [
        None if value is None else json.loads(value, parse_float=Decimal)
        for value in server(connection, "to_json(x)::text", kind, texts)
    ]

    found = [as_json(value) for value in read(module_reader, kind, texts).to_pylist()]

    if kind == "jsonb[]":
        found = [row and [part and json.loads(part) for part in row] for row in found]
    assert found == said


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_a_type_read_as_text_is_the_servers_own(
    connection: psycopg.Connection, module_reader: PostgresReader, kind: str
) -> None:
    texts = TEXT_TYPES[kind]
    if kind == "numeric" and connection.info.server_version >= 140_000:
        texts = [*texts, "Infinity", "-Infinity"]

    found = read(module_reader, kind, texts)

    assert found.type == pa.large_string()
    # A cast of inet to text adds /32; what the server writes does not.
    said = server(connection, "CASE WHEN x IS NOT NULL THEN format('%s', x) END", kind, texts)
    assert found.to_pylist() == said


@pytest.mark.parametrize("kind", NUMBER_TYPES)
def test_an_identifier_is_the_number_of_its_oid(
    connection: psycopg.Connection, module_reader: PostgresReader, kind: str
) -> None:
    texts = NUMBER_TYPES[kind]
    number = "x::oid::text" if kind.startswith("reg") else "x::text"

    found = read(module_reader, kind, texts)

    said = [value and int(value) for value in server(connection, number, kind, texts)]
    assert found.to_pylist() == said


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("numeric(12,4)", NUMBERS),
        ("numeric(38,12)", WIDE),
        ("numeric(38,0)", ["9" * 38, "-" + "9" * 38, "0", "1"]),
        ("numeric(18,18)", ["0.999999999999999999", "-0.000000000000000001", "0"]),
        ("numeric(76,20)", [*WIDE, "9" * 56 + "." + "9" * 20, "-" + "9" * 56 + "." + "9" * 20]),
        ("numeric(39,0)", ["9" * 39, "-1", str(1 << 127), str(-(1 << 127)), str(1 << 64)]),
        ("numeric(3,5)", ["0.00999", "-0.00001", "0"]),
        ("numeric(3,-4)", ["9990000", "-10000", "0"]),
    ],
)
def test_a_numeric_of_known_digits_is_the_exact_decimal(
    connection: psycopg.Connection, module_reader: PostgresReader, kind: str, texts: list[str]
) -> None:
    found = read(module_reader, kind, texts)

    assert pa.types.is_decimal(found.type)
    said = [value and Decimal(value) for value in server(connection, "x::text", kind, texts)]
    assert found.to_pylist() == said


@pytest.mark.parametrize(
    ("choice", "texts"),
    [("decimal128(38, 12)", WIDE), ("decimal256(76, 51)", ["1e20", "-1e-50", "0.1", "1234500"])],
)
def test_a_numeric_without_digits_becomes_the_decimal_that_is_asked_for(
    connection: psycopg.Connection, module_reader: PostgresReader, choice: str, texts: list[str]
) -> None:
    found = read(module_reader, "numeric", texts, numeric=choice)

    assert str(found.type) == choice
    said = [value and Decimal(value) for value in server(connection, "x::text", "numeric", texts)]
    assert found.to_pylist() == said


def random_numerics(count: int, number: int) -> list[str]:
    """Texts of up to 40 digits, points anywhere, many zeros."""
    dice = random.Random(number)
    texts = []
    for _ in range(count):
        digits = "".join(dice.choice("0123456789000") for _ in range(dice.randint(1, 40)))
        at = dice.randint(0, len(digits))
        power = dice.choice(["", "", f"e{dice.randint(-300, 280)}"])
        texts.append(f"{dice.choice(['', '-'])}{digits[:at] or '0'}.{digits[at:] or '0'}{power}")
    return texts


def test_a_numeric_becomes_the_nearest_double(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    """Halfway cases, the ends of the range, numbers that no word holds, at random and by hand."""
    texts = [
        *random_numerics(3_000, 20_261_122),
        "9007199254740993",
        "9007199254740992.5",
        "2.2250738585072011e-308",
        "4.9406564584124654e-324",
        "1.7976931348623157e308",
        "0.1",
        "123456789012345678",
        "1" + "0" * 22,
        "1" + "0" * 23,
        "9007199254740993." + "0" * 900 + "1",
        "NaN",
        "Infinity",
        "-Infinity",
    ]

    found = read(module_reader, "numeric", texts, numeric="float64")

    assert found.type == pa.float64()
    said = server(connection, "x::float8", "numeric", texts)
    assert [repr(value) for value in found.to_pylist()] == [repr(value) for value in said]


RANGES = {
    "int4range": ["[1,5)", "empty", "(,)", "[,7]", "(3,)"],
    "int8range": ["[-9223372036854775808,1)"],
    "numrange": ["[0.50,1.250]", "(,1)", "empty"],
    "daterange": ["[2020-01-01,2020-02-01]", "(,)"],
    "tsrange": ["[2020-01-01,2020-02-01 12:00:00.000001)"],
    f"{SCHEMA}.floatrange": ["(0.5,1.5]"],
}
PARTS = """json_build_object('lower', lower(x), 'upper', upper(x), 'lower_inclusive', lower_inc(x),
    'upper_inclusive', upper_inc(x), 'empty', isempty(x))"""


@pytest.mark.parametrize("kind", RANGES)
def test_a_range_equals_its_bounds_and_flags(
    connection: psycopg.Connection, module_reader: PostgresReader, kind: str
) -> None:
    texts = RANGES[kind]
    expression = f"CASE WHEN x IS NOT NULL THEN {PARTS} END::text"
    said = [
        value and json.loads(value, parse_float=str)
        for value in server(connection, expression, kind, texts)
    ]

    found = [as_json(value) for value in read(module_reader, kind, texts).to_pylist()]

    for row in (row for row in said if row and kind in ("numrange", f"{SCHEMA}.floatrange")):
        convert: Callable[[Any], Any] = Decimal if kind.endswith("floatrange") else str
        for bound in ("lower", "upper"):
            row[bound] = None if row[bound] is None else convert(row[bound])
    assert found == said


def test_a_multirange_is_a_list_of_ranges(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    found = read(module_reader, "int4multirange", ["{}", "{[1,3),[5,8)}", "{(,)}"]).to_pylist()

    assert [row and [(r["lower"], r["upper"]) for r in row] for row in found] == [
        [],
        [(1, 3), (5, 8)],
        [(None, None)],
        None,
    ]


def test_an_interval_keeps_months_days_and_time(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    texts = ["1 year 2 mons 3 days 04:05:06.000007", "-1 mon +1 day -00:00:01", "0", "290 years"]
    parts = """(extract(year FROM x) * 12 + extract(month FROM x))::int8 || ' ' ||
        extract(day FROM x)::int8 || ' ' || (extract(hour FROM x) * 3600000000 +
        extract(minute FROM x) * 60000000 + extract(microseconds FROM x))::int8 * 1000"""

    found = read(module_reader, "interval", texts)

    assert found.type == pa.month_day_nano_interval()
    shown = [v and f"{v.months} {v.days} {v.nanoseconds}" for v in found.to_pylist()]
    assert shown == server(connection, parts, "interval", texts)


def test_a_time_with_zone_is_a_time_and_an_offset(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    texts = ["12:34:56.000001+05:30", "00:00:00-15:59:59", "23:59:59+00"]

    found = read(module_reader, "timetz", texts).to_pylist()

    offsets = [
        int(v) if v is not None else None
        for v in server(connection, "extract(timezone FROM x)", "timetz", texts)
    ]
    assert [v and v["utc_offset_s"] for v in found] == offsets
    assert [v and v["time"] for v in found][:2] == [dt.time(12, 34, 56, 1), dt.time(0)]


def test_money_is_a_decimal_of_the_servers_currency(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    texts = ["0", "12.34", "-92233720368547758.08", "92233720368547758.07"]

    found = read(module_reader, "money", texts)

    assert found.type == pa.decimal128(19, 2)
    assert found.to_pylist() == server(connection, "x::numeric", "money", texts)


GEOMETRIC: dict[str, tuple[list[str], Any]] = {
    "point": (["(1.5,-2)"], {"x": 1.5, "y": -2.0}),
    "lseg": (["[(1,2),(3,4)]"], {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}),
    "box": (["(1,2),(3,4)"], {"x1": 3.0, "y1": 4.0, "x2": 1.0, "y2": 2.0}),
    "line": (["{1,2,3}"], {"a": 1.0, "b": 2.0, "c": 3.0}),
    "circle": (["<(1,2),3>"], {"x": 1.0, "y": 2.0, "radius": 3.0}),
    "path": (
        ["[(1,2),(3,4)]"],
        {"closed": False, "points": [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}]},
    ),
    "polygon": (["((1,2),(3,4))"], [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}]),
    "tid": (["(4294967295,65535)"], {"block": 4294967295, "offset": 65535}),
    "pg_lsn": (["FFFFFFFF/FFFFFFFF"], (1 << 64) - 1),
}


@pytest.mark.parametrize("kind", GEOMETRIC)
def test_a_type_of_fixed_parts_is_a_struct(module_reader: PostgresReader, kind: str) -> None:
    texts, expected = GEOMETRIC[kind]

    assert read(module_reader, kind, texts).to_pylist() == [expected, None]


def test_several_dimensions_are_lists_in_lists(
    connection: psycopg.Connection, module_reader: PostgresReader
) -> None:
    texts = ["{{1,2,3},{4,NULL,6}}", "{}", "{{7},{8}}"]

    assert read(module_reader, "int4[]", texts).to_pylist() == [
        [[1, 2, 3], [4, None, 6]],
        [],
        [[7], [8]],
        None,
    ]
    assert read(module_reader, "text[]", ["{{{a},{b}},{{c},{d}}}"]).to_pylist() == [
        [[["a"], ["b"]], [["c"], ["d"]]],
        None,
    ]


ALL = {**JSON_TYPES, **TEXT_TYPES, **NUMBER_TYPES, **RANGES, "numeric(12,4)": NUMBERS}


@seed(20_261_122)
@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_random_tables_of_all_types_equal_their_columns_alone(
    connection: psycopg.Connection, module_reader: PostgresReader, data: st.DataObject
) -> None:
    """What a column becomes does not depend on its neighbours, NULLs, or on the order of rows."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(ALL)), min_size=1, max_size=6))
    count = data.draw(st.integers(1, 20))
    picks = [
        [data.draw(st.one_of(st.none(), st.sampled_from(ALL[kind]))) for _ in range(count)]
        for kind in kinds
    ]
    literals = [
        "("
        + ", ".join([str(row), *("NULL" if p[row] is None else f"$q${p[row]}$q$" for p in picks)])
        + ")"
        for row in range(count)
    ]
    columns = ", ".join(f"column{at + 2}::text::{kind} AS c{at}" for at, kind in enumerate(kinds))
    query = f"SELECT {columns} FROM (VALUES {', '.join(literals)}) v ORDER BY column1"

    table: Any = module_reader.query(query)

    for at, kind in enumerate(kinds):
        alone = read(module_reader, kind, ALL[kind]).to_pylist()
        values = dict(zip([*ALL[kind], None], alone, strict=True))
        assert table[f"c{at}"].to_pylist() == [values[text] for text in picks[at]], kind
