"""What `ngb bench memory` computes and prints: spreads, places, answers."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from neural_gpu_bus.benchmarks.choosing import chosen
from neural_gpu_bus.benchmarks.machine import Machine
from neural_gpu_bus.benchmarks.memory import QUESTIONS
from neural_gpu_bus.benchmarks.memory.answers import (
    Answer,
    Goal,
    Line,
    Part,
    QuestionResults,
    Share,
    under,
)
from neural_gpu_bus.benchmarks.memory.bounds import OpenAndMap, faulted
from neural_gpu_bus.benchmarks.memory.datasets import NAMES, check, columns, from_bytes, made_up
from neural_gpu_bus.benchmarks.memory.ground import scratch
from neural_gpu_bus.benchmarks.memory.place import Place
from neural_gpu_bus.benchmarks.memory.place_arctic import ArcticFrames
from neural_gpu_bus.benchmarks.memory.place_arrow import ArrowFiles
from neural_gpu_bus.benchmarks.memory.place_lmdb import LmdbValues
from neural_gpu_bus.benchmarks.memory.place_ours import ByDescriptor, ByName, ByPickle
from neural_gpu_bus.benchmarks.memory.place_shared_memory import SharedSegments
from neural_gpu_bus.benchmarks.memory.publishing import Look, visible_ns
from neural_gpu_bus.benchmarks.memory.sharing import mapped_bytes, private_bytes
from neural_gpu_bus.benchmarks.memory.spread import Spread, call_samples, clock_cost_ns, spread
from neural_gpu_bus.benchmarks.memory.visits import Errand, visit
from neural_gpu_bus.cli import memory_answers
from neural_gpu_bus.errors import BadParameterError, ResultsDifferError

LINUX = sys.platform == "linux"
BYTES_MAX = 64 << 20


def clock(*steps_ns: int) -> Any:
    """Each reading is later by the next step; the last step goes on."""
    now_ns = 0
    steps = itertools.chain(steps_ns, itertools.repeat(steps_ns[-1]))

    def read() -> int:
        nonlocal now_ns
        now_ns += next(steps)
        return now_ns

    return read


def test_a_spread_is_the_median_and_the_slow_end() -> None:
    found = spread(range(1000, 101_000, 1000))

    assert (found.p50_s, found.p99_s, found.min_s) == (50.5e-6, 100e-6, 1e-6)
    assert found.samples == 100


def test_few_samples_have_their_slowest_as_slow_end() -> None:
    assert spread([3, 1, 2]).p99_s == 3e-9


def test_what_the_clock_takes_is_subtracted() -> None:
    assert clock_cost_ns(clock(70)) == 70
    assert call_samples(len, "x", calls_max=3, limit_s=1, clock_ns=clock(70)) == [0, 0, 0]


def test_calls_end_with_their_time() -> None:
    found = call_samples(len, "x", calls_max=100, limit_s=1e-6, clock_ns=clock(400))

    assert len(found) == 2


def test_questions_are_chosen_by_name() -> None:
    assert list(chosen([], QUESTIONS, "question")) == list(QUESTIONS)
    assert list(chosen(["put", "find"], QUESTIONS, "question")) == ["find", "put"]
    with pytest.raises(BadParameterError, match="there is no question 'pit'") as caught:
        chosen(["pit"], QUESTIONS, "question")

    assert caught.value.hint == "did you mean 'put'?"


def test_a_time_is_met_below_what_was_asked_for() -> None:
    assert under("p50", 0.4e-6, 0.5e-6) == Goal("p50 under 0.50 µs", "0.40 µs", met=True)
    assert not under("p50", 0.5e-6, 0.5e-6).met


# ---- places


@pytest.fixture(params=["names", "descriptors", "pickles", "shared_memory", "lmdb", "arrow"])
def place(request: pytest.FixtureRequest, memory_folder: Path) -> Iterator[Place]:
    made: dict[str, Place] = {
        "names": ByName(memory_folder / "ours", BYTES_MAX),
        "descriptors": ByDescriptor(memory_folder / "ours", BYTES_MAX),
        "pickles": ByPickle(memory_folder / "ours", BYTES_MAX),
        "shared_memory": SharedSegments(),
        "lmdb": LmdbValues(memory_folder / "lmdb", BYTES_MAX),
        "arrow": ArrowFiles(memory_folder / "arrow"),
    }
    chosen = made[request.param]
    chosen.open()
    yield chosen
    chosen.close()


def put(place: Place, key: str, matrix: Any) -> None:
    """With what another process would have been handed."""
    place.put(key, matrix)
    if isinstance(place, ByDescriptor):
        place.known[key] = place.memory.get(key).descriptor
    if isinstance(place, ByPickle):
        place.pickled[key] = pickle.dumps(place.memory.get(key))


def test_a_place_gives_back_what_it_was_given(place: Place) -> None:
    for nbytes in (1, 400_000):
        matrix = made_up(nbytes)
        put(place, "x", matrix)
        found = place.columns(place.find("x"))

        check("test", place.title, columns(matrix), dict(found))
        del found  # multiprocessing's segments cannot be closed under an array
    place.drop("x")


def test_a_place_travels_without_what_it_has_open(place: Place) -> None:
    """A copy that came by pickle opens the place for itself and finds what is there."""
    put(place, "warm", made_up(1))
    put(place, "x", made_up(800))
    if isinstance(place, LmdbValues):
        place.environment.close()  # LMDB is opened once a process
        place.__dict__.pop("environment")
    copy: Place = pickle.loads(pickle.dumps(place))
    looks = visit(copy, Errand("warm", ["x"]))

    assert [list(look.sums) for look in looks] == [list(NAMES)]
    assert looks[0].sums["c3"] == [float(made_up(800)[3].sum())]
    assert looks[0].find_ns > 0
    if isinstance(copy, LmdbValues):
        copy.environment.close()
    for key in ("warm", "x"):
        place.drop(key)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pandas, for what ArcticDB does with it
def test_arcticdb_gives_back_what_it_was_given(memory_folder: Path) -> None:
    pytest.importorskip("arcticdb")
    place = ArcticFrames(memory_folder / "arctic", BYTES_MAX)
    place.put("x", made_up(8_000))

    check("test", "ArcticDB", columns(made_up(8_000)), dict(place.columns(place.find("x"))))
    place.close()


def test_another_value_in_a_place_is_told() -> None:
    other = made_up(800)
    other[2, 1] += 1
    with pytest.raises(ResultsDifferError, match="row 2, column 'c2'"):
        check("test", "here", columns(made_up(800)), columns(other))


def test_bytes_are_columns_again() -> None:
    matrix = made_up(800)

    assert np.array_equal(from_bytes(matrix.tobytes())["c9"], matrix[9])


def test_bounds_map_and_copy_what_they_say(memory_folder: Path) -> None:
    file = memory_folder / "file"
    file.write_bytes(b"\7" * 5000)

    assert int(OpenAndMap({"x": str(file)}).find("x").sum()) == 7 * 5000
    matrix = made_up(8_000)
    target = faulted(memory_folder, matrix)
    assert target.shape == matrix.shape
    assert list(memory_folder.iterdir()) == [file]


# ---- questions


@pytest.mark.skipif(not LINUX, reason="/proc tells proportional set sizes")
def test_mapped_bytes_are_those_of_the_files_asked_for(memory_folder: Path) -> None:
    matrix = made_up(4 << 20)
    place = ByName(memory_folder / "mine", BYTES_MAX)
    place.put("x", matrix)
    held = place.find("x")
    held["c0"].sum()

    mapped = mapped_bytes(str(memory_folder / "mine" / "datasets"))
    assert held.nbytes / len(NAMES) <= mapped <= 2 * held.nbytes
    assert mapped_bytes(str(memory_folder / "nowhere")) == 0
    assert mapped_bytes(None) == 0
    before = private_bytes()
    own = np.ones(64 << 20, np.uint8)  # more than malloc takes from what was freed
    assert private_bytes() - before > own.nbytes / 2
    place.close()


def test_a_generation_that_was_skipped_was_seen_with_the_next() -> None:
    looks = [Look(1, 110, 1.0), Look(3, 350, 3.0)]

    assert visible_ns(looks, [100, 200, 300]) == [10, 150, 50]


def test_folders_of_killed_runs_are_removed(memory_folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = memory_folder / f"ngb-bench-{ended.pid}-left"
    left.mkdir()
    (memory_folder / f"ngb-bench-segment-{ended.pid}-x").write_bytes(b"x")
    living = memory_folder / f"ngb-bench-{os.getppid()}-living"
    living.mkdir()
    with ExitStack() as closing:
        made = closing.enter_context(scratch(memory_folder))

        assert set(memory_folder.iterdir()) == {living, made}
    assert list(memory_folder.iterdir()) == [living]


# ---- what is shown


def made_up_results(*, quick: bool = False) -> QuestionResults:
    times = Spread(p50_s=123.4e-6, p99_s=0.0456, min_s=1e-6, samples=50_000)
    lines = [Line("plane.get(name), 8 columns", "ours", times), Line("dict", "limit", times)]
    shares = [Share("direct, by name", "ours", mapped=1.0, private=0.01)]
    goals = [Goal("p50 under 1 ms", "123 µs", met=True), Goal("p99", "46 ms", met=False)]
    answers = [
        Answer("find", "How?", [Part("name", lines)], goals, ["a note"], {"Ray": "pip install"}),
        Answer("share", "How much?", [Part("", shares=shares)]),
    ]
    machine = Machine("a processor", 2, 1 << 30, "Linux", "CPython")
    return QuestionResults("now", machine, {}, quick=quick, answers=answers)


@pytest.mark.parametrize("width", [80, 120])
def test_answers_fit_into_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(memory_answers, "out", Console(file=screen, width=width))
    memory_answers.print_answers(made_up_results())
    shown = screen.getvalue()

    assert all(len(line) <= width for line in shown.splitlines())
    assert "limit: dict" in shown
    assert "  met     p50 under 1 ms: 123 µs" in shown
    assert "  not met p99: 46 ms" in shown
    assert "Ray skipped: pip install" in shown
    assert "1.010" in shown


def test_a_quick_run_is_judged_by_no_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(memory_answers, "out", Console(file=screen, width=80))
    memory_answers.print_answers(made_up_results(quick=True))

    assert "met " not in screen.getvalue()
    assert "these are no figures" in screen.getvalue()
    assert "times ours" in screen.getvalue()


@pytest.mark.parametrize(("samples", "head"), [(2, "slowest"), (100, "p99")])
def test_few_samples_have_no_percentile(
    monkeypatch: pytest.MonkeyPatch, samples: int, head: str
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(memory_answers, "out", Console(file=screen, width=80))
    line = Line("plane.query", "ours", Spread(p50_s=1.0, p99_s=2.0, min_s=1.0, samples=samples))
    machine = Machine("a processor", 2, 1 << 30, "Linux", "CPython")
    answers = [Answer("newest", "How?", [Part("", [line])])]
    memory_answers.print_answers(QuestionResults("now", machine, {}, quick=False, answers=answers))

    assert f" {head} " in screen.getvalue().splitlines()[1]
