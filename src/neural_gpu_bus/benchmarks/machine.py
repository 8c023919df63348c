"""The machine and the versions that a figure belongs to: without them it says nothing."""

from __future__ import annotations

import importlib.metadata
import ipaddress
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import psutil

from neural_gpu_bus.addresses import postgres_parts
from neural_gpu_bus.machine_cores import usable_cores

if TYPE_CHECKING:
    from pydantic import SecretStr

#: Everything that takes part in a measurement, ours or a rival's.
DISTRIBUTIONS = (
    "neural-gpu-bus", "numpy", "numba", "pyarrow", "psycopg", "redis", "hiredis", "onnxruntime",
    "pandas", "SQLAlchemy", "psycopg2-binary", "adbc-driver-postgresql", "polars", "TA-Lib",
    "skfolio", "scipy", "asyncpg", "connectorx", "duckdb",
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True):
    """One host as a reader of a figure wants to know it."""

    processor: str
    #: Cores that this process may use.
    cores: int
    memory_bytes: int
    system: str
    python: str


def this_machine() -> Machine:
    """Look at this host."""
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def versions(distributions: Iterable[str] = DISTRIBUTIONS) -> dict[str, str]:
    """Those of them that are installed, with their versions."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def over_network(postgres_dsn: SecretStr, redis_url: SecretStr) -> list[str]:
    """Those of the two servers that are reached by something else than a local socket."""
    parts = postgres_parts(postgres_dsn.get_secret_value())
    url = urlsplit(redis_url.get_secret_value())
    hosts = {
        "PostgreSQL": str(parts.get("host") or parts.get("hostaddr") or "").split(","),
        "Redis": ["" if url.scheme == "unix" else url.hostname or ""],
    }
    return [name for name, places in hosts.items() if not all(map(_is_local, places))]


def _is_local(host: str) -> bool:
    """An empty host and one that starts with a slash are unix sockets."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redis_version(url: SecretStr) -> dict[str, str]:
    """Name and version of the server behind the compute bus."""
    import redis

    with redis.Redis.from_url(url.get_secret_value()) as client:
        information: Any = client.info("server")
    if "valkey_version" in information:
        return {"Valkey": information["valkey_version"]}
    return {"Redis": information["redis_version"]}
