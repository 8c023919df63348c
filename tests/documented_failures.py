"""``docs/how-to/when-things-go-wrong.md`` as patterns: section title -> what ``ngb`` must print."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "when-things-go-wrong.md"
#: A section's title, then its first fenced block.
SECTION = re.compile(r"(?ms)^### (?P<title>.+?)\n.*?^```text\n(?P<text>.*?)^```$")
#: A trap of the host, told besides.
WARNING = re.compile(r"(?m)^\S+ \S+ \[warning .*\n")


def sections() -> dict[str, str]:
    """Every section's quoted output."""
    return {found["title"]: found["text"].strip() for found in SECTION.finditer(PAGE.read_text())}


def is_documented(text: str, title: str) -> bool:
    """True when the page has these words in that section."""
    pattern = ".+?".join(re.escape(part) for part in sections()[title].split("…"))
    return re.fullmatch(pattern, WARNING.sub("", text).strip(), re.DOTALL) is not None


def assert_told(result: subprocess.CompletedProcess[str], title: str, exit_code: int) -> None:
    """The command failed as the page says: same words, that exit code, no traceback."""
    assert "Traceback" not in result.stdout + result.stderr
    assert is_documented(result.stderr, title), result.stderr
    assert result.returncode == exit_code
