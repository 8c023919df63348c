"""What cleans up when the keeper itself is killed: a shell that waits for the keeper's end.

It holds the reading end of a pipe, which closes when the keeper dies in any way, and then removes
the shared memory. One process of 1 MB against gigabytes that nobody would free.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

_SHELL: Final = "/bin/sh"
_SCRIPT: Final = 'trap "" INT TERM; read -r _; rm -rf -- "$@"'


class Guard:
    """Removes folders when this process dies. ``close`` ends it without removing anything."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *folders: Path) -> Guard:
        """In a session of its own, so that what kills the keeper's group spares it."""
        process = await asyncio.create_subprocess_exec(
            _SHELL,
            "-c",
            _SCRIPT,
            "ngb-guard",
            *map(str, folders),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Of the shell."""
        return self._process.pid

    async def close(self) -> None:
        """Before the keeper goes in good order."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
