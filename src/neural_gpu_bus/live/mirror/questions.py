"""Questions to the server beside the stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg

from neural_gpu_bus.live.mirror.spare_connections import plan_once
from neural_gpu_bus.stores.postgres.connections.connection import translated


class Questions:
    """A connection of our own for one question at a time, opened again when it broke."""

    def __init__(self, address: str, connected: Callable[[], psycopg.Connection]) -> None:
        self._address = address
        self._connected = connected
        self._connection: psycopg.Connection | None = None
        self._turn = threading.Lock()

    def asked(self, question: Callable[[psycopg.Connection], Any]) -> Any:
        """The answer. Raises ServerError and what the question raises."""
        with self._turn, translated(self._address):
            if self._connection is None or self._connection.closed or self._connection.broken:
                self._connection = self._connected()
                plan_once(self._connection)
            return question(self._connection)

    def close(self) -> None:
        """Let go of the server."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
