"""The way in: Ctrl-C while the commands are still being imported is a sentence too."""

from __future__ import annotations

import atexit
import errno
import os
import sys
from contextlib import suppress
from typing import NoReturn

#: What a shell reports for a command ended by Ctrl-C: 128 + SIGINT.
INTERRUPTED_EXIT_CODE = 130
INTERRUPTED = "ngb: interrupted; nothing was left half-done"
#: As ``errors.HostError``, which is not imported before it is needed.
HOST_EXIT_CODE = 4
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
#: Loaded where a CSV was read.
_READS_CSV = "neural_gpu_bus.stores.files.csv_quotes"


def run() -> None:
    """``ngb``."""
    try:
        _run()
    except SystemExit as ended:
        if _READS_CSV in sys.modules and isinstance(ended.code, int):
            _leave(ended.code)
        raise


def _run() -> None:
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


def _leave(code: int) -> NoReturn:
    """All that Python does at the end but taking itself down: threads of Arrow's that let go of a
    file then end the process by abort(), in one of thirty runs (pyarrow 26, 2 busy cores).
    """
    atexit._run_exitfuncs()  # noqa: SLF001  there is no other name for it
    with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
