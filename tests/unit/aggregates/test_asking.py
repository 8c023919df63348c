"""What a question may say, what it is turned into, and what is refused with a way out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.aggregates import (
    Aggregate,
    aggregate_table,
    bucket_of,
    condition_of,
    make_request,
    operations_of,
)
from neural_gpu_bus.aggregates.conditions import All, Any_, Comparison, IsNull, Not, OneOf
from neural_gpu_bus.aggregates.statement import ServerColumn, aggregate_sql
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ColumnNotFoundError,
    UnsupportedTypeError,
)

BARS = pa.table(
    {
        "name": ["A", "B", "A", None],
        "close": [1.0, 2.0, None, 4.0],
        "volume": [1, 2, 3, 4],
        "flag": [True, False, None, True],
        "ts": pa.array([0, 30, 61, 125], pa.timestamp("s", "UTC")),
    }
)


def asked(columns: Any = BARS, *operations: Aggregate, **given: Any) -> dict[str, list[Any]]:
    by, where = given.pop("by", None), given.pop("where", None)
    bucket, order_by = bucket_of(given.pop("bucket", None)), given.pop("order_by", None)
    wanted = operations_of(operations, given, order_by)
    request = make_request(by, bucket, condition_of(where), wanted)
    return aggregate_table(columns, request).to_pydict()


def test_results_are_named_after_column_and_function() -> None:
    found = asked(
        BARS,
        Aggregate("quantile", "close", q=0.95, name="p95"),
        mean=["close", "volume"],
        sum={"total": "volume"},
        quantile=("close", 0.25),
        count=True,
    )

    assert list(found) == [
        "p95", "close_mean", "volume_mean", "total", "close_quantile_0.25", "count",
    ]  # fmt: skip


def test_null_is_a_group_of_its_own_and_comes_last() -> None:
    assert asked(by="name", count={"rows": None, "known": "close"}, sum="volume") == {
        "name": ["A", "B", None],
        "rows": [2, 1, 1],
        "known": [1, 1, 1],
        "volume_sum": [4, 2, 4],
    }


def test_nothing_at_all_is_one_row_without_keys_and_none_with() -> None:
    empty = BARS.slice(0, 0)

    assert asked(empty, count=True, sum="volume", max="close") == {
        "count": [0],
        "volume_sum": [None],
        "close_max": [None],
    }
    assert asked(empty, by="name", count=True) == {"name": [], "count": []}


def test_buckets_hold_the_bars_of_trades() -> None:
    found = asked(bucket=("ts", "1 minute"), ohlcv=("volume", "volume"), order_by="ts")

    assert found["ts"] == [datetime(1970, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1, 2)]
    assert (found["open"], found["close"], found["volume"]) == ([1, 3, 4], [2, 3, 4], [3, 3, 4])


def test_a_bucket_may_begin_anywhere() -> None:
    origin = datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC)

    found = asked(bucket=("ts", timedelta(minutes=1), origin), count=True)

    assert found["ts"][0] == datetime(1969, 12, 31, 23, 59, 30, tzinfo=UTC)
    assert found["count"] == [1, 2, 1]


def test_a_condition_as_text_and_as_mapping_are_the_same() -> None:
    text = condition_of("close >= 1.5 and (name in ('A', 'It''s') or not volume is null)")

    assert text == All(
        (
            Comparison("close", ">=", Decimal("1.5")),
            Any_((OneOf("name", ("A", "It's")), Not(IsNull("volume")))),
        )
    )
    assert condition_of({"name": ["A"], "volume": (">", 1), "close": None}) == All(
        (OneOf("name", ("A",)), Comparison("volume", ">", 1), IsNull("close"))
    )


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("close > 1", 2),
        ("not close > 1", 1),
        ("close is null", 1),
        ('"close" between 1 and 2', 2),
        ("volume <> 2.5", 4),
        ("volume < 2.5", 2),
        ("volume >= 1e30", 0),
        ({"volume": ("<", 10**30)}, 4),
        ("flag = true", 2),
        ("name not in ('A')", 1),
        ("ts >= '1970-01-01T00:01:00'", 2),
        ({"ts": datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC)}, 1),
    ],
)
def test_rows_count_where_a_condition_is_true(where: Any, rows: int) -> None:
    assert asked(where=where, count=True)["count"] == [rows]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("close >", "should have a number"),
        ("close > 10 10", "letter 12"),
        ("10 < close", "a column's name"),
        ("close = null", "never true"),
        ("close ~ 3", "makes no sense at letter 7"),
        ({"close": [None]}, "NULL in it"),
        ({"close": ("above", 3)}, "the condition on 'close'"),
        ({"close": "high"}, "no value of that type"),
        ("not " * 200 + "close > 1", "within each other"),
    ],
)
def test_conditions_that_make_no_sense_say_where(where: Any, what: str) -> None:
    with pytest.raises(BadParameterError, match=what):
        asked(where=where, count=True)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "there is no operation"),
        ({"mode": "close"}, "did you mean|use one of these|no operation 'mode'"),
        ({"first": "close"}, "no order to go by"),
        ({"quantile": "close"}, "expected a share"),
        ({"corr": "close"}, "takes two columns"),
        ({"mean": ["close", "close"]}, "two columns of the result"),
        ({"count": True, "bucket": ("ts", "1 month")}, "width is '1 month'"),
        ({"count": True, "bucket": ("ts", "1 millisecond")}, "do not fit"),
    ],
)
def test_questions_that_make_no_sense_say_why(given: Any, what: str) -> None:
    with pytest.raises(BadParameterError, match=what):
        asked(**given)


def test_types_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"'name' \(text\) is not what mean takes"):
        asked(mean="name")
    with pytest.raises(UnsupportedTypeError, match="'flag'"):
        asked(sum="flag")
    with pytest.raises(ColumnNotFoundError, match="did you mean 'close'"):
        asked(mean="clos")


def test_sums_that_overflow_are_told() -> None:
    whole = pa.table({"x": [2**62, 2**62], "y": [1e308, 1e308]})

    with pytest.raises(BadValueError, match="'x' does not fit into an int64"):
        asked(whole, sum="x")
    with pytest.raises(BadValueError, match="'y' does not fit into a float64"):
        asked(whole, sum="y")
    assert asked(whole, mean="x")["x_mean"] == [2.0**62]


def test_the_statement_quotes_names_and_binds_values() -> None:
    odd = 'a"b%'
    columns = {odd: ServerColumn(odd, "text", "S", -1), "x": ServerColumn("x", "float8", "N", -1)}
    wanted = operations_of([], {"sum": "x"}, None)
    request = make_request(odd, None, condition_of({odd: "'; DROP"}), wanted)

    statement, values = aggregate_sql('"t"', columns, request)

    assert statement == (
        'SELECT "a""b%%" COLLATE "C" AS "a""b%%", sum("x"::float8)::float8 AS "x_sum" FROM "t" '
        'WHERE (("a""b%%" COLLATE "C" = %(v0)s::text)) GROUP BY 1 ORDER BY 1 NULLS LAST'
    )
    assert values == {"v0": "'; DROP"}


@pytest.mark.parametrize(
    ("given", "what", "hint"),
    [
        ({"avg": "close"}, "there is no operation 'avg'", "it is called 'mean' here"),
        ({"stddev": "close"}, "there is no operation 'stddev'", "it is called 'std' here"),
        ({"variance": "close"}, "there is no operation 'variance'", "it is called 'var' here"),
        ({"meen": "close"}, "there is no operation 'meen'", "did you mean 'mean'"),
        ({"params": {}}, "aggregate takes no 'params'", "write values into where"),
        ({"query_class": "hot"}, "aggregate takes no 'query_class'", "give timeout_s"),
    ],
)
def test_a_name_from_elsewhere_is_told_with_the_one_here(
    given: dict[str, Any], what: str, hint: str
) -> None:
    with pytest.raises(BadParameterError, match=what) as caught:
        operations_of([], given, None)
    assert hint in caught.value.hint


def test_integers_far_from_0_and_from_each_other_keep_their_digits() -> None:
    """Nanoseconds since 1970, and the largest int64 beside the smallest."""
    top = 2**63 - 1
    table = pa.table(
        {
            "k": ["a", "a", "a", "b", "b", "b"],
            "v": [top, top - 1, None, -top, 2 - top, 4 - top],
            "w": [1.0, 2.0, 3.0, 3.0, 2.0, 1.0],
        }
    )

    found = asked(table, by="k", var="v", std_pop="v", corr=("v", "w"))

    assert found["v_var"] == [0.5, 4.0]
    assert found["v_std_pop"] == [0.5, pytest.approx((8 / 3) ** 0.5)]
    assert found["v_w_corr"] == pytest.approx([-1.0, -1.0], abs=1e-12)
    stamps = pa.table(
        {"v": [1_700_000_000_000_000_000 + n for n in range(100)], "w": [*range(100)]}
    )
    assert asked(stamps, corr=("v", "w"), var="v") == {
        "v_w_corr": [pytest.approx(1.0, abs=1e-12)], "v_var": [pytest.approx(841.6666666666666)]
    }  # fmt: skip
