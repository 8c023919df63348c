"""The compiled aggregates equal the plain ones: random tables, threads, borders, types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.aggregates import (
    Aggregate,
    aggregate_table,
    bucket_of,
    condition_of,
    make_request,
    numbering,
    operations_of,
    threads,
)
from neural_gpu_bus.aggregates.request import DEFAULT_ORIGIN
from plain_aggregates import aggregate_plainly, alike
from random_groups import as_table, rows

OPERATIONS = operations_of(
    [
        Aggregate("quantile", "x", q=0.9, name="p90"),
        Aggregate("quantile_disc", "x", q=0.25, name="d25"),
        Aggregate("quantile_disc", "name", q=0.5, name="middle_name"),
        Aggregate("corr", ("x", "y")),
        Aggregate("weighted_mean", ("y", "w")),
    ],
    {
        "count": {"rows": None, "known": "x"},
        "sum": ["x", "y", "whole", "small", "price"],
        "mean": ["x", "y", "whole", "price"],
        "var": ["x", "y", "whole", "price"],
        "std": ["x", "small"],
        "var_pop": ["x", "small"],
        "std_pop": "y",
        "min": ["x", "y", "whole", "price", "name", "ts"],
        "max": ["x", "y", "whole", "price", "name", "ts"],
        "first": ["x", "name", "flag", "price"],
        "last": ["x", "name", "flag", "price"],
        "median": ["x", "whole", "price"],
    },
    "seq",
)
COUNT = operations_of([], {"count": True}, None)
KEYS = ["name", "code", "ratio", "flag", "small", "price", "ts"]


def check(found: pa.Table, expected: list[tuple[Any, ...]]) -> None:
    mine = [tuple(row.values()) for row in found.to_pylist()]
    assert len(mine) == len(expected)
    for one, other in zip(mine, expected, strict=True):
        pairs = zip(found.column_names, one, other, strict=True)
        wrong = [(name, a, b) for name, a, b in pairs if not alike(a, b, scale=1e7)]
        assert wrong == []


@settings(max_examples=100, deadline=None, derandomize=True)
@given(found=rows(), by=st.lists(st.sampled_from(KEYS), max_size=3, unique=True))
def test_random_groups(found: list[dict[str, Any]], by: list[str]) -> None:
    request = make_request(by, None, None, OPERATIONS)

    check(aggregate_table(as_table(found), request), aggregate_plainly(found, by, OPERATIONS))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(found=rows(), minutes=st.sampled_from([1, 5, 7 * 24 * 60]))
def test_random_buckets(found: list[dict[str, Any]], minutes: int) -> None:
    width = timedelta(minutes=minutes)
    bars = operations_of([], {"ohlcv": ("x", "y"), "vwap": ("y", "w")}, "seq")
    request = make_request("name", bucket_of(("ts", width)), None, bars)

    expected = aggregate_plainly(found, ["name"], bars, bucket=("ts", width, DEFAULT_ORIGIN))
    check(aggregate_table(as_table(found), request), expected)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(found=rows())
def test_a_dictionary_counts_as_its_texts(found: list[dict[str, Any]]) -> None:
    """Also one that holds a text twice and one that no row has."""
    plain = as_table(found)
    texts = plain["name"].combine_chunks().dictionary_encode()
    values = pa.concat_arrays(
        [texts.dictionary, texts.dictionary, pa.array(["Z"], pa.large_string())]
    )
    moved = np.arange(len(found)) % 2 * len(texts.dictionary)
    indices = pa.array(
        texts.indices.to_numpy(zero_copy_only=False).astype("f8") + moved, from_pandas=True
    ).cast(pa.int32())
    twice = plain.set_column(0, "name", pa.DictionaryArray.from_arrays(indices, values))
    request = make_request(["name", "flag"], None, condition_of("name <> 'B'"), OPERATIONS)

    expected = [tuple(row.values()) for row in aggregate_table(plain, request).to_pylist()]
    check(aggregate_table(twice, request), expected)


def large(random: np.random.Generator, count: int) -> pa.Table:
    names = np.asarray([f"N{number}.{'X' * (number % 23)}" for number in range(97)])
    picked = random.integers(0, 97, count)
    picked[count // 3 : 2 * count // 3].sort()
    picked[2 * count // 3 :] = 96 - np.arange(count - 2 * count // 3) // 150  # long runs
    x = random.normal(1e9, 1.0, count)
    return pa.table(
        {
            "name": pa.array(names[picked], mask=random.random(count) < 0.01),
            "id": random.integers(0, 5000, count),
            "x": x,
            "y": pa.array(x + random.normal(0, 1, count), mask=random.random(count) < 0.1),
            "whole": random.integers(-(2**40), 2**40, count),
            "seq": random.permutation(count),
        }
    )


MANY = operations_of(
    [Aggregate("corr", ("x", "y")), Aggregate("quantile", "y", q=0.3)],
    {
        "count": True,
        "sum": ["x", "y", "whole"],
        "std": ["x", "y", "whole"],
        "min": ["x", "y", "whole"],
        "max": ["x", "y", "whole"],
        "first": "x",
        "last": "y",
        "median": "whole",
    },
    "seq",
)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 400, 401, 1101])
@pytest.mark.parametrize("by", ["name", "id", ("name", "id")])
def test_threads_and_borders_change_no_digit(
    count: int, by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of 100 rows, and 400 texts numbered first."""
    monkeypatch.setattr(threads, "PART_ROWS", 100)
    monkeypatch.setattr(numbering, "SEED_ROWS", 400)
    monkeypatch.setattr(numbering, "PART_ROWS", 100)
    print("seed", count)
    table = large(np.random.default_rng(count), count)
    request = make_request(by, None, None, MANY)
    one, *others = (aggregate_table(table, request, threads=number) for number in (1, 2, 5))

    assert [one.equals(other) for other in others] == [True, True]
    check(one, aggregate_plainly(table.to_pylist(), request.by, MANY))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 32, 33, 100])
