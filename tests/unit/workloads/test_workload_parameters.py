"""Parameters and inputs are checked at submit: what came, and what would be right."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, UnknownWorkloadError
from neural_gpu_bus.workloads import WORKLOADS, check_params, describe_params, find
from plain_columns import PlainColumns

BAR_COLUMNS = {"ts": np.arange(3), **dict.fromkeys(("high", "low", "close"), np.ones(3))}
BARS = PlainColumns(**BAR_COLUMNS)


def test_every_workload_is_found_by_its_name() -> None:
    assert list(WORKLOADS) == [
        "risk.portfolio",
        "factor.correlation",
        "indicators.technical",
        "vpin.trades",
        "vpin.bars",
        "patterns.shape",
    ]
    assert all(find(name).name == name for name in WORKLOADS)


def test_an_unknown_workload_names_the_nearest() -> None:
    with pytest.raises(UnknownWorkloadError, match=r"there is no workload 'vpin.trade'") as caught:
        find("vpin.trade")

    assert caught.value.hint == "did you mean 'vpin.trades'?"
    assert caught.value.known == tuple(WORKLOADS)


def test_the_registry_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        WORKLOADS["mine"] = find("risk.portfolio")


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_defaults_are_valid_and_described(workload: Any) -> None:
    assert check_params(workload, {}) == workload.params_type()
    assert len(describe_params(workload.params_type)) == len(workload.params_type.__struct_fields__)


@pytest.mark.parametrize(
    ("name", "given", "sentence", "hint"),
    [
        (
            "risk.portfolio",
            {"confidence": 1.5},
            "parameter 'confidence' of risk.portfolio is 1.5: expected float < 1.0",
            "the default is 0.95",
        ),
        (
            "risk.portfolio",
            {"confidence": "high"},
            "parameter 'confidence' of risk.portfolio is 'high': expected float, got str",
            "the default is 0.95",
        ),
        (
            "risk.portfolio",
            {"window_days": 0},
            "parameter 'window_days' of risk.portfolio is 0: expected int >= 1",
            "the default is None",
        ),
        (
            "risk.portfolio",
            {"confidense": 0.9},
            "risk.portfolio has no parameter 'confidense'; it has confidence, window_days",
            "did you mean 'confidence'?",
        ),
        (
            "indicators.technical",
            {"macd_fast": 30},
            "parameter 'macd_fast' is 30: it has to be below macd_slow, 26",
            "the usual pair is 12 and 26",
        ),
        (
            "vpin.bars",
            {"cdf": "cauchy"},
            "parameter 'cdf' of vpin.bars is 'cauchy': not one of 'normal', 'student'",
            "the default is 'normal'",
        ),
        (
            "vpin.trades",
            {"bucket_volume": float("nan")},
            "parameter 'bucket_volume' of vpin.trades is nan: expected float > 0.0",
            "the default is None",
        ),
        (
            "patterns.shape",
            {"window": 64},
            "patterns.shape has no parameter 'window'; it has none",
            "leave it out",
        ),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(
    name: str, given: dict[str, Any], sentence: str, hint: str
) -> None:
    with pytest.raises(BadParameterError, match=re.escape(sentence)) as caught:
        check_params(find(name), given)

    assert sentence == caught.value.what
    assert hint == caught.value.hint
    assert caught.value.parameter in given


def test_numpy_scalars_count_as_numbers() -> None:
    checked = check_params(
        find("risk.portfolio"), {"confidence": np.float64(0.9), "window_days": np.int64(5)}
    )

    assert (checked.confidence, checked.window_days) == (0.9, 5)


def test_inputs_are_looked_at_before_a_job_is_sent() -> None:
    workload = find("indicators.technical")
    check_params(workload, {}, {"bars": BARS})
    with pytest.raises(BadParameterError, match="input 'bars' is missing; given: none"):
        check_params(workload, {}, {})
    with pytest.raises(BadParameterError, match="input 'bars' has 0 rows and needs at least 1"):
        check_params(workload, {}, {"bars": PlainColumns(ts=np.arange(0))})
    lame = PlainColumns(ts=np.arange(3), High=np.ones(3), low=np.ones(3), close=np.ones(3))
    sentence = "input 'bars' has no column 'high'; it has ts, High, low, close"
    with pytest.raises(BadParameterError, match=sentence) as caught:
        check_params(workload, {}, {"bars": lame})
    assert caught.value.hint == "did you mean 'High'? Name it so: SELECT High AS high"


TRADES = {"ts": np.arange(3), "price": np.ones(3), "size": np.ones(3)}


@pytest.mark.parametrize(
    ("workload", "column", "values", "sentence", "hint"),
    [
        ("indicators.technical", "close", ["1", "2", "3"], "string, not a number", "close::float8"),
        (
            "indicators.technical",
            "ts",
            [1.0, 2.0, 3.0],
            "double, not a date, a timestamp or an integer",
            "ts::timestamptz",
        ),
        (
            "vpin.trades",
            "aggressor_side",
            [True, False, None],
            "bool, not a text or an integer",
            "aggressor_side::text",
        ),
    ],
)
def test_types_are_looked_at_before_a_job_is_sent(
    workload: str, column: str, values: list[Any], sentence: str, hint: str
) -> None:
    name, columns = ("trades", TRADES) if workload == "vpin.trades" else ("bars", BAR_COLUMNS)
    lame = PlainColumns(**{**columns, column: values})
    with pytest.raises(BadParameterError, match=f"'{column}' of input '{name}' is {sentence}") as e:
        check_params(find(workload), {}, {name: lame})

    assert e.value.hint == f"cast it in the query, e.g. {hint}"


def test_a_column_of_nulls_alone_fits_any_kind() -> None:
    trades = PlainColumns(**TRADES, aggressor_side=pa.nulls(3, pa.float64()))

    check_params(find("vpin.trades"), {}, {"trades": trades})


def test_an_optional_column_may_be_missing() -> None:
    trades = PlainColumns(ts=np.arange(3), price=np.ones(3), size=np.ones(3))

    check_params(find("vpin.trades"), {}, {"trades": trades})
