"""Where a frame's bytes were: what unpickling gives when they are gone by then.

A pool that cannot unpickle an argument breaks, or reports an error of its own. So a frame always
arrives, and says at its first use that its bytes are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from neural_gpu_bus.errors import DatasetEvictedError


class GoneSource:
    """See ``frame_source.FrameSource``; everything but its title raises DatasetEvictedError."""

    __slots__ = ("_error",)

    def __init__(self, error: DatasetEvictedError) -> None:
        self._error = error

    @property
    def title(self) -> str:
        """What is gone, and why."""
        return self._error.what

    @property
    def rows(self) -> int:
        """As all the others: there are none."""
        self._gone()

    nbytes = version = as_of = columns = rows

    def column(self, name: str) -> Any:  # noqa: ARG002  the contract's
        """Gone."""
        self._gone()

    def arrow(self) -> Any:
        """Gone."""
        self._gone()

    def arrow_rows(self, start: int, stop: int) -> Any:  # noqa: ARG002  the contract's
        """Gone."""
        self._gone()

    def private(self) -> Any:
        """Gone."""
        self._gone()

    def reference(self) -> tuple[Any, ...]:
        """It stays gone wherever it is sent."""
        return GoneSource, (self._error,)

    def _gone(self) -> NoReturn:
        raise self._error
