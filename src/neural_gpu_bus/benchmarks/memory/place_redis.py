"""Redis with the columns' bytes as a value, over the private server's unix socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from neural_gpu_bus.benchmarks.memory.datasets import from_bytes
from neural_gpu_bus.benchmarks.memory.place import Place

if TYPE_CHECKING:
    import redis

    from neural_gpu_bus.benchmarks.memory.datasets import Matrix

_PREFIX = "ngb:bench:memory:"


@dataclass
class RedisValues(Place):
    """GET and SET."""

    title: ClassVar[str] = "Redis GET"
    title_put: ClassVar[str] = "Redis SET"
    how: ClassVar[str] = "plain bytes of one matrix; redis-py with hiredis"
    #: proto-max-bulk-len: no value is larger than 512 MB.
    nbytes_max: ClassVar[float] = 512 << 20
    url: str = field(repr=False)

    @cached_property
    def client(self) -> redis.Redis:
        """Connected when first needed, in each process by itself."""
        import redis

        return redis.Redis.from_url(self.url)

    def open(self) -> None:
        """Say hello."""
        self.client.ping()

    def put(self, key: str, matrix: Matrix) -> None:
        """Through the socket into the server."""
        self.client.set(_PREFIX + key, matrix.data.cast("B"))

    def find(self, key: str) -> Any:
        """A copy of the value's bytes."""
        return self.client.get(_PREFIX + key)

    def columns(self, found: Any) -> Mapping[str, Any]:
        """Views of that copy."""
        return from_bytes(found)

    def drop(self, key: str) -> None:
        """Delete it."""
        self.client.delete(_PREFIX + key)

    def close(self) -> None:
        """Delete what an interrupted run left, and hang up."""
        for key in self.client.scan_iter(_PREFIX + "*"):
            self.client.delete(key)
        self.__dict__.pop("client").close()
