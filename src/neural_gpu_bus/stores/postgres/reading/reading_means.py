"""What every way of reading needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neural_gpu_bus.ports import Reserve
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.connections.query_classes import QueryClass, QueryClassName
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffers
from neural_gpu_bus.stores.postgres.reading.result_columns import ResultColumns


@dataclass(frozen=True, slots=True)
class ReadingMeans:
    """Shared by all reads of one store; thread-safe."""

    pool: Pool
    reserve: Reserve
    address: str
    buffers: ReceiveBuffers
    types: ResultColumns
    query_classes: Mapping[QueryClassName, QueryClass]
    #: Past libpq where the socket is plain.
    direct: bool
