"""The way in: Ctrl-C while the commands are still being imported is a sentence too."""

from __future__ import annotations

import sys

#: What a shell reports for a command ended by Ctrl-C: 128 + SIGINT.
INTERRUPTED_EXIT_CODE = 130
INTERRUPTED = "ngb: interrupted; nothing was left half-done"


def run() -> None:
    """``ngb``."""
    try:
        from neural_gpu_bus.cli.main import run_commands

        run_commands()
    except KeyboardInterrupt:
        sys.stderr.write(INTERRUPTED + "\n")
        sys.exit(INTERRUPTED_EXIT_CODE)
