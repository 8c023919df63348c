"""``ngb load`` hands files on and prints what was done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
import typer
from typer.testing import CliRunner

from documented_failures import is_documented
from neural_gpu_bus.cli import load as command
from neural_gpu_bus.errors import BadFileError
from neural_gpu_bus.stores.postgres.loading.loads import LoadReport


class FakePlane:
    """Remembers what it was asked to load; the file named bad.csv is bad."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def load(self, files: list[Path], table: str, **options: Any) -> list[LoadReport]:
        options.pop("progress")(10, 1000)
        (file,) = files
        if file.name == "bad.csv":
            raise BadFileError("bad.csv: is empty", hint="fill it", file="bad.csv")
        repeated = bool(self.asked)
        self.asked.append({"table": table, **options})
        rows = 0 if repeated else 1000
        return [
            LoadReport(str(file), table, rows, 3 << 20, 0.5, not repeated, repeated, **self.report)
        ]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> FakePlane:
    fake = FakePlane()
    monkeypatch.setattr(command.ngb, "open", lambda: fake)
    return fake


@pytest.fixture
def app() -> typer.Typer:
    typer_app = typer.Typer()
    typer_app.command()(command.load)
    return typer_app


def test_prints_one_line_a_file(plane: FakePlane, app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["a.csv", "b.csv", "--table", "t", "--key", "k, ts"])

    assert result.exit_code == 0
    first, second = result.stdout.splitlines()[1:3]
    assert first.split() == ["a.csv", "t", "1,000", "3.0", "0.50", "2,000", "new", "table"]
    assert "loaded before, nothing changed" in second
    assert plane.asked[0] == {"table": "t", "key": ["k", "ts"], "text": (), "again": False}


def test_missing_rows_and_notes_are_told_below(plane: FakePlane, app: typer.Typer) -> None:
    plane.report = {"missing_rows": 1234, "notes": ("[bold] numbers",)}

    result = CliRunner().invoke(app, ["a.csv", "b.csv", "--table", "t", "--again"])

    assert plane.asked[0]["again"] is True
    numbers, missing = result.stderr.splitlines()[-2:]
    assert numbers == "note: [bold] numbers"
    assert "table t lacks 1,234 of the rows" in missing
    assert is_documented(missing, "Rows of a loaded file were deleted or changed")


def test_files_before_a_bad_one_are_still_reported(plane: FakePlane, app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["a.csv", "bad.csv", "--table", "t"])

    assert isinstance(result.exception, BadFileError)
    assert "1,000" in result.stdout


def test_the_table_has_to_be_named(plane: FakePlane, app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["a.csv"])

    assert result.exit_code == 2
    assert plane.asked == []
