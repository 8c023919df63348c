"""Cases by name, their equality and their scaling."""

from __future__ import annotations

import numpy as np
import pytest

from neural_gpu_bus.benchmarks.case import Case, Entrant, require_equal_entrants, scaled
from neural_gpu_bus.benchmarks.cases import CASES
from neural_gpu_bus.benchmarks.cases.addresses import asyncpg_arguments, connectorx_url
from neural_gpu_bus.benchmarks.cases.bench_table import made_up_bars
from neural_gpu_bus.benchmarks.choosing import chosen
from neural_gpu_bus.benchmarks.measure import summarise
from neural_gpu_bus.errors import BadParameterError, ResultsDifferError


def test_no_name_chooses_all_cases() -> None:
    assert list(chosen([], CASES, "case")) == list(CASES)


def test_an_unknown_case_names_the_nearest() -> None:
    with pytest.raises(BadParameterError, match="there is no case 'reed'") as caught:
        chosen(["reed"], CASES, "case")

    assert caught.value.hint == "did you mean 'read'?"


def test_entrants_that_disagree_end_the_case() -> None:
    case = Case(
        "?",
        [
            Entrant("a", lambda: np.array([1.0, 2.0]), lambda found: {"x": found}),
            Entrant("b", lambda: np.array([1.0, 2.5]), lambda found: {"x": found}),
        ],
    )

    with pytest.raises(
        ResultsDifferError, match=r"b differs from a in its result at row 2, column 'x'"
    ):
        require_equal_entrants("case", case)


def test_a_loop_of_a_hundred_reports_one_turn() -> None:
    assert scaled(summarise([2.0]), 1 / 100).median_s == 0.02


def test_rows_have_times_of_their_own() -> None:
    ts = made_up_bars(1000)["ts"].to_numpy()

    assert len(np.unique(ts)) == 1000


def test_addresses_go_over_unix_sockets_and_tcp() -> None:
    socket = "host=/run/pg port=5439 user=ngb dbname=ngb"

    assert connectorx_url(socket) == "postgresql://ngb@%2Frun%2Fpg:5439/ngb"
    assert connectorx_url("postgresql://u:p%40@h:1/d") == "postgresql://u:p%40@h:1/d"
    assert asyncpg_arguments(socket)["host"] == "/run/pg"
