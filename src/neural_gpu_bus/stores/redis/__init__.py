"""Redis and Valkey: whole frames as binary columns under one key."""

from __future__ import annotations

from neural_gpu_bus.stores.redis.columns import RedisColumns, check_key
from neural_gpu_bus.stores.redis.connection import connect, translated

__all__ = ["RedisColumns", "check_key", "connect", "translated"]
