"""Few copies at once: a hundred tables that begin together take longer side by side, and as many
sessions as the server may not have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

COPIES_AT_ONCE: Final = 4
#: How often a copy whose turn has not come looks whether it was given up.
_LOOK_S: Final = 0.05


class CopyTurns:
    """Of one process."""

    def __init__(self, most: int = COPIES_AT_ONCE) -> None:
        self._free = most
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, check: Callable[[], object]) -> Iterator[Callable[[], None]]:
        """A turn for the body, which may leave it by calling what it gets: while it waits for
        somebody the others go on. ``check`` may raise while there is none.
        """
        with self._changed:
            while not self._free:
                self._changed.wait(_LOOK_S)
                check()
            self._free -= 1
        held = [True]

        def leave() -> None:
            with self._changed:
                if held:
                    held.clear()
                    self._free += 1
                    self._changed.notify()

        try:
            yield leave
        finally:
            leave()
