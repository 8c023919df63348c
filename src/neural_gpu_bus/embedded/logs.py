"""Logs of a home: bounded in size, and their last lines for error messages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

#: Of each log; one older copy is kept beside it, so a home's six logs stay under 60 MiB.
LOG_BYTES_MAX = 5 << 20

#: Enough for the reason of a failed start, which PostgreSQL gives in its last three lines.
LAST_LINES = 8
_LAST_BYTES = 8192


def bound_logs(folder: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Move what is too large aside, without the writers noticing: they append to the same file."""
    for file in folder.glob("*.log"):
        if file.stat().st_size > bytes_max:
            shutil.copyfile(file, file.with_suffix(".log.1"))
            os.truncate(file, 0)


def open_log(file: Path) -> BinaryIO:
    """A log to append to, readable by its owner alone whatever this process's umask."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def last_lines(file: Path, start_bytes: int = 0) -> str:
    """The last lines of a log, looking back to ``start_bytes`` at most; empty for none.

    Lines that go on from the one before begin with a tab: a statement of initdb has fifty of them,
    which would hide why it failed.
    """
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(start_bytes if start_bytes <= size else 0, size - _LAST_BYTES))
        text = stream.read().decode(errors="replace")
    lines = [line for line in text.splitlines() if not line.startswith("\t")]
    return "\n".join(lines[-LAST_LINES:])
