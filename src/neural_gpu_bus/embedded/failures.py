"""Why a server did not start: from its last words to an error that says what to do. Pure."""

from __future__ import annotations

import errno
from pathlib import Path

from neural_gpu_bus.errors import DiskFullError, HostError, ServerStartError

#: The C library's words for ENOSPC, EDQUOT, ENOMEM and EADDRINUSE (LC_ALL=C), and PostgreSQL's
#: for a write that was cut short.
NO_ROOM = ("No space left on device", "Disk quota exceeded", "Check free disk space")
NO_MEMORY = ("Cannot allocate memory", "out of memory", "Out of memory")
PORT_TAKEN = "Address already in use"


def start_failure(server: str, last_words: str, log_file: Path) -> HostError:
    """The error for a server that ended before it was ready."""
    home = log_file.parents[1]
    if any(words in last_words for words in NO_ROOM):
        return disk_full(home, f"{server} did not start")
    facts = {"server": server, "log": str(log_file)}
    if any(words in last_words for words in NO_MEMORY):
        return ServerStartError(
            f"{server} did not start: too little memory is free. It said:\n{last_words}",
            hint="free some memory, or set NGB_COMPUTE_REDIS_BYTES_MAX lower",
            **facts,
        )
    return ServerStartError(
        f"{server} did not start. It said:\n{last_words or '(nothing)'}",
        hint=f"see {log_file}",
        **facts,
    )


def system_failure(error: OSError, home: Path) -> HostError:
    """The error for what the operating system refused to the keeper itself."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return disk_full(home, "the private servers did not start")
    place = f": {str(error.filename)!r}" if error.filename else ""
    return HostError(
        f"the private servers did not start: {error.strerror or error}{place}",
        hint=f"see {home / 'log' / 'keeper.log'}; the home is {str(home)!r} (NGB_HOME)",
        home=str(home),
    )


def is_port_taken(last_words: str) -> bool:
    """Whether somebody took the port between our look at it and the server's."""
    return PORT_TAKEN in last_words


def disk_full(home: Path, what: str) -> DiskFullError:
    """The error for a home whose disk has no room."""
    return DiskFullError(
        f"{what}: no space left on the disk of {str(home)!r}",
        hint="free some space there, or set NGB_HOME to a folder on another disk",
        folder=str(home),
    )
