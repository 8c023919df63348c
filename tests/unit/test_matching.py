"""Work on many datasets: the plain loop's result, and errors that say which dataset."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.bus import JobRunner
from neural_gpu_bus.descriptors import StoreTarget
from neural_gpu_bus.engines import build_planner
from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    DatasetNotFoundError,
    JobFailedError,
    JobQueueFullError,
    JobTimeoutError,
    MapFailedError,
    UnknownWorkloadError,
)
from neural_gpu_bus.matching import ManyDatasets, jobs, map_datasets
from neural_gpu_bus.matching.merging import as_result, merge
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.submission import describe_job
from neural_gpu_bus.workloads import WORKLOADS

FACTORS = ("risk.eu", "risk.jp", "risk.us")


@pytest.fixture
def factors(memory: UnifiedMemory) -> UnifiedMemory:
    rng = np.random.default_rng(7)
    for name in FACTORS:
        memory.put(name, {"a": rng.normal(size=50), "b": rng.normal(size=50)})
    return memory


class Workers:
    """``submit`` of a plane whose workers run each job when its result is waited for."""

    def __init__(self, memory: UnifiedMemory, waiting_max: int = 1000) -> None:
        self.memory, self.waiting_max = memory, waiting_max
        self.runner = JobRunner(memory, WORKLOADS, build_planner())
        self.fails: dict[int, Exception] = {}
        self.sent = self.waiting = self.waiting_most = 0

    def __call__(self, workload: str, params: Mapping[str, Any], *, engine: Any = None) -> Any:
        if self.waiting == self.waiting_max:
            raise JobQueueFullError("the queue is full", waiting=self.waiting)
        job, held = describe_job(
            self.memory, workload, params, engine=engine, target=StoreTarget(), job_id=None
        )
        number = self.sent
        self.sent, self.waiting = self.sent + 1, self.waiting + 1
        self.waiting_most = max(self.waiting, self.waiting_most)

        def wait_result(timeout_s: float | None) -> Frame:
            assert held  # until now, as a job's are
            self.waiting -= 1
            if number in self.fails:
                raise self.fails[number]
            block = self.runner(job, 1).block
            assert block is not None
            return self.memory.attach(block)

        return SimpleNamespace(wait_result=wait_result)


def no_submit(*given: Any, **named: Any) -> Any:
    raise AssertionError("a function needs no job")


def mapped(memory: UnifiedMemory, work: Any, names: Any = FACTORS, **how: Any) -> Frame:
    return map_datasets(memory, "risk.*", names, work, **({"submit": no_submit} | how))


# ---- functions


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize(
    "function",
    [
        lambda frame: frame["a"].mean(),
        lambda frame: {"mean": frame["a"].mean(), "rows": frame.rows, "what": "x"},
        lambda frame: {"a": frame["a"][:3], "b": frame["b"][:3]},
        lambda frame: frame.arrow().slice(1, 2),
        lambda frame: frame,
        lambda frame: np.float32(frame["a"].sum()),
        lambda frame: np.array(frame["a"][0]),
    ],
    ids=["number", "one row", "arrays", "arrow", "frame", "numpy number", "array of 0 dimensions"],
)
def test_the_result_is_that_of_the_plain_loop(
    factors: UnifiedMemory, function: Callable[[Frame], Any], threads: int | None
) -> None:
    plain = merge({name: as_result(function(factors.get(name))) for name in FACTORS})
    got = mapped(factors, function, threads=threads)

    assert next(iter(got)) == "dataset"
    assert got.arrow().to_pydict() == plain.to_pydict()
    assert got.descriptor.name == ""


def test_one_plain_value_is_a_row_of_its_dataset(factors: UnifiedMemory) -> None:
    got = mapped(factors, lambda frame, scale: frame.rows * scale, params={"scale": 2})

    assert got.arrow().to_pydict() == {"dataset": list(FACTORS), "value": [100, 100, 100]}


def test_none_is_no_row(factors: UnifiedMemory) -> None:
    first = factors.get("risk.eu")
    got = mapped(factors, lambda frame: None if frame == first else 1)

    assert got.arrow()["dataset"].to_pylist() == ["risk.jp", "risk.us"]
    assert mapped(factors, lambda frame: None).rows == 0


def test_columns_may_come_in_any_order(factors: UnifiedMemory) -> None:
    first = factors.get("risk.eu")
    got = mapped(
        factors, lambda frame: {"x": 1, "y": 2.0} if frame == first else {"y": 3.0, "x": 4}
    )

    assert got["x"].tolist() == [1, 4, 4]


def test_the_result_can_have_a_name(factors: UnifiedMemory) -> None:
    mapped(factors, lambda frame: 1, name="sums")

    assert factors.get("sums").rows == 3


def test_frames_are_worked_on_side_by_side(factors: UnifiedMemory) -> None:
    together = threading.Barrier(3, timeout=10)
    got = mapped(factors, lambda frame: together.wait() >= 0, threads=3)

    assert got.rows == 3


def test_progress_is_told(factors: UnifiedMemory) -> None:
    told: list[Any] = []
    mapped(factors, lambda frame: 1, progress=lambda *step: told.append(step))

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_failing_function_is_told_with_its_dataset(factors: UnifiedMemory) -> None:
    ran: list[str] = []

    def fails(frame: Frame) -> int:
        ran.append(frame.descriptor.name)
        if frame.descriptor.name != "risk.us":
            raise ZeroDivisionError("nothing to share")
        return 1

    with pytest.raises(MapFailedError, match=r"'risk\.eu', one of 3.*ZeroDivisionError") as caught:
        mapped(factors, fails, threads=1)

    assert caught.value.dataset == "risk.eu"
    assert ran[0] == "risk.eu"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_after_a_failure_nothing_more_is_begun(factors: UnifiedMemory) -> None:
    begun: list[str] = []
    names = [f"risk.{number:03}" for number in range(200)]
    for name in names:
        factors.put(name, {"a": [1.0]})

    def fails(frame: Frame) -> int:
        begun.append(frame.descriptor.name)
        raise ValueError("bad")

    with pytest.raises(MapFailedError, match=r"'risk\.000', one of 200"):
        mapped(factors, fails, names=names, threads=1)
    assert len(begun) < 200


def test_our_own_errors_keep_their_kind(factors: UnifiedMemory) -> None:
    with pytest.raises(KeyError, match=r"on dataset 'risk\.eu': no column 'c'") as caught:
        mapped(factors, lambda frame: frame["c"], threads=1)

    assert (caught.value.column, caught.value.dataset) == ("c", "risk.eu")


@pytest.mark.parametrize(
    ("results", "difference"),
    [
        ([1, 2.0], "column 'value' is int64 for 'a' and double for 'b'"),
        ([{"x": 1}, {"y": 1}], "that of 'a' has a column 'x', that of 'b' has not"),
        ([{"x": 1}, {"x": 1, "y": 1}], "that of 'b' has a column 'y', that of 'a' has not"),
        ([{"dataset": 1}], "that of 'a' has a column 'dataset', which is for the names"),
    ],
    ids=str,
)
def test_results_that_differ_are_told(results: list[Any], difference: str) -> None:
    tables = dict(zip("ab", map(as_result, results), strict=False))
    with pytest.raises(MapFailedError, match=difference):
        merge(tables)


_VALUES = st.lists(st.integers(-9, 9), max_size=4)


@given(results=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.none() | _VALUES))
def test_rows_stay_with_their_dataset(results: dict[str, list[int] | None]) -> None:
    tables = {
        name: None if values is None else pa.table({"x": pa.array(values, pa.int64())})
        for name, values in results.items()
    }
    merged = merge(tables).to_pydict()

    expected = [(name, x) for name, values in results.items() for x in values or []]
    assert list(zip(merged["dataset"], merged.get("x", []), strict=True)) == expected


# ---- which datasets


def test_no_match_says_what_is_near(factors: UnifiedMemory) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no dataset matches 'risk\.uk'") as caught:
        map_datasets(factors, "risk.uk", [], len, submit=no_submit)

    assert "did you mean 'risk.us'?" in caught.value.hint


def test_too_many_are_refused(factors: UnifiedMemory) -> None:
    with pytest.raises(BadParameterError, match="finds 3 datasets, and at most 2"):
        mapped(factors, len, datasets_max=2)


def test_what_was_dropped_since_it_was_found_is_left_out(factors: UnifiedMemory) -> None:
    factors.drop("risk.jp")

    got = mapped(factors, lambda frame: 1)

    assert got.arrow()["dataset"].to_pylist() == ["risk.eu", "risk.us"]


def test_what_had_to_make_room_is_told_by_name(
    factors: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = factors.get

    def evicting(name: str) -> Frame:
        if name != "risk.jp":
            raise DatasetEvictedError(f"{name} is gone", name=name, version=1)
        return get(name)

    monkeypatch.setattr(factors, "get", evicting)
    with pytest.raises(DatasetEvictedError, match=r"2 of 3 .* risk\.eu, risk\.us\n") as caught:
        mapped(factors, lambda frame: 1)

    assert caught.value.names == ["risk.eu", "risk.us"]


def test_a_drop_while_it_works_disturbs_nothing(factors: UnifiedMemory) -> None:
    def drops(frame: Frame) -> float:
        for name in list(factors.names()):
            factors.drop(name)
        return float(frame["a"].sum())

    expected = [float(factors.get(name)["a"].sum()) for name in FACTORS]

    assert mapped(factors, drops, threads=1)["value"].tolist() == expected


# ---- workloads


def test_a_workload_gives_what_single_jobs_give(factors: UnifiedMemory) -> None:
    workers = Workers(factors)
    singly = {
        name: workers("factor.correlation", {"factors": name}).wait_result(None).arrow()
        for name in FACTORS
    }
    got = mapped(factors, "factor.correlation", submit=workers, engine="cpu")

    assert got.arrow().to_pydict() == merge(singly).to_pydict()
    kept = {name for name in factors.names() if name.startswith("jobs/")}
    assert len(kept) == len(FACTORS)  # of the single jobs: those of the map are dropped


def test_common_inputs_are_shared_once(memory: UnifiedMemory) -> None:
    days = np.arange("2026-01-01", "2026-02-10", dtype="datetime64[D]")
    rng = np.random.default_rng(3)
    for name in ("risk.a", "risk.b"):
        price = 100 * np.exp(rng.normal(0, 0.01, len(days)).cumsum())
        memory.put(name, {"date": days, "asset": ["X"] * len(days), "price": price})
    positions = {"desk": ["d"], "asset": ["X"], "quantity": [5.0]}
    shared: list[Any] = []
    share = memory.share
    memory.share = lambda columns: shared.append(columns) or share(columns)  # type: ignore[method-assign]
    got = mapped(
        memory,
        "risk.portfolio",
        names=("risk.a", "risk.b"),
        submit=Workers(memory),
        params={"positions": positions, "confidence": 0.9},
        input="prices",
    )

    assert got.arrow()["dataset"].to_pylist() == ["risk.a"] * 2 + ["risk.b"] * 2
    assert sum(columns is positions for columns in shared) == 1


@pytest.mark.parametrize(("at_once", "waiting_max"), [(2, 1000), (64, 2)])
def test_few_jobs_wait_at_a_time(
    factors: UnifiedMemory, monkeypatch: pytest.MonkeyPatch, at_once: int, waiting_max: int
) -> None:
    monkeypatch.setattr(jobs, "JOBS_IN_FLIGHT_MAX", at_once)
    workers = Workers(factors, waiting_max)
    got = mapped(factors, "factor.correlation", submit=workers)

    assert got.rows == 6
    assert (workers.waiting_most, workers.sent) == (2, 3)


def test_a_queue_that_others_filled_is_told(factors: UnifiedMemory) -> None:
    with pytest.raises(JobQueueFullError, match=r"on dataset 'risk\.eu': the queue is full"):
        mapped(factors, "factor.correlation", submit=Workers(factors, waiting_max=0))


def test_a_failed_job_is_told_and_the_others_are_waited_for(factors: UnifiedMemory) -> None:
    workers = Workers(factors)
    workers.fails[0] = JobFailedError("job 'x' failed: bad", job_id="x")
    with pytest.raises(JobFailedError, match=r"on dataset 'risk\.eu': job 'x' failed") as caught:
        mapped(factors, "factor.correlation", submit=workers)

    assert caught.value.dataset == "risk.eu"
    assert (workers.sent, workers.waiting) == (3, 0)
    assert not [name for name in factors.names() if name.startswith("jobs/")]


def test_after_a_wait_that_was_too_long_nothing_is_waited_for(factors: UnifiedMemory) -> None:
    workers = Workers(factors)
    workers.fails[0] = JobTimeoutError("no answer in 1 s", job_id="x")
    with pytest.raises(JobTimeoutError, match=r"on dataset 'risk\.eu': no answer"):
        mapped(factors, "factor.correlation", submit=workers, timeout_s=1)

    assert workers.waiting == 2


def test_a_dataset_that_does_not_fit_the_workload_is_told(factors: UnifiedMemory) -> None:
    factors.put("risk.zz", {"name": ["x", "y"]})
    with pytest.raises(BadParameterError, match=r"on dataset 'risk\.zz'"):
        mapped(factors, "factor.correlation", names=[*FACTORS, "risk.zz"], submit=Workers(factors))


@pytest.mark.parametrize(
    ("work", "how", "error", "sentence"),
    [
        (5, {}, BadParameterError, "work is 5: expected a function"),
        (len, {"engine": "cpu"}, BadParameterError, "a function has no engine"),
        (len, {"input": "bars"}, BadParameterError, "a function has no input"),
        (len, {"threads": 0}, BadParameterError, "threads is 0"),
        (len, {"threads": True}, BadParameterError, "threads is True"),
        ("factor.corelation", {}, UnknownWorkloadError, "'factor.corelation'"),
        ("risk.portfolio", {}, BadParameterError, "input is missing: risk.portfolio has prices"),
        ("risk.portfolio", {"input": "price"}, BadParameterError, "input is 'price'"),
        (
            "factor.correlation",
            {"params": {"factors": "risk.eu"}},
            BadParameterError,
            "input is missing: .* of which params gives factors",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_mapped_is_refused(
    factors: UnifiedMemory, work: Any, how: dict[str, Any], error: Any, sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        mapped(factors, work, **({"submit": Workers(factors)} | how))

    assert caught.value.hint


# ---- the plane's part


class SmallPlane(ManyDatasets):
    def __init__(self, memory: UnifiedMemory) -> None:
        self.memory = memory
        self.submit = Workers(memory)


@pytest.fixture
def plane(memory_folder: Path) -> Iterator[SmallPlane]:
    opened = UnifiedMemory(memory_folder, 64 << 20)
    rng = np.random.default_rng(11)
    for name in FACTORS:
        opened.put(name, {"a": rng.normal(size=20), "b": rng.normal(size=20)})
    opened.put("desks", {"desk": ["x"]})
    yield SmallPlane(opened)
    opened.close()


def test_the_plane_finds_by_name_and_more(plane: SmallPlane) -> None:
    assert [one.name for one in plane.find("risk.?[ps]")] == ["risk.jp", "risk.us"]
    assert [one.name for one in plane.find(types="text", newer_than_s=3600)] == ["desks"]
    assert plane.find("risk.*", older_than_s=3600) == []


def test_the_plane_maps_what_it_finds(plane: SmallPlane) -> None:
    sums = plane.map("risk.*", lambda frame: float(frame["a"].sum()), name="sums")
    jobs = plane.map("risk.[!e]*", "factor.correlation", engine="cpu")

    assert sums["value"].tolist() == [plane.memory.get(name)["a"].sum() for name in FACTORS]
    assert plane.memory.get("sums") == sums
    assert jobs.arrow()["dataset"].to_pylist() == ["risk.jp"] * 2 + ["risk.us"] * 2
    with pytest.raises(DatasetNotFoundError, match=r"no dataset matches 'risc\.\*'"):
        plane.map("risc.*", len)


def test_the_planes_tensors_are_found_by_their_own_pattern(plane: SmallPlane) -> None:
    made = plane.tensor("risk.eu", ["b", "a"], layout="columns")

    np.testing.assert_array_equal(made[0], plane.memory.get("risk.eu")["b"].astype("float32"))
    assert [one.region for one in plane.find("tensors/*")] == ["neural"]
    assert all(not one.name.startswith("tensors/") for one in plane.find())
