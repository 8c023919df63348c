"""Keys of queries: different values never share one, whatever Python's == says."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.query_cache.key import QueryKey, options_text, query_key, quick_key
from neural_gpu_bus.query_cache.uncacheable import Uncacheable
from neural_gpu_bus.query_cache.values import ELEMENTS_MAX, signature


def key(params: Any, sql: str = "SELECT %s", **other: Any) -> QueryKey:
    return query_key(sql, params, **{"options": "", "whose": "ours"} | other)


DIFFERENT = [
    1,
    1.0,
    True,
    "1",
    b"1",
    decimal.Decimal(1),
    decimal.Decimal("1.0"),
    np.int64(1),
    np.int32(1),
    np.float64(1),
    np.bool_(True),
    None,
    "",
    "null",
    0,
    0.0,
    -0.0,
    float("nan"),
    float("inf"),
    [1],
    [1.0],
    [[1]],
    (1,),
    ["1"],
    ["1", "2"],
    ["1,2"],
    ["1','2"],
    [],
    dt.date(2026, 1, 2),
    dt.datetime(2026, 1, 2, tzinfo=None),  # noqa: DTZ001
    dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    dt.datetime(2026, 1, 2, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.time(1),
    dt.timedelta(1),
    dt.timedelta(0, 86_399, 999_999),
    uuid.UUID(int=1),
    2**63,
    "a\ud800",
]


def test_values_of_other_types_have_other_keys() -> None:
    texts = [key([value]).text for value in DIFFERENT]
    names = [key({"a": value}, "SELECT %(a)s").text for value in DIFFERENT]

    assert len(set(texts)) == len(DIFFERENT) == len(set(names))
    assert len({key([value]).name for value in DIFFERENT}) == len(DIFFERENT)


def test_quick_keys_tell_them_apart_too() -> None:
    found = {quick_key("SELECT %s", [value], "exact", "auto") for value in DIFFERENT}

    assert len(found) == len(DIFFERENT)


@pytest.mark.parametrize(
    "value",
    [object(), {"a": 1}, {1}, np.array([1]), np.datetime64("2026-01-02"), type("S", (str,), {})()],
    ids=["object", "mapping", "set", "array", "moment", "subclass"],
)
def test_values_that_nobody_can_compare_have_no_key(value: Any) -> None:
    with pytest.raises(Uncacheable, match=r"parameter 1 is a .* not compared"):
        key([value])


def test_long_lists_and_long_texts_have_no_key() -> None:
    with pytest.raises(Uncacheable, match="a list of more than 10,000 values"):
        key([list(range(ELEMENTS_MAX + 1))])
    with pytest.raises(Uncacheable, match="more than 262,144 characters"):
        key(["x" * 300_000])
    with pytest.raises(Uncacheable, match="parameters are set, neither"):
        key({1, 2})
    with pytest.raises(Uncacheable, match="names that are no texts"):
        key({1: "a", "1": "b"})


def test_a_mapping_has_no_order_and_a_sequence_has() -> None:
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key([1, 2]) != key([2, 1])
    assert key([1, 2]) == key((1, 2))
    assert key(None) != key([]) != key({})


def test_statement_options_and_server_count() -> None:
    one = key([1])

    assert key([1], "select  %s;") == one
    assert key([1], "SELECT  %s", plain_texts=False) != one
    assert key([1], whose="theirs").family != one.family
    read_otherwise = key([1], options=options_text("float64", "auto"))
    assert read_otherwise.family == one.family
    assert read_otherwise.name != one.name
    assert one.name == f"queries/{one.family}/{one.own}"
    assert len(one.digest) == 32


def test_options_may_be_mappings() -> None:
    by_column = {"b": "text", "a": "float64"}

    assert options_text(by_column, "auto") == options_text(dict(sorted(by_column.items())), "auto")
    assert quick_key("SELECT 1", None, by_column, "auto") == quick_key(
        "SELECT 1", None, dict(sorted(by_column.items())), "auto"
    )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    """Of the same types and the same values, down to the last."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        pairs = itertools.zip_longest(one, other, fillvalue=object())
        return all(same(left, right) for left, right in pairs)
    return repr(one) == repr(other)


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_keys_are_equal_where_values_are_the_same_and_nowhere_else(
    one: list[Any], other: list[Any]
) -> None:
    assert (key(one).text == key(other).text) == same(one, other)
    quick = [quick_key("SELECT", values, "exact", "auto") for values in (one, other)]
    assert (quick[0] == quick[1]) == same(one, other)


def test_signatures_tell_types_as_the_server_has_them() -> None:
    assert signature([1]) == signature([2]) == "int4"
    assert signature([1 << 40]) == "int8"
    assert signature([1 << 70]) == "big"
    assert signature([[1, 2], "x", None]) == "list(int4),str,NoneType"
    assert signature({"b": 1, "a": np.float32(1)}) == "'1:a':numpy float32,'1:b':int4"
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert signature([moment]) != signature([moment.replace(tzinfo=None)])
    assert signature(None) == "none"
