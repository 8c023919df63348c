"""``ngb query`` shows what is there, whatever is in it."""

from __future__ import annotations

import psycopg

from acceptance.conftest import Ngb
from neural_gpu_bus import DataPlane

#: Values that a table, a terminal or a driver could make something else of.
SHOWN = {
    "5 % 2 AS rest": "1",
    '1 AS "[/x]"': "[/x]",
    "'0044-03-15 BC'::timestamp AS ides": "-0043-03-15 00:00:00",
    r"E'\x1b[31mred' AS text": r"\x1b[31mred",
    "NULL::int AS nothing": "NULL",
}


def test_values_are_shown(ngb: Ngb) -> None:
    result = ngb("query", f"SELECT {', '.join(SHOWN)}", COLUMNS="300")

    assert result.returncode == 0, result.stderr
    for shown in SHOWN.values():
        assert shown in result.stdout
    assert "\x1b" not in result.stdout


def test_a_long_value_is_cut(ngb: Ngb) -> None:
    result = ngb("query", "SELECT repeat('y', 5000) AS long", COLUMNS="300")

    assert "y" * 150 in result.stdout
    assert len(result.stdout) < 2_000


def test_values_are_bound(ngb: Ngb) -> None:
    sql = "SELECT %(name)s AS name, %(size)s + 1 AS size"

    result = ngb("query", sql, "-p", "name=O'Hara; DROP", "-p", "size=41")

    assert "O'Hara; DROP" in result.stdout
    assert "42" in result.stdout


def test_a_result_is_kept_for_as_long_as_is_said(ngb: Ngb) -> None:
    sql = "SELECT extract(epoch FROM now())::text AS moment"

    kept, again, now = (
        ngb("query", sql, "--freshness", freshness).stdout.splitlines()[1]
        for freshness in ("600", "manual", "0")
    )
    told = ngb("query", sql, "--explain-cache")
    refused = ngb("query", sql, "--freshness", "live")

    assert kept == again != now
    assert "now(), stable" in told.stdout
    assert "found" in told.stdout
    assert refused.returncode == 2
    assert "now() is STABLE" in refused.stderr


def test_what_is_kept_is_forgotten(ngb: Ngb) -> None:
    sql = "SELECT now()::text AS moment"

    before = ngb("query", sql, "--freshness", "manual").stdout.splitlines()[1]
    forgotten = ngb("query", sql, "--forget")
    after = ngb("query", sql, "--freshness", "manual").stdout.splitlines()[1]

    assert forgotten.stdout == "1 kept result dropped\n"
    assert before != after


def test_how_it_is_read_is_chosen(ngb: Ngb) -> None:
    shown = ngb(
        *("query", "SELECT 1.50::numeric AS a, 2.50::numeric AS b, 'x' AS c"),
        *("--numeric", "a=float64", "--texts", "dictionary"),
        *("--query-class", "hot", "--timeout", "30"),
    )
    late = ngb("query", "SELECT pg_sleep(30)", "--timeout", "0.2")
    wrong = ngb("query", "SELECT 1", "--numeric", "a=float64", "--numeric", "text")

    assert shown.stdout.splitlines()[1].split() == ["1.5", "2.50", "x"], shown.stderr
    assert "0.2 s" in late.stderr
    assert "--numeric is given 2 times" in wrong.stderr


def test_a_wide_result_fits_80_columns(ngb: Ngb) -> None:
    columns = ", ".join(f"'value' AS column_{index}" for index in range(30))

    many = ngb("query", f"SELECT {columns} FROM generate_series(1, 3)", COLUMNS="80")
    one = ngb("query", f"SELECT {columns}", COLUMNS="80")

    assert "21 more columns: column_9" in many.stdout
    assert max(map(len, many.stdout.splitlines())) <= 80
    assert len(one.stdout.splitlines()) == 31


def test_rows_that_nobody_counted_are_unknown(ngb: Ngb, plane: DataPlane) -> None:
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE never_counted AS SELECT 1 AS n")
        try:
            shown = ngb("tables")
            rows = {row["name"]: row["rows"] for row in plane.tables().arrow().to_pylist()}
        finally:
            connection.execute("DROP TABLE never_counted")

    [line] = [line for line in shown.stdout.splitlines() if line.startswith("never_counted")]
    assert "unknown" in line
    assert rows["never_counted"] is None
