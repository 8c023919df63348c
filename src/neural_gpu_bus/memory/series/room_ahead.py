"""Pages made before the rows that they are for come: meanwhile somebody else is waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory.series.arenas import WritableArenas


class RoomAhead:
    """Of one writer, whose turn is not held while pages are made."""

    def __init__(
        self,
        arenas: WritableArenas,
        turn: AbstractContextManager[Any],
        check_open: Callable[[], None],
    ) -> None:
        self._arenas = arenas
        self._turn = turn
        self._check_open = check_open

    def make(self, nbytes: int, wanted: Callable[[], bool]) -> int:
        """For that many bytes of rows, as long as they are ``wanted``; how many were made. Where
        there is no room they are fewer.
        """
        made = 0
        while made < nbytes and wanted():
            with self._turn:
                self._check_open()
            try:
                made += self._arenas.make_ahead(self._turn)
            except SharedMemoryFullError:
                return made
        return made

    def drop(self) -> None:
        """What nobody needed goes with the next publication."""
        with self._turn:
            self._arenas.drop_ahead()
