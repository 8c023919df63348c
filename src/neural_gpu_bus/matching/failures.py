"""Errors that say which dataset they are about, and how far the work has come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import MapFailedError, NeuralGpuBusError

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Progress


def failure(failed: Mapping[str, BaseException], among: int) -> BaseException:
    """The first error with its dataset's name: of its own kind where that is one of ours."""
    name, error = next(iter(failed.items()))
    more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
    facts = {"dataset": name, "failed": list(failed)}
    if isinstance(error, NeuralGpuBusError):
        what = f"on dataset {name!r}: {error.what}{more}"
        return type(error)(what, hint=error.hint, **{**error.facts, **facts})
    return MapFailedError(
        f"the function failed on dataset {name!r}, one of {among}{more}: "
        f"{type(error).__name__}: {error}",
        hint=f"try it alone: function(plane.get({name!r}))",
        **facts,
    )


@contextmanager
def named(dataset: str) -> Iterator[None]:
    """Errors inside say which dataset they are about."""
    try:
        yield
    except NeuralGpuBusError as error:
        raise failure({dataset: error}, 1) from None


def tell(progress: Progress | None, done: int, total: int) -> None:
    """Where somebody wants to know."""
    if progress is not None:
        progress(done, total)
