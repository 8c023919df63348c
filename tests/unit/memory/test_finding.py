"""Which datasets a pattern and its conditions find."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.descriptors import ColumnDescriptor, DatasetFacts
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.matching.finding import find, literal_prefix

NOW_NS = 1_000_000_000_000


def facts(name: str, **others: Any) -> DatasetFacts:
    columns = others.pop("columns", {"ts": "timestamp[us, tz=UTC]", "close": "double"})
    given = {
        "version": 1,
        "region": "shared",
        "rows": 10,
        "nbytes": 1000,
        "created_ns": NOW_NS,
        "used_ns": NOW_NS,
        "hits": 0,
        "reload_ns": 0,
        "pinned": False,
    }
    described = tuple(ColumnDescriptor(key, kind) for key, kind in columns.items())
    return DatasetFacts(name=name, columns=described, **(given | others))


def names(found: list[DatasetFacts]) -> list[str]:
    return [one.name for one in found]


NAMED = [
    facts(name)
    for name in (
        "risk.us",
        "risk.eu",
        "riskier",
        "risk.eu/1",
        "bars/A",
        "jobs/1",
        "tensors/a/b",
        "queries/1",
    )
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("risk.*", ["risk.eu", "risk.eu/1", "risk.us"]),
        ("risk.?u", ["risk.eu"]),
        ("risk.[a-e]u", ["risk.eu"]),
        ("risk.[!e]?", ["risk.us"]),
        ("*", ["bars/A", "risk.eu", "risk.eu/1", "risk.us", "riskier"]),
        ("bars/A", ["bars/A"]),
        ("jobs/*", ["jobs/1"]),
        ("tensors/*", ["tensors/a/b"]),
        ("queries/*", ["queries/1"]),
        ("BARS/*", []),
    ],
)
def test_patterns_find_names(pattern: str, expected: list[str]) -> None:
    assert names(find(NAMED, pattern, now_ns=NOW_NS)) == expected


HELD = [
    facts("bars", rows=100, nbytes=5000, created_ns=NOW_NS - 10_000_000_000),
    facts("model", columns={"w": "float"}, region="neural", pinned=True),
    facts("people", columns={"name": "large_string", "age": "int32"}, rows=0),
]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"columns": ["close"]}, ["bars"]),
        ({"columns": ["close", "w"]}, []),
        ({"columns": {"close": "double", "ts": "timestamp[us]"}}, ["bars"]),
        ({"columns": {"close": "float", "ts": "time"}}, ["bars"]),
        ({"columns": {"close": "int64"}}, []),
        ({"columns": {"age": "integer", "name": "text"}}, ["people"]),
        ({"types": "float"}, ["model"]),
        ({"types": ["float", "time"]}, ["bars", "model"]),
        ({"types": ["text"]}, ["people"]),
        ({"rows_min": 10, "rows_max": 100}, ["bars", "model"]),
        ({"rows_max": 0}, ["people"]),
        ({"bytes_min": 1001}, ["bars"]),
        ({"older_than_s": 9}, ["bars"]),
        ({"older_than_s": 10}, []),
        ({"newer_than_s": 10}, ["model", "people"]),
        ({"region": "neural"}, ["model"]),
        ({"pinned": False}, ["bars", "people"]),
        ({"pinned": True}, ["model"]),
    ],
    ids=str,
)
def test_conditions_narrow(conditions: dict[str, Any], expected: list[str]) -> None:
    assert names(find(HELD, now_ns=NOW_NS, **conditions)) == expected


@pytest.mark.parametrize(
    ("conditions", "sentence", "hint"),
    [
        ({"pattern": ""}, "pattern is '': expected a text", "risk"),
        ({"pattern": 5}, "pattern is 5", "risk"),
        ({"columns": "close"}, "columns is 'close': expected names", "columns="),
        ({"columns": {"close": "doubel"}}, "there is no type 'doubel'", "'double'"),
        ({"types": "txt"}, "there is no type 'txt'", "'text'"),
        ({"rows_min": -1}, "rows_min is -1", "rows_min="),
        ({"rows_min": True}, "rows_min is True", "rows_min="),
        ({"bytes_max": 1.5}, "bytes_max is 1.5", "bytes_max="),
        ({"rows_min": 5, "rows_max": 4}, "nothing lies between", "exchange"),
        ({"older_than_s": -1}, "older_than_s is -1", "3600"),
        ({"newer_than_s": float("nan")}, "newer_than_s is nan", "3600"),
        ({"region": "nueral"}, "there is no region 'nueral'", "neural"),
    ],
    ids=str,
)
def test_what_nothing_could_meet_is_refused(
    conditions: dict[str, Any], sentence: str, hint: str
) -> None:
    with pytest.raises(BadParameterError, match=sentence) as caught:
        find(HELD, now_ns=NOW_NS, **conditions)

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("risk.*", "risk."), ("*", ""), ("bars/A", "bars/A"), ("a[bc]d", "a"), ("a?", "a")],
)
def test_the_plain_beginning_is_for_the_index(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix


_SHORT = st.text(alphabet="ab./*?[]!-", min_size=1, max_size=6)


@given(pattern=_SHORT, held=st.sets(_SHORT, max_size=8))
def test_it_finds_what_the_standard_library_finds(pattern: str, held: set[str]) -> None:
    """And whatever is found begins with the prefix that the index is asked for."""
    found = names(find([facts(name) for name in held], pattern, now_ns=NOW_NS))

    assert found == sorted(name for name in held if fnmatch.fnmatchcase(name, pattern))
    assert all(name.startswith(literal_prefix(pattern)) for name in found)
