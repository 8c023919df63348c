"""Loops are compiled before test processes begin: else each of them compiles the same ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import neural_gpu_bus

SOURCE = Path(neural_gpu_bus.__file__).parent
#: Whose compiled form needs that of most others: compiled last, and whether they are is seen by it.
LAST = "live/applying/few_kernels.py"
#: Compiled by one process, everything else by another: about half a minute of CPU each.
TOGETHER = ("memory/series/", "live/", "workloads/")

_IMPORT = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


def compile_first() -> None:
    """Import all modules with compiled loops, where an installation has none compiled yet."""
    folder = os.environ.get("NUMBA_CACHE_DIR")
    last = SOURCE / LAST
    index = f"{last.stem}.*.nbi"
    own = (last.parent / "__pycache__").glob(index)
    if not any(Path(folder).glob(f"*/{index}") if folder else own):
        started = [
            subprocess.Popen([sys.executable, "-c", _IMPORT, *names]) for names in _two_halves()
        ]
        for process in started:  # one that fails is told by the tests of what it compiles
            process.wait()


def _two_halves() -> tuple[list[str], list[str]]:
    """What the last one needs of the other half's is begun first there, and found in its cache."""
    order = ("memory", "stores")
    paths = [path for name in order for path in sorted((SOURCE / name).rglob("*.py"))]
    paths += [path for path in sorted(SOURCE.rglob("*.py")) if path not in paths]
    paths.sort(key=lambda path: path == SOURCE / LAST)
    names: tuple[list[str], list[str]] = ([], [])
    for path in paths:
        if "@njit" in (text := path.read_text()) or "njit(" in text:
            inside = path.relative_to(SOURCE)
            name = ".".join(("neural_gpu_bus", *inside.with_suffix("").parts))
            names[not str(inside).startswith(TOGETHER)].append(name)
    return names
