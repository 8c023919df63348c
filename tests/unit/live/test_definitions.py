"""Definitions of live tables: checked, kept whole, changed by several processes."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError, HostError
from neural_gpu_bus.live.definitions import LiveDefinition, LiveDefinitions, live_definition


@pytest.fixture
def definitions(tmp_path: Path) -> LiveDefinitions:
    return LiveDefinitions(tmp_path)


def test_a_table_gives_its_name_where_none_is_given() -> None:
    assert live_definition("market.Bars").name == "market.Bars"
    assert live_definition("market.Bars", name="bars").name == "bars"


def test_lists_of_names_become_tuples() -> None:
    found = live_definition("bars", key=["id", "kind"], order_by="ts", columns=["ts", "id", "kind"])

    assert found == LiveDefinition(
        "bars", "bars", ("id", "kind"), "ts", ("ts", "id", "kind"), None, False
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"table": ""}, "table is ''"),
        ({"table": "a.b.c"}, "more than one dot"),
        ({"name": "jobs/1"}, "is a name for the result of a job"),
        ({"key": "instrument_id"}, "'instrument_id' are no names of columns"),
        ({"key": ["a", "a"]}, "has a name twice"),
        ({"key": ["max_lag_s"]}, "'max_lag_s' cannot be one of the key"),
        ({"key": [3]}, "are no names of columns"),
        ({"order_by": ""}, "order_by is ''"),
        ({"key": ["ts"], "order_by": "ts"}, "'ts' is a column of the key"),
        ({"key": ["id"], "columns": ["ts"]}, r"\['id'\] are not among columns \['ts'\]"),
        ({"columns": ["ts"], "order_by": "at"}, r"\['at'\] are not among"),
        ({"where": "x" * 10_001}, "a filter of 10,001 characters"),
        ({"where": "a\0"}, "a filter of 2 characters"),
        ({"how": "guess"}, "there is no 'guess'"),
        ({"slot": "eternal"}, "there is no 'eternal'"),
        ({"slot": "persistent", "how": "trigger"}, "slot: how='trigger' reads no slot"),
    ],
)
def test_what_cannot_be_one_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadParameterError, match=said):
        live_definition(**({"table": "bars"} | given))


def test_what_is_added_is_found_by_others_in_order(
    definitions: LiveDefinitions, tmp_path: Path
) -> None:
    bars, trades = live_definition("bars", key=["id"]), live_definition("a.trades")

    assert definitions.all() == {}
    (first, is_new), (second, _) = definitions.add(bars), definitions.add(trades)

    assert is_new
    assert first.follows_as(bars)
    assert list(LiveDefinitions(tmp_path).all().values()) == [first, second]


def test_an_equal_one_is_there_already_and_another_is_refused(definitions: LiveDefinitions) -> None:
    first, _ = definitions.add(live_definition("bars", key=["id"]))
    before = definitions.token()

    assert definitions.add(live_definition("bars", key=["id"])) == (first, False)
    assert definitions.token() == before
    with pytest.raises(BadParameterError, match=r"'bars' is live with key \('id',\) and not \(\)"):
        definitions.add(live_definition("bars"))


def test_who_asked_last_and_gives_up_takes_it_away(definitions: LiveDefinitions) -> None:
    bars = live_definition("bars")
    first, _ = definitions.add(bars, waits=True)
    second, is_new = definitions.add(bars, waits=True)
    assert not is_new
    assert second.is_same(first)

    assert not definitions.give_up(first)
    assert definitions.has(second)
    assert definitions.give_up(second)
    assert definitions.all() == {}
    assert not definitions.give_up(second)

    kept, _ = definitions.add(bars)  # and it became live
    asked_again, _ = definitions.add(bars, waits=True)
    assert not definitions.give_up(asked_again)
    assert definitions.has(kept)


def test_one_that_was_dropped_and_added_again_is_another(definitions: LiveDefinitions) -> None:
    first, _ = definitions.add(live_definition("bars"))
    definitions.drop("bars")

    second, is_new = definitions.add(live_definition("bars"))
    assert is_new
    assert second != first
    assert second.follows_as(first)


def test_the_file_stays_while_something_may_be_on_the_server(definitions: LiveDefinitions) -> None:
    assert not definitions.may_have_left
    definitions.add(live_definition("bars"))
    assert not definitions.forget()
    definitions.drop("bars")
    assert definitions.may_have_left
    assert definitions.forget()
    assert not definitions.may_have_left
    assert definitions.all() == {}


def test_each_change_has_another_token(definitions: LiveDefinitions) -> None:
    seen = {definitions.token()}

    for name in ("a", "b"):
        definitions.add(live_definition(name))
        seen.add(definitions.token())
    definitions.drop("a")
    seen.add(definitions.token())

    assert len(seen) == 4
    assert list(definitions.all()) == ["b"]


def test_who_drops_what_is_not_there_is_told_of_the_nearest(definitions: LiveDefinitions) -> None:
    definitions.add(live_definition("trades"))

    with pytest.raises(DatasetNotFoundError, match=r"no live table 'trade'\nhint: did you mean 't"):
        definitions.drop("trade")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "truncated"),
        (b'{"format": 2, "tables": 3}', "its format is 2, this version knows 1"),
        (b'{"format": 9, "tables": []}', "its format is 9"),
        (b"[]", "Expected `object`"),
        (b"\xff", "does not say which"),
    ],
)
def test_a_file_of_another_version_is_told_as_such(
    definitions: LiveDefinitions, tmp_path: Path, raw: bytes, said: str
) -> None:
    definitions.add(live_definition("bars"))
    (tmp_path / "live" / "definitions.json").write_bytes(raw)

    with pytest.raises(HostError, match=said):
        definitions.all()


def test_only_the_owner_can_read_it(definitions: LiveDefinitions, tmp_path: Path) -> None:
    definitions.add(live_definition("bars", where="secret = 'x'"))

    assert (tmp_path / "live").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "live" / "definitions.json").stat().st_mode & 0o777 == 0o600


def test_no_addition_of_many_threads_is_lost(tmp_path: Path) -> None:
    def add(number: int) -> None:
        LiveDefinitions(tmp_path).add(live_definition(f"t{number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(40)))

    assert set(LiveDefinitions(tmp_path).all()) == {f"t{number}" for number in range(40)}
    left = {path.name for path in (tmp_path / "live").iterdir()}
    assert left == {"definitions.json", "lock"}


def test_a_full_disk_is_told_and_changes_nothing(
    definitions: LiveDefinitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions.add(live_definition("bars"))

    def full(path: Path, text: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("neural_gpu_bus.live.definitions.write_private", full)
    with pytest.raises(HostError, match=r"written: No space left on device\nhint: nothing was"):
        definitions.add(live_definition("trades"))
    assert list(definitions.all()) == ["bars"]


def test_what_an_earlier_version_left_out_has_its_default(
    definitions: LiveDefinitions, tmp_path: Path
) -> None:
    (tmp_path / "live").mkdir(mode=0o700)
    least = {"format": 1, "tables": [{"table": "bars", "name": "bars"}]}
    (tmp_path / "live" / "definitions.json").write_bytes(msgspec.json.encode(least))

    assert definitions.all() == {"bars": LiveDefinition("bars", "bars")}
