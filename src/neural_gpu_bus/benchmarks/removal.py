"""What a run put into memory and servers that are its user's, taken away at its end."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import DatasetNotFoundError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from neural_gpu_bus.plane import DataPlane


def remove_datasets(plane: DataPlane, names: Iterable[str]) -> None:
    """Forget these datasets, as far as they are there: an interrupted run has not made all."""
    for name in names:
        with suppress(DatasetNotFoundError):
            plane.drop(name)


def remove_keys(redis_url: SecretStr, keys: Iterable[str]) -> None:
    """Delete these keys, as far as they are there."""
    import redis

    with redis.Redis.from_url(redis_url.get_secret_value()) as client:
        for key in keys:
            client.delete(key)
