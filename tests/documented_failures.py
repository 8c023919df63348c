"""``docs/how-to/when-things-go-wrong.md`` as patterns: section title -> what ``ngb`` must print."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "when-things-go-wrong.md"
#: A section's title, then its first fenced block.
SECTION = re.compile(r"(?ms)^### (?P<title>.+?)\n.*?^```text\n(?P<text>.*?)^```$")


def sections() -> dict[str, str]:
    """Every section's quoted output."""
    return {found["title"]: found["text"].strip() for found in SECTION.finditer(PAGE.read_text())}


def assert_told(result: subprocess.CompletedProcess[str], title: str, exit_code: int) -> None:
    """The command failed as the page says: same words, that exit code, no traceback."""
    pattern = ".+?".join(re.escape(part) for part in sections()[title].split("…"))

    assert "Traceback" not in result.stdout + result.stderr
    assert re.fullmatch(pattern, result.stderr.strip(), re.DOTALL), result.stderr
    assert result.returncode == exit_code
