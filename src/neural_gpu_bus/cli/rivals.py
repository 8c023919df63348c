"""The libraries that figures are compared with, and what to say where one is missing."""

from __future__ import annotations

import importlib.util

from neural_gpu_bus.errors import MissingDependencyError

#: Modules of the rivals, without which there is nothing to compare with.
RIVALS = ("adbc_driver_postgresql", "pandas", "polars", "psycopg2", "scipy", "sqlalchemy", "talib")

#: Those without which questions about PostgreSQL say nothing; others are skipped by name.
POSTGRES_RIVALS = ("adbc_driver_postgresql", "asyncpg", "duckdb", "polars")


def require_rivals(modules: tuple[str, ...], *, extra: str) -> None:
    """MissingDependencyError for the first that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(
                f"{module}, one of the rivals to compare with, is not installed",
                hint=f"pip install 'neural-gpu-bus[{extra}]'",
                library=module,
                extra=extra,
            )
