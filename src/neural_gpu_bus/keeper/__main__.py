"""``python -m neural_gpu_bus.keeper``, started by a client: settings as JSON on standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from neural_gpu_bus.embedded.handover import from_json
from neural_gpu_bus.embedded.home import open_home, take_lock
from neural_gpu_bus.embedded.start import EXIT_KEPT_ALREADY
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.keeper.keeper import Keeper


def run() -> int:
    """One keeper's life; its exit status."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr
    )
    os.umask(0o077)
    try:
        settings = from_json(sys.stdin.buffer.read())
        home = open_home(settings)
        if take_lock(home) is None:
            return EXIT_KEPT_ALREADY
        return asyncio.run(Keeper(settings, home).run())
    except NeuralGpuBusError as error:
        logging.getLogger(__name__).error("%s", error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(run())
