"""Each process lists what it has mapped; others read the list while it is written."""

from __future__ import annotations

import errno
import os
import uuid
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from neural_gpu_bus.memory.accounting import maps
from neural_gpu_bus.memory.accounting.maps import Kind, OwnMaps, read_maps


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def own(session: Path) -> OwnMaps:
    return OwnMaps(session, clock_ns=count(1000).__next__)


def listed(session: Path) -> list[tuple[str, int, int, int]]:
    return [
        (bytes(record["uuid"]).hex(), *record[["nbytes", "since_ns", "kind"]].item())
        for record in read_maps(session)
    ]


def test_what_was_added_is_listed_until_it_is_removed(own: OwnMaps, session: Path) -> None:
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    place = own.add(first, 4096)
    own.add(second, 1 << 40, Kind.SERIES)
    both = listed(session)

    own.remove(place)

    assert both == [(first, 4096, 1000, Kind.NAMED), (second, 1 << 40, 1001, Kind.SERIES)]
    assert listed(session) == both[1:]


def test_a_free_place_is_taken_again(own: OwnMaps, session: Path) -> None:
    place = own.add(uuid.uuid4().hex, 1)
    own.remove(place)

    assert own.add(uuid.uuid4().hex, 2) == place
    assert [nbytes for _, nbytes, _, _ in listed(session)] == [2]


def test_the_file_grows_and_old_places_stay_good(own: OwnMaps, session: Path) -> None:
    places = [own.add(uuid.uuid4().hex, nbytes) for nbytes in range(1, 3_001)]

    for place in places[:2_990]:
        own.remove(place)

    assert len(set(places)) == 3_000
    assert sorted(nbytes for _, nbytes, _, _ in listed(session)) == list(range(2_991, 3_001))
    assert (session / "maps").stat().st_size == 4 * maps.RECORDS_MIN * 48


def test_no_room_for_the_list_is_no_error_of_a_reader(
    own: OwnMaps, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(maps, "allocate", full)

    assert own.add(uuid.uuid4().hex, 1) == maps.NOWHERE
    own.remove(maps.NOWHERE)
    assert listed(session) == []


def test_a_finalizer_may_come_after_the_end(own: OwnMaps) -> None:
    place = own.add(uuid.uuid4().hex, 1)
    own.close()

    own.remove(place)
    own.close()

    assert own.add(uuid.uuid4().hex, 1) == maps.NOWHERE


def test_a_forked_child_takes_nothing_off_its_parents_list(own: OwnMaps, session: Path) -> None:
    place = own.add(uuid.uuid4().hex, 1)
    own._pid += 1  # as the child sees it

    own.remove(place)

    assert len(listed(session)) == 1


def test_a_record_that_changes_while_it_is_read_is_left_out(
    own: OwnMaps, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.add(uuid.uuid4().hex, 1)
    own.add(uuid.uuid4().hex, 2)
    whole = (session / "maps").read_bytes()
    torn = whole[:20] + b"\xff" + whole[21:60]
    looks = iter([torn, whole])

    def read_bytes(_path: Path) -> Any:
        return next(looks)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)

    assert listed(session) == []


def test_a_session_that_has_ended_maps_nothing(session: Path) -> None:
    assert listed(session / "gone") == []


def test_the_file_is_private(own: OwnMaps, session: Path) -> None:
    assert (session / "maps").stat().st_mode & 0o777 == 0o600
    assert (session / "maps").stat().st_uid == os.geteuid()
