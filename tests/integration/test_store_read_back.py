"""What is read can be stored, and is then the same: types of both directions meet."""

from __future__ import annotations

import pytest

from fix_reader import open_reader
from fix_stores import Playground

VALUES = {
    "boolean": "true, NULL, false",
    "smallint": "1, NULL, -32768",
    "integer": "1, NULL, -2147483648",
    "bigint": "1, NULL, -9223372036854775808",
    "real": "1.5, NULL, 'NaN'",
    "double precision": "1.5, NULL, '-Infinity'",
    "numeric": "1.50, NULL, 'NaN'",
    "numeric(12,4)": "1.5, NULL, -99999999.9999",
    "numeric(60,20)": "1.5, NULL, -0.00000000000000000001",
    "text": "'a', NULL, ''",
    "varchar(5)": "'a', NULL, 'zéß'",
    "char(3)": "'a', NULL, 'abc'",
    "name": "'a', NULL, ''",
    '"char"': "'a', NULL, ''",
    "bytea": "'\\x00ff', NULL, ''",
    "uuid": "gen_random_uuid(), NULL, gen_random_uuid()",
    "date": "'2020-01-02', NULL, '0044-03-15 BC'",
    "time": "'23:59:59.999999', NULL, '00:00'",
    "timetz": "'23:59:59.999999+05:30', NULL, '00:00-12'",
    "timestamp": "'2020-01-02 03:04:05.000006', NULL, '1969-12-31 23:59:59'",
    "timestamptz": "'2020-01-02 03:04:05.000006+02', NULL, '1969-12-31 23:59:59Z'",
    "timestamp(3)": "'2020-01-02 03:04:05.006', NULL, '1969-12-31 23:59:59'",
    "interval": "'1 mon -2 days 3.000004 s', NULL, '-1 s'",
    "json": """'{"a": 1}', NULL, '[]'""",
    "jsonb": """'{"a": 1}', NULL, '[]'""",
    "oid": "4294967295, NULL, 0",
    "pg_lsn": "'0/10', NULL, 'FFFFFFFF/FFFFFFFF'",
    "money": "1.50, NULL, -2",
    "inet": "'10.0.0.1/8', NULL, '::1'",
    "cidr": "'10.0.0.0/8', NULL, '::/0'",
    "int4range": "'[1,5)', NULL, 'empty'",
    "numrange": "'(1.5,)', NULL, '[1,2]'",
    "tstzrange": "'[2020-01-01Z,2020-01-02Z)', NULL, '(,)'",
    "mood": "'sad', NULL, 'glad'",
    "pair": "'(1,x)', NULL, '(,)'",
    "cents": "1.50, NULL, 0.01",
    "int4[]": "'{1,NULL,3}', NULL, '{}'",
    "text[]": "'{a,NULL,\"\"}', NULL, '{}'",
    "numeric(6,2)[]": "'{1.5,NULL}', NULL, '{}'",
    "timestamptz[]": "'{2020-01-01Z}', NULL, '{}'",
    "int4range[]": """'{"[1,5)",empty,NULL}', NULL, '{}'""",
    "timetz[]": "'{12:00+02}', NULL, '{}'",
    "money[]": "'{$1.50}', NULL, '{}'",
    "pair[]": """'{"(1,x)",NULL}', NULL, '{}'""",
    "mood[]": "'{sad,NULL}', NULL, '{}'",
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_column_read_and_stored_is_the_same(
    playground: Playground, postgres_dsn: str, kind: str
) -> None:
    playground.run("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    playground.run("CREATE TYPE pair AS (a int, b text)")
    playground.run("CREATE DOMAIN cents AS numeric(8,2) CHECK (VALUE > 0)")
    for name in ("source", "target"):
        playground.run(f"CREATE TABLE {name} (k int, v {kind})")
    values = VALUES[kind].split(", ")
    for number, value in enumerate(values):
        playground.run(f"INSERT INTO source VALUES ({number}, {value})")

    with open_reader(postgres_dsn) as reader:
        read = reader.query(f"SELECT * FROM {playground.table('source')}")
        playground.writer.store(playground.table("target"), read)

    one, two = (f"SELECT k, v::text FROM {name}" for name in ("source", "target"))
    assert playground.rows(f"{one} EXCEPT ALL {two}") == []
    assert playground.rows(f"{two} EXCEPT ALL {one}") == []
    assert playground.rows("SELECT count(*) FROM target") == [(3,)]
