"""Finding the keeper of a home, or starting it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from typing import Final

from neural_gpu_bus.embedded.connection import Connection
from neural_gpu_bus.embedded.handover import to_json
from neural_gpu_bus.embedded.home import Home
from neural_gpu_bus.embedded.lock import is_kept
from neural_gpu_bus.embedded.logs import last_lines, open_log
from neural_gpu_bus.errors import ServerStartError
from neural_gpu_bus.settings import Settings

#: A new keeper answers after 0.5 s on 2 idle cores; this is for machines that are not idle.
FIRST_ANSWER_S_MAX: Final = 30.0
#: A keeper that starts gives a sign of life each second.
SILENCE_S_MIN: Final = 10.0
_POLL_S: Final = 0.01

#: Exit status of a keeper that found another one in its home: no failure, connect to that.
EXIT_KEPT_ALREADY: Final = 75


def connect_or_start(settings: Settings, home: Home) -> Connection:
    """A connection to the home's keeper. Of clients that start one at once, one keeper stays.

    Raises ServerStartError with its last words when it ends before it answers.
    """
    deadline_s = time.monotonic() + FIRST_ANSWER_S_MAX
    keeper: subprocess.Popen[bytes] | None = None
    try:
        while time.monotonic() < deadline_s:
            with contextlib.suppress(FileNotFoundError, ConnectionError):
                return Connection(home, max(settings.connect_timeout_s, SILENCE_S_MIN))
            if keeper is not None and keeper.poll() not in {None, 0, EXIT_KEPT_ALREADY}:
                raise start_error(home, f"ended with status {keeper.returncode}")
            if (keeper is None or keeper.returncode is not None) and not is_kept(home):
                keeper = _start_keeper(settings, home)
            time.sleep(_POLL_S)
        raise start_error(home, f"did not answer within {FIRST_ANSWER_S_MAX:.0f} s")
    except BaseException:
        if keeper is not None:
            _let_go(keeper)
        raise


def start_error(home: Home, what: str) -> ServerStartError:
    """The error for a keeper that did not do its part."""
    log_file = home.log_file("keeper")
    return ServerStartError(
        f"the keeper of the private servers {what}. It said:\n{last_lines(log_file)}",
        hint=f"see {log_file}",
        server="keeper",
        log=str(log_file),
    )


def _start_keeper(settings: Settings, home: Home) -> subprocess.Popen[bytes]:
    with open_log(home.log_file("keeper")) as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "neural_gpu_bus.keeper"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            bufsize=0,
            cwd="/",
            # Ctrl-C in this terminal is for us; we end orderly, and our lease ends with us.
            start_new_session=True,
        )
    assert keeper.stdin is not None  # noqa: S101  (asked for above)
    with contextlib.suppress(BrokenPipeError):
        keeper.stdin.write(to_json(settings) + b"\n")
    threading.Thread(target=_reap, args=[keeper], name="ngb-keeper-reaper", daemon=True).start()
    return keeper


def _reap(keeper: subprocess.Popen[bytes]) -> None:
    """It may end before us, and nobody else would collect it. Its pipe stays open until then or
    until our own end, which tells it that we shall not come.
    """
    keeper.wait()
    _let_go(keeper)


def _let_go(keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None  # noqa: S101  (asked for where it was started)
    keeper.stdin.close()
