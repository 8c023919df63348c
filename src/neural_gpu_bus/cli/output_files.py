"""Files that a command writes at its end: checked before its work, then whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from neural_gpu_bus.errors import DiskFullError, HostError


def require_writable(option: str, *files: Path) -> None:
    """Before anything is measured: a file that cannot be written is known at once."""
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            _draft(file).write_bytes(b"")
            _draft(file).unlink()
        except OSError as error:
            raise _cannot_write(option, file, error) from error


def _cannot_write(option: str, file: Path, error: OSError) -> HostError:
    what = f"{str(file)!r} cannot be written: {error.strerror}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        hint = f"free some space there, or name another place with {option}"
        return DiskFullError(what, hint=hint, folder=str(file.parent))
    return HostError(what, hint=f"name another place with {option}", file=str(file))


def write_whole(option: str, file: Path, content: bytes) -> None:
    """The whole file or the old one."""
    try:
        _draft(file).write_bytes(content)
        _draft(file).replace(file)
    except OSError as error:
        with suppress(OSError):
            _draft(file).unlink()
        raise _cannot_write(option, file, error) from error


def _draft(file: Path) -> Path:
    return file.with_name(f".{file.name}.draft")
