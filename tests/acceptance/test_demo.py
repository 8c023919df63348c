"""``ngb demo`` and ``ngb bench`` in fresh processes, on made-up files."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from made_up_market import write_market
from neural_gpu_bus import embedded
from neural_gpu_bus.benchmarks.memory import QUESTIONS
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.plane import DataPlane
from neural_gpu_bus.settings import Settings

Ngb = Callable[..., "subprocess.CompletedProcess[str]"]

#: Longest wait for an interrupted demo to end on a busy machine.
LIMIT_S = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    write_market(folder)
    return folder


@dataclass(frozen=True)
class Left:
    """What stands in the servers and in memory."""

    schemas: list[str]
    keys: list[str]
    datasets: list[str]

    @classmethod
    def behind(cls, settings: Settings) -> Left:
        with DataPlane(settings, embedded.attach(settings)) as plane:
            schemas = plane.query("SELECT nspname::text AS name FROM pg_namespace ORDER BY 1")
            url = plane.addresses.compute_redis_url.get_secret_value()
            with redis.Redis.from_url(url, decode_responses=True) as client:
                keys = sorted(client.scan_iter("ngb:demo:*"))
            named = [name for name in plane.names() if name.startswith("ngb_")]
            found = [name for name in schemas["name"].tolist() if not name.startswith("pg_")]
        return cls(found, keys, named)


def test_quick_demo_writes_page_and_figures(
    ngb: Ngb, home_settings: Settings, market: Path, tmp_path: Path
) -> None:
    page = tmp_path / "out" / "report.html"

    done = ngb("demo", "--quick", "--data", market, "--report", page, COLUMNS=80)

    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_bytes())
    assert [found["workload"] for found in results["workloads"]] == [
        "risk.portfolio",
        "factor.correlation",
        "indicators.technical",
        "vpin.trades",
        "vpin.bars",
        "patterns.shape",
    ]
    assert all(len(found["timings"]) == 4 for found in results["workloads"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert f"report: {page}" in done.stdout
    assert "Shape patterns" in done.stdout
    left = Left.behind(home_settings)
    assert (left.keys, left.datasets) == ([], [])
    assert any(name.startswith("ngb_demo_") for name in left.schemas)
    assert not any(name.startswith("demo") for name in left.schemas)
    assert all(len(line) <= 80 for line in done.stdout.split("measured")[0].splitlines())


def test_demo_says_what_is_missing_and_runs_the_rest(ngb: Ngb, tmp_path: Path) -> None:
    write_market(tmp_path / "data", only=("factors",))

    done = ngb("demo", "--quick", "--data", tmp_path / "data", "--report", tmp_path / "r.html")

    assert done.returncode == 0, done.stderr
    assert f"skipped vpin.trades: {tmp_path / 'data'} has no trades file" in done.stdout
    assert "Factor correlation" in done.stdout


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_says_one_sentence_and_can_be_repeated(
    ngb: Ngb, home_settings: Settings, tmp_path: Path, interrupt: signal.Signals
) -> None:
    write_market(tmp_path / "data", only=("factors",))
    page = tmp_path / "out" / "report.html"
    arguments = ["demo", "--data", str(tmp_path / "data"), "--report", str(page)]
    command = [sys.executable, "-m", "neural_gpu_bus", *arguments]
    environment = to_environment(home_settings, os.environ)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "timing" in line)
        process.send_signal(interrupt)
        rest = process.stderr.read()
        code = process.wait(LIMIT_S)

    assert code == 130, rest
    assert "ngb: interrupted" in rest
    assert "Traceback" not in rest
    assert list(page.parent.iterdir()) == []
    again = ngb(*arguments, "--quick")
    assert again.returncode == 0, again.stderr


def test_a_folder_that_is_not_there_is_one_sentence(ngb: Ngb, tmp_path: Path) -> None:
    done = ngb("demo", "--data", tmp_path / "nowhere", "--report", tmp_path / "r.html")

    assert done.returncode == 2
    assert "is no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_that_cannot_be_written_is_known_before_anything_runs(
    ngb: Ngb, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    done = ngb("demo", "--report", tmp_path / "file" / "report.html")

    assert done.returncode == 4
    assert "report.html' cannot be written: " in done.stderr
    assert "starting" not in done.stderr


def test_quick_bench_writes_figures(ngb: Ngb, home_settings: Settings, tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"

    done = ngb("bench", "--quick", "--repeats", "1", "--json", figures)

    assert done.returncode == 0, done.stderr
    cases = {case["name"]: case for case in json.loads(figures.read_bytes())["cases"]}
    assert set(cases) == {"read", "last-bars", "write", "put", "get", "job", "redis"}
    assert "direct, resident" in cases["last-bars"]["timings"]
    assert "Ray" in cases["put"]["skipped"]
    assert "read: Reading 10,000 rows" in done.stdout
    left = Left.behind(home_settings)
    assert left.datasets == []
    assert not any("bench" in name for name in left.schemas)
    assert ("[ray]" in done.stdout) == (importlib.util.find_spec("ray") is None)


def test_figures_that_cannot_be_written_are_known_before_anything_runs(
    ngb: Ngb, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    done = ngb("bench", "--json", tmp_path / "file" / "figures.json")

    assert done.returncode == 4
    assert "figures.json' cannot be written: " in done.stderr
    assert "name another place with --json FILE" in done.stderr
    assert "preparing" not in done.stderr


def test_a_folder_in_the_place_of_the_figures_is_no_place_for_them(
    ngb: Ngb, tmp_path: Path
) -> None:
    (tmp_path / "results.json").mkdir()

    done = ngb("demo", "--report", tmp_path / "report.html")

    assert done.returncode == 4
    assert "results.json' cannot be written: Is a directory" in done.stderr


def test_an_unknown_case_is_refused_with_the_nearest(ngb: Ngb) -> None:
    done = ngb("bench", "--only", "reed")

    assert done.returncode == 2
    assert "did you mean 'read'?" in done.stderr


def test_quick_bench_of_memory_asks_what_it_is_asked(
    ngb: Ngb, home_settings: Settings, tmp_path: Path
) -> None:
    figures = tmp_path / "memory.json"
    wanted = ("share", "publish", "crowd")
    chosen = [word for name in wanted for word in ("--only", name)]

    done = ngb("bench", "memory", "--quick", *chosen, "--json", figures, COLUMNS=80)

    assert done.returncode == 0, done.stderr
    answers = {answer["name"]: answer for answer in json.loads(figures.read_bytes())["answers"]}
    assert set(answers) == set(wanted)
    assert [goal["wanted"] for goal in answers["crowd"]["goals"]] == [
        "all of them are there",
        "find: no slower",
        "attach: no slower",
        "put of one row: no slower",
    ]
    assert "append and publish" in done.stdout
    assert "these are no figures" in done.stdout
    assert Left.behind(home_settings).datasets == []
    assert not list(embedded.memory_folder(home_settings).parent.glob("ngb-bench-*"))


@pytest.mark.soak
def test_quick_bench_of_memory_beside_all_rivals(ngb: Ngb, tmp_path: Path) -> None:
    figures = tmp_path / "memory.json"

    done = ngb("bench", "memory", "--quick", "--json", figures)

    assert done.returncode == 0, done.stderr
    answers = json.loads(figures.read_bytes())["answers"]
    assert [answer["name"] for answer in answers] == [*QUESTIONS]
    assert "plane.get(name)" in done.stdout
