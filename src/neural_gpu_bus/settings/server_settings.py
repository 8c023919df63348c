"""Settings of the servers: existing ones, and the private ones of a home."""

from __future__ import annotations

from pydantic import Field, SecretStr

from neural_gpu_bus.machine_memory import usable_memory_bytes
from neural_gpu_bus.settings.field_types import GIB, Port
from neural_gpu_bus.settings.home_settings import HomeSettings


class ServerSettings(HomeSettings):
    """Where they are, and how long one of them may take to answer."""

    postgres_dsn: SecretStr | None = Field(
        default=None,
        description="An existing PostgreSQL 14 to 18 as libpq address; by default a private one.",
    )
    compute_redis_url: SecretStr | None = Field(
        default=None,
        description="An existing Redis 6.2+ or Valkey for jobs; by default a private one.",
    )
    market_data_redis_url: SecretStr | None = Field(
        default=None,
        description="An existing Redis 6.2+ or Valkey for market data; by default a private one.",
    )
    engine_logic_redis_url: SecretStr | None = Field(
        default=None,
        description="An existing Redis 6.2+ or Valkey for engine logic; by default a private one.",
    )

    postgres_port: Port = Field(
        default=5439, description="Loopback port of the private PostgreSQL."
    )
    market_data_redis_port: Port = Field(
        default=6380, description="Loopback port of the private market data Redis."
    )
    engine_logic_redis_port: Port = Field(
        default=6381, description="Loopback port of the private engine logic Redis."
    )
    compute_redis_port: Port = Field(
        default=6382, description="Loopback port of the private compute Redis."
    )
    compute_redis_bytes_max: int | None = Field(
        default=None,
        ge=32 << 20,
        description="Memory limit of the private compute Redis, least recently used keys "
        "go first; by default the smaller of 8 GiB and an eighth of the machine's memory.",
    )

    connect_timeout_s: float = Field(
        default=5.0, gt=0, le=120, description="Longest wait for a server to answer."
    )

    @property
    def compute_redis_limit_bytes(self) -> int:
        """8 GiB on the original design's 64 GiB machine is an eighth; smaller machines keep the
        proportion.
        """
        return self.compute_redis_bytes_max or min(8 * GIB, usable_memory_bytes() // 8)
