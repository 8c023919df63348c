"""What the doctor calls an extra is what the build installs for it."""

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from neural_gpu_bus.cli.rivals import RIVALS
from neural_gpu_bus.status.checks import Verdict
from neural_gpu_bus.status.optional_parts import (
    BROUGHT,
    EXTRAS,
    Platform,
    check_optional_parts,
    parts_of,
)

BUILD = tomllib.loads((Path(__file__).parent.parent.parent.parent / "pyproject.toml").read_text())
WANTED = {
    extra: [Requirement(text) for text in texts]
    for extra, texts in BUILD["project"]["optional-dependencies"].items()
}
PLATFORMS = [
    Platform("linux", "x86_64", (3, 11)),
    Platform("linux", "x86_64", (3, 14)),
    Platform("linux", "aarch64", (3, 13)),
    Platform("darwin", "arm64", (3, 12)),
]
SYSTEMS = {"linux": "Linux", "darwin": "Darwin"}


def installed(extra: str, here: Platform) -> set[str]:
    """Distributions that pip would install."""
    environment = {
        "sys_platform": here.system,
        "platform_system": SYSTEMS[here.system],
        "platform_machine": here.machine,
        "python_version": f"{here.python[0]}.{here.python[1]}",
    }
    found: set[str] = set()
    for one in WANTED[extra]:
        if one.name == "neural-gpu-bus":
            found |= {name for brought in one.extras for name in installed(brought, here)}
        elif one.marker is None or one.marker.evaluate(environment):
            found.add(one.name)
    return found


def test_extras_are_those_of_the_build() -> None:
    brought = {
        extra: {
            each for one in WANTED[extra] if one.name == "neural-gpu-bus" for each in one.extras
        }
        for extra in WANTED
    }

    assert list(EXTRAS) == list(WANTED)
    assert {extra: set(BROUGHT.get(extra, ())) for extra in EXTRAS} == brought


@pytest.mark.parametrize("here", PLATFORMS, ids=str)
@pytest.mark.parametrize("extra", EXTRAS)
def test_parts_are_those_of_the_build(extra: str, here: Platform) -> None:
    assert set(parts_of(extra, here)) == installed(extra, here)


def test_bench_asks_for_nothing_besides() -> None:
    for here in PLATFORMS:
        assert {*RIVALS} <= {*parts_of("bench", here).values()}


@pytest.mark.parametrize("missing", ["scipy", "pytz", "polars", "talib"])
def test_bench_is_not_good_while_a_rival_is_missing(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def found(module: str) -> Any:
        return None if module == missing else object()

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.setattr("neural_gpu_bus.status.optional_parts.metadata.version", lambda _: "1")
    answers = {one.name: one for one in check_optional_parts()}

    assert answers["bench"].verdict is Verdict.LIMITED
    assert answers["demo"].verdict is Verdict.LIMITED
    assert answers["neural"].verdict is Verdict.GOOD
