"""Who needs the servers, and when nobody does any more. No socket, no clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

#: From the last client's end to the stop: a script that opens again right away finds all running.
GRACE_S: Final = 1.0
#: From the keeper's start to its first client: whoever started it connects at once, or is stuck;
#: its death is known by the pipe that it holds.
FIRST_CLIENT_S: Final = 20.0


class Timer(Protocol):
    """What ``loop.call_later`` returns."""

    def cancel(self) -> None:
        """It shall not ring."""


class Leases:
    """Counts clients; calls ``stop`` when the last one has been gone for ``grace_s``."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Timer],
        stop: Callable[[], None],
        *,
        grace_s: float = GRACE_S,
        first_client_s: float = FIRST_CLIENT_S,
    ) -> None:
        self._call_later = call_later
        self._stop = stop
        self._grace_s = grace_s
        self._counted = 0
        self._visited = False
        self._stays = False
        self._timer: Timer | None = call_later(first_client_s, stop)

    @property
    def counted(self) -> int:
        """Clients that keep the servers alive."""
        return self._counted

    @property
    def stays(self) -> bool:
        """Whether somebody said ``stay``."""
        return self._stays

    @property
    def idle(self) -> bool:
        """Whether clients came, all are gone, and nobody said ``stay``."""
        return self._visited and not self._counted and not self._stays

    def add(self) -> None:
        """A client came."""
        self._visited = True
        self._counted += 1
        self._quiet()

    def remove(self) -> None:
        """A client went, one way or another."""
        self._counted -= 1
        if self.idle:
            self._timer = self._call_later(self._grace_s, self._stop)

    def starter_gone(self) -> None:
        """Whoever started the keeper is gone; a request of its may still be on the way."""
        if not self._visited and not self._stays:
            self._quiet()
            self._timer = self._call_later(self._grace_s, self._stop)

    def stay(self) -> None:
        """Run on without clients."""
        self._stays = True
        self._quiet()

    def _quiet(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
