"""``ngb query`` shows what is there, whatever is in it."""

from __future__ import annotations

import pytest

from acceptance.conftest import Ngb


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT 5 % 2 AS rest", "1"),
        ('SELECT 1 AS "[/x]"', "[/x]"),
        ("SELECT '0044-03-15 BC'::timestamp AS ides", "-0043-03-15 00:00:00"),
        (r"SELECT E'\x1b[31mred' AS text", r"\x1b[31mred"),
        ("SELECT repeat('y', 5000) AS long", "y" * 150),
        ("SELECT NULL::int AS nothing", "NULL"),
    ],
)
def test_a_value_is_shown(ngb: Ngb, sql: str, shown: str) -> None:
    result = ngb("query", sql, COLUMNS="300")

    assert result.returncode == 0, result.stderr
    assert shown in result.stdout
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
    assert "no table is followed yet" in refused.stderr
