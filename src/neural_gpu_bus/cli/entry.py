"""The way in: Ctrl-C while the commands are still being imported is a sentence too."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

#: What a shell reports for a command ended by Ctrl-C: 128 + SIGINT.
INTERRUPTED_EXIT_CODE = 130
INTERRUPTED = "ngb: interrupted; nothing was left half-done"
#: As ``errors.HostError``, which is not imported before it is needed.
HOST_EXIT_CODE = 4
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run() -> None:
    """``ngb``."""
    try:
        from neural_gpu_bus.cli.main import run_commands

        run_commands()
    except KeyboardInterrupt:
        _interrupted()
    except RuntimeError as error:
        # What pydantic makes of a Ctrl-C that comes while it prepares a class.
        if not isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise
        _interrupted()
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        sys.stderr.write(f"ngb: what was to be shown cannot be written: {error.strerror}\n")
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  what waits there has no room
        sys.exit(HOST_EXIT_CODE)


def _interrupted() -> NoReturn:
    sys.stderr.write(INTERRUPTED + "\n")
    sys.exit(INTERRUPTED_EXIT_CODE)