def test_texts_that_differ_in_one_byte_are_different(size: int) -> None:
    """Wherever the byte stands, NUL too, and whatever stood in the row before."""
    plain = ["\0" * size, "", *("a" * at + "b" + "a" * (size - at - 1) for at in range(size))]
    texts = [text for text in plain for _ in range(2)] + plain[::-1]
    table = pa.table({"k": pa.array(texts, pa.large_string())})
    request = make_request("k", None, None, COUNT)

    for kind in (pa.large_string(), pa.string()):
        cast = pa.table({"k": table["k"].cast(kind)})
        assert aggregate_table(cast, request).to_pydict() == {
            "k": sorted(plain),
            "count": [3] * len(plain),
        }


@pytest.mark.parametrize("threads_", [1, 3])
def test_many_different_texts_are_all_told_apart(threads_: int) -> None:
    """More than tables begin with, in parts that number them by themselves."""
    random = np.random.default_rng(5)
    plain = [f"{number:x}".rjust(number % 40, "-") for number in range(20_000)]
    picked = np.concatenate([random.permutation(20_000) for _ in range(15)])
    table = pa.table({"k": pa.array(plain, pa.large_string()).take(pa.array(picked))})
    request = make_request("k", None, None, COUNT)

    found = aggregate_table(table, request, threads=threads_)
    assert found.to_pydict() == {"k": sorted(plain), "count": [15] * 20_000}


@pytest.mark.parametrize("low", [-(2**63), -700, 0, 2**63 - 3000])
@pytest.mark.parametrize("between", [1, 1023, 1024, 2900])
def test_integers_close_together_and_not(low: int, between: int) -> None:
    """Up to 1,024 are numbers of groups as they are; what stands in no row gives none."""
    keys = [low, low + between, low + between // 2, None, low] * 300
    table = pa.table({"k": pa.array(keys, pa.int64())})
    request = make_request("k", None, None, COUNT)

    check(aggregate_table(table, request), aggregate_plainly(table.to_pylist(), ["k"], COUNT))


def test_a_first_value_far_out_costs_no_digits() -> None:
    """Measured from 1e12, values around 0 would keep four digits of their variance."""
    random = np.random.default_rng(1)
    values = random.normal(0, 1, 10_000)
    table = pa.table({"k": np.zeros(10_001, "i8"), "x": np.append(1e12, values)})
    request = make_request(
        "k", None, condition_of("x < 1e9"), operations_of([], {"var": "x"}, None)
    )
    whole = make_request("k", None, None, operations_of([], {"var": "x"}, None))
    exact = aggregate_plainly(table.to_pylist(), ["k"], whole.operations)[0][1]

    assert aggregate_table(table, whole)["x_var"][0].as_py() == pytest.approx(exact, rel=1e-12)
    expected = pytest.approx(values.var(ddof=1), rel=1e-12)
    assert aggregate_table(table, request)["x_var"][0].as_py() == expected
