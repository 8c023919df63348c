"""What ``ngb watch`` prints of a run, and what its options make of inputs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from neural_gpu_bus.cli.watch import as_json, refined, taken_apart, watch_line
from neural_gpu_bus.descriptors import AsOf, StoreReceipt
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory import Frame
from neural_gpu_bus.memory.series.gathered import GatheredSource
from neural_gpu_bus.watching import LiveInput, WatchRun
from neural_gpu_bus.workloads import find

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def run() -> WatchRun:
    told = AsOf(published_ns=1, committed_ns=7, lsn="0/1A2B3C8")
    rows = pa.table({"desk": ["fx", "TOTAL"], "value": [1.5, float("nan")]})
    return WatchRun(
        number=3,
        watch="risk of\x1b today",
        frame=Frame(GatheredSource("result", rows, told, ())),
        changes=2,
        receipt=StoreReceipt(2, "0/1A2B400"),
        compute_s=0.0004,
        store_s=0.0011,
        publish_s=0.0002,
        behind_s=0.0025,
    )


def test_a_line_says_what_came_of_a_run() -> None:
    assert watch_line(run(), NOON) == (
        "12:00:00 risk of\\x1b today 2 rows as of 0/1A2B3C8, 2 changes, computed in 400 us, "
        "stored in 1.1 ms, published in 200 us, 2.5 ms after the commit"
    )


def test_a_line_says_why_a_run_failed() -> None:
    failed = WatchRun(1, "risk", error=BadParameterError("it is\nbad", hint="mend it"))
    assert watch_line(failed, NOON) == "12:00:00 risk failed: it is\\nbad; mend it"
    broken = WatchRun(1, "risk", error=ZeroDivisionError("by 0"))
    assert watch_line(broken, NOON) == "12:00:00 risk failed: ZeroDivisionError('by 0')"
    assert json.loads(as_json(failed))["error"]["kind"] == "BadParameterError"
    assert json.loads(as_json(broken))["error"] == "ZeroDivisionError('by 0')"


def test_json_has_the_rows() -> None:
    found = json.loads(as_json(run()))
    assert found["rows"] == [{"desk": "fx", "value": 1.5}, {"desk": "TOTAL", "value": None}]
    assert found["lsn"] == "0/1A2B3C8"


def test_options_make_inputs() -> None:
    workload = find("risk.portfolio")
    given = {"prices": "bars", "confidence": 0.9}
    inputs, params = taken_apart(workload, given, ["positions"])
    assert params == {"confidence": 0.9}
    found = refined(
        inputs,
        ["prices.date=ts", "prices.price=close"],
        ["prices.instrument_id=ES"],
        ["prices=250"],
    )
    assert found == {
        "positions": LiveInput("positions"),
        "prices": LiveInput("bars", {"date": "ts", "price": "close"}, {"instrument_id": "ES"}, 250),
    }


@pytest.mark.parametrize("option", [["price.date=ts"], ["prices=ts"], ["prices.=ts"]])
def test_an_option_that_fits_nothing_is_told(option: list[str]) -> None:
    with pytest.raises(BadParameterError, match=r"--column: '.*' fits nothing"):
        refined({"prices": LiveInput("bars")}, option, [], [])
