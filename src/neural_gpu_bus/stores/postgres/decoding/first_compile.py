"""One line before loops are compiled for the first time: it takes up to a minute, in silence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import structlog

from neural_gpu_bus import numba_start

numba_start.start()

_log = structlog.get_logger(__name__)

#: Of the loops for reading, all compiled together; the largest.
LARGEST: Final = "copy_kernels.*.nbi"


def say_when_compiling() -> None:
    """Where numba finds nothing compiled. Called once, when the loops are first imported."""
    if not is_compiled(Path(__file__).parent, os.environ.get("NUMBA_CACHE_DIR")):
        _log.info("loops for reading are compiled now, once; it takes some seconds")


def is_compiled(source_folder: Path, cache_folder: str | None) -> bool:
    """Whether an index of compiled loops lies where numba keeps it; of which state, it knows."""
    if cache_folder:
        return any(Path(cache_folder).glob(f"*/{LARGEST}"))
    return any((source_folder / "__pycache__").glob(LARGEST))
