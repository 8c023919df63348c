"""What may be the name of a dataset."""

from __future__ import annotations

from operator import index
from typing import Any

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.ports import QUERY_NAMES, RESULT_NAMES, TENSOR_NAMES

#: LMDB's keys end at 511 bytes, and a version goes behind the name.
NAME_BYTES_MAX = 480

#: Versions count from 1 and stand in 8 bytes behind a name.
VERSION_MAX = (1 << 64) - 1

#: Versions of a name that can be had: the newest, and the one before, for whoever looked it up
#: just now or holds its descriptor in a queue.
VERSIONS_KEPT = 2

#: Beginnings of names that are given here alone, and why.
_RESERVED = {
    RESULT_NAMES: "for the result of a job: workers drop them",
    TENSOR_NAMES: "for a tensor made of another dataset: they go with it",
    QUERY_NAMES: "for the result of a query: plane.query keeps it",
}


def tensor_names(uuid: str) -> str:
    """Beginning of the names of all tensors made of the block with that uuid."""
    return f"{TENSOR_NAMES}{uuid}/"


def versions_kept(name: str) -> int:
    """Versions of that name that can be had; nobody asks for a query's result before the newest."""
    return 1 if name.startswith(QUERY_NAMES) else VERSIONS_KEPT


def is_name(name: object) -> bool:
    """Whether it can be one."""
    return (
        isinstance(name, str) and name.isprintable() and 1 <= len(name.encode()) <= NAME_BYTES_MAX
    )


def checked_name(name: str) -> bytes:
    """The name as a key; BadParameterError where it cannot be one."""
    if not is_name(name):
        raise BadParameterError(
            f"{name!r} is no name for a dataset",
            hint=f"use 1 to {NAME_BYTES_MAX} bytes of printable text, e.g. 'bars/AAPL'",
            parameter="name",
        )
    return name.encode()


def check_given_name(name: str) -> None:
    """BadParameterError for what is no name, or one that is not for callers to give."""
    checked_name(name)
    for beginning, purpose in _RESERVED.items():
        if name.startswith(beginning):
            raise BadParameterError(
                f"{name!r} is a name {purpose}",
                hint=f"choose one that does not begin with {beginning!r}",
                parameter="name",
            )


def check_version(version: Any) -> None:
    """BadParameterError for what is no whole number, or none of 8 bytes.

    One that was never given, 0 or below too, is one that is not kept.
    """
    whole = hasattr(version, "__index__") and not isinstance(version, bool)
    if not whole or abs(index(version)) > VERSION_MAX:
        raise BadParameterError(
            f"version is {version!r}: expected a whole number of 8 bytes",
            hint="e.g. version=1; leave it out for the newest",
            parameter="version",
        )
