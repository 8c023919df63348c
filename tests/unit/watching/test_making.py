"""What is refused before a watch is made, and what its inputs become."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError
from neural_gpu_bus.live.definitions import LiveDefinition, live_definition
from neural_gpu_bus.watching.inputs import (
    LiveInput,
    checked_inputs,
    inputs_digest,
    live_names,
    short_digest,
)
from neural_gpu_bus.watching.making import _check_name, _followed, _is_without_positions
from neural_gpu_bus.watching.outlets import checked_mode
from neural_gpu_bus.workloads import find

RISK = find("risk.portfolio")


def declared(*definitions: LiveDefinition) -> dict[str, LiveDefinition]:
    return {one.name: one for one in definitions}


def test_an_input_is_the_watched_table_of_its_name() -> None:
    found = checked_inputs(RISK, {"prices": "bars"}, ["positions", "bars"])
    assert found == {"prices": LiveInput("bars"), "positions": LiveInput("positions")}
    assert live_names(found) == ["bars", "positions"]


def test_an_input_from_nowhere_is_refused() -> None:
    with pytest.raises(BadParameterError, match=r"input 'positions' .* comes from nowhere"):
        checked_inputs(RISK, {"prices": "bars"}, ["bars"])
    with pytest.raises(BadParameterError, match="input 'prices' is None"):
        checked_inputs(RISK, {"prices": None}, ["positions"])


def test_what_makes_another_result_makes_another_digest() -> None:
    inputs = [
        {"prices": LiveInput("bars")},
        {"prices": LiveInput("bars", last=5)},
        {"prices": LiveInput("bars", key={"id": 1})},
        {"prices": LiveInput("bars", key={"id": "1"})},
        {"prices": LiveInput("bars", columns={"date": "ts"})},
        {"prices": checked_inputs},
    ]
    digests = [short_digest(repr(inputs_digest(one))) for one in inputs]
    assert len(set(digests)) == len(inputs)
    assert digests[0] == short_digest(repr(inputs_digest({"prices": LiveInput("bars")})))


def test_results_are_not_stored_to_an_input() -> None:
    known = declared(live_definition("positions"), live_definition("desk.bars", name="bars"))
    assert list(_followed(known, ["positions"], ["bars"], "risk")) == ["positions", "bars"]
    assert _followed(known, ["positions"], [], "desk.positions")
    for table in ("positions", "public.positions"):
        with pytest.raises(BadParameterError, match="each run would be a change"):
            _followed(known, ["positions"], [], table)
    with pytest.raises(BadParameterError, match="no live table is watched"):
        _followed(known, [], ["bars"], None)
    with pytest.raises(DatasetNotFoundError, match="no live table 'bar'"):
        _followed(known, ["bar"], [], None)


def test_a_polled_table_is_watched_alone() -> None:
    polled, stream = LiveDefinition("calls", "calls", how="poll"), live_definition("bars")
    assert _is_without_positions([polled])
    assert not _is_without_positions([stream, stream])
    with pytest.raises(BadParameterError, match="'calls' is followed by poll, at no position"):
        _is_without_positions([stream, polled])


def test_names_and_modes_that_cannot_be_are_refused() -> None:
    assert checked_mode(None, (), None) == "append"
    assert checked_mode("risk", ["desk"], None) == "upsert"
    assert checked_mode("risk", (), "replace") == "replace"
    with pytest.raises(BadParameterError, match="key is 'desk': expected names"):
        checked_mode("risk", "desk", None)
    with pytest.raises(BadParameterError, match="key and mode are of a table"):
        checked_mode(None, (), "append")
    with pytest.raises(BadParameterError, match="mode is 'insert'"):
        checked_mode("risk", (), "insert")  # type: ignore[arg-type]
    for name in ("", "x" * 513, "a\0b"):
        with pytest.raises(BadParameterError, match="name"):
            _check_name(name)
