"""What `ngb bench postgres` computes: comparable columns, goals, where the server is the limit."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.benchmarks.memory.answers import Line, Part
from neural_gpu_bus.benchmarks.memory.spread import Spread
from neural_gpu_bus.benchmarks.postgres.comparing import comparable, in_order, require_same
from neural_gpu_bus.benchmarks.postgres.goals import at_least, at_most
from neural_gpu_bus.benchmarks.postgres.raw_copy import until_ready
from neural_gpu_bus.benchmarks.postgres.reader import Asked
from neural_gpu_bus.benchmarks.postgres.scaling import _more_is_no_use, _server_limited
from neural_gpu_bus.errors import ResultsDifferError

MOMENT = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
MICROSECONDS = int(MOMENT.timestamp()) * 1_000_000


def line(title: str, p50_s: float, kind: Any = "ours") -> Line:
    return Line(title, kind, Spread(p50_s, p50_s, p50_s, 3))


@pytest.mark.parametrize(
    "values",
    [
        [MOMENT],
        pa.array([MOMENT], pa.timestamp("us", "UTC")),
        pa.array([MOMENT], pa.timestamp("ns", "UTC")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us")),
        pa.chunked_array([pa.array([MOMENT], pa.timestamp("ms", "UTC"))]),
    ],
)
def test_times_of_any_reader_are_microseconds(values: Any) -> None:
    assert comparable(values, "time").tolist() == [MICROSECONDS]


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1.50"), None],
        [1.5, None],
        pa.array([Decimal("1.50"), None]),
        pa.array(["1.50", None]),
        pa.array(["1.50", None], pa.string_view()),
        pa.chunked_array([pa.array([1.5, None])]),
    ],
)
def test_numbers_of_any_reader_are_floats(values: Any) -> None:
    np.testing.assert_array_equal(comparable(values, "number"), [1.5, np.nan])


@pytest.mark.parametrize(
    "values", [["a", None], pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()]
)
def test_texts_of_any_reader_are_texts(values: Any) -> None:
    assert comparable(values, "text").tolist() == ["a", None]


def test_no_chunks_are_no_rows() -> None:
    assert comparable(pa.chunked_array([], pa.float64()), "number").tolist() == []


def test_rows_are_compared_by_their_key() -> None:
    first = "one", in_order({"id": [2, 1], "note": ["b", "a"]}, "id")
    require_same("q", first, "two", {"id": [1, 2], "note": ["a", "b"]}, "id")

    with pytest.raises(ResultsDifferError, match="q: two differs from one"):
        require_same("q", first, "two", {"id": [1, 2], "note": ["a", None]}, "id")


def test_goals_say_what_was_wanted_and_found() -> None:
    assert at_least("x", 1.0, 2.5, 2.0).met
    assert at_least("x", 1.0, 2.5, 2.0).found == "2.50 \N{MULTIPLICATION SIGN}"
    assert not at_least("x", 1.0, 1.9, 2.0).met
    assert at_most("x", 1.2, 1.0, 1.3).met
    assert not at_most("x", 1.3, 1.0, 1.3).met
    for goal in (at_least("x", None, 1.0, 2.0), at_most("x", 1.0, None, 2.0)):
        assert (goal.met, goal.found) == (False, "one of the two did not take part")


def test_a_statement_is_the_same_for_everybody() -> None:
    assert Asked("t", ("a", "b"), " LIMIT 1").statement == "SELECT a, b FROM t LIMIT 1"


def test_the_size_from_which_the_server_is_the_limit_is_named() -> None:
    parts = [
        Part("small", [line("ours", 2.0), line("alone", 1.0, "limit")]),
        Part("large", [line("ours", 1.1), line("alone", 1.0, "limit")]),
    ]

    assert _server_limited(parts)[0].startswith("from large on (1.10")
    assert _server_limited(parts)[1]
    assert _server_limited(parts[:1])[0].startswith("nowhere; nearest at small: 2.00")


def test_the_connections_after_which_none_is_quicker_are_named() -> None:
    bare = (1.0, 0.5, 0.49, 0.48)
    lines = [one for each in bare for one in (line("o", each * 1.1), line("a", each, "limit"))]

    text, met = _more_is_no_use(Part("", lines))
    assert met
    assert text.startswith("from 2 connection(s) on")


def test_a_reply_is_read_to_its_end_however_it_is_cut() -> None:
    """ReadyForQuery's six bytes may come apart."""
    ours, theirs = socket.socketpair()
    reply = b"d" * 1000 + b"Z\x00\x00\x00\x05I"
    ours.setblocking(False)

    def send() -> None:
        for piece in (reply[:1001], reply[1001:1003], reply[1003:]):
            theirs.sendall(piece)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert until_ready(ours, bytearray(64)) == len(reply)
    finally:
        thread.join()
        ours.close()
        theirs.close()


def test_a_server_that_goes_away_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.setblocking(False)
    with ours, pytest.raises(ConnectionError, match="closed the connection"):
        until_ready(ours, bytearray(64))
