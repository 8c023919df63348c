"""``ngb memory`` and ``ngb metrics`` look without starting anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from documented_failures import is_documented
from neural_gpu_bus import embedded
from neural_gpu_bus.cli import memory as command
from neural_gpu_bus.errors import BadParameterError, BadSettingError, HostError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.settings import load_settings


@pytest.fixture
def folder(memory_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where these settings have their memory; nobody made it yet."""
    monkeypatch.setenv("NGB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NGB_MEMORY_FOLDER", str(memory_folder))
    return embedded.memory_folder(load_settings())


@pytest.fixture
def filled(folder: Path) -> Iterator[UnifiedMemory]:
    memory = UnifiedMemory(folder, 64 << 20)
    memory.put("bars/ES", {"close": [1.0, 2.0]})
    yield memory
    memory.close()


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command("memory")(command.memory)
    app.command("metrics")(command.metrics)
    return CliRunner().invoke(app, arguments)


def test_where_nothing_runs_the_memory_is_empty_and_stays_unmade(folder: Path) -> None:
    result = run("memory")

    assert result.exit_code == 0
    assert "no datasets yet" in result.stdout
    assert not folder.exists()


def test_datasets_are_shown(filled: UnifiedMemory) -> None:
    result = run("memory")

    assert result.exit_code == 0
    assert "bars/ES" in result.stdout


def test_json_is_the_statistics_and_every_dataset(filled: UnifiedMemory) -> None:
    result = run("memory", "--json", "--datasets", "0")

    found = msgspec.json.decode(result.stdout, type=command.MemoryNow)
    assert found.memory.folder == str(filled.folder)
    assert [(one.name, one.rows) for one in found.datasets] == [("bars/ES", 2)]
    assert result.stdout.count("\n") == 1


def test_whoever_looks_is_not_among_the_processes(filled: UnifiedMemory) -> None:
    assert command.look_at_memory(load_settings()).memory.processes == ()


def test_watching_looks_again_and_ends_quietly(
    filled: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", wait)

    result = run("memory", "--watch", "0.5")

    assert result.exit_code == 0
    assert waits == [0.5, 0.5]
    assert result.stdout.count("bars/ES") == 2


def test_seconds_without_watching_are_a_question(folder: Path) -> None:
    error = run("memory", "5").exception

    assert isinstance(error, BadParameterError)
    assert "--watch" in error.hint


def test_metrics_are_printed_once(filled: UnifiedMemory) -> None:
    result = run("metrics")

    assert result.exit_code == 0
    assert "ngb_memory_up 1.0\n" in result.stdout
    assert f"ngb_memory_dataset_largest_bytes {float(filled.blocks('')[0].nbytes)}" in result.stdout


def test_a_port_that_is_taken_is_a_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = run("metrics", "--listen", str(taken.getsockname()[1])).exception

    assert isinstance(error, HostError)
    told = f"ngb: {error.what}\nhint: {error.hint}"
    assert is_documented(told, "The port for metrics is taken")


def test_printing_metrics_of_a_memory_that_cannot_be_opened_is_a_sentence(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)

    assert isinstance(run("metrics").exception, BadSettingError)
