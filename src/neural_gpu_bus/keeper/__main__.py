"""``python -m neural_gpu_bus.keeper``, started by a client: settings as JSON on standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from neural_gpu_bus.embedded.failures import system_failure
from neural_gpu_bus.embedded.handover import from_json
from neural_gpu_bus.embedded.home import open_home
from neural_gpu_bus.embedded.lock import sign_lock, take_lock
from neural_gpu_bus.embedded.start import EXIT_KEPT_ALREADY
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.keeper.keeper import Keeper
from neural_gpu_bus.settings import Settings


def run() -> int:
    """One keeper's life; its exit status."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr
    )
    os.umask(0o077)
    given = sys.stdin.buffer.readline()
    if not given:
        return 0  # the client ended before it could say what it wants
    try:
        return _keep(from_json(given))
    except NeuralGpuBusError as error:
        logging.getLogger(__name__).error("%s", error)
        return error.exit_code


def _keep(settings: Settings) -> int:
    home = open_home(settings)
    try:
        lock = take_lock(home)
        if lock is None:
            return EXIT_KEPT_ALREADY
        sign_lock(lock)
        return asyncio.run(Keeper(settings, home, starter=sys.stdin.fileno()).run())
    except OSError as error:
        raise system_failure(error, home.folder) from None


if __name__ == "__main__":
    sys.exit(run())
