"""Every Python example in README and docs runs, in a process of its own, on private servers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from forked_python import ForkedPython
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.settings import Settings

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?ms)^```python\n(.*?)^```$")
EXAMPLES = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()), 1)
]


#: As ``python -c`` runs it, and once more in the same process: a fresh one imports for a second.
TWICE = """
for run in [compile({!r}, "<example>", "exec")] * 2:
    exec(run)
print("ran twice")
"""


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(
    example: str, home_settings: Settings, tmp_path: Path, forked_python: ForkedPython
) -> None:
    """Twice: a reader tries again."""
    result = forked_python.run(
        ["-c", TWICE.format(example)],
        cwd=tmp_path,
        env=to_environment(home_settings, os.environ),
        timeout=120,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("ran twice\n")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
