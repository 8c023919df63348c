"""Whether a library and its device can be used here, and what to do if not."""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple


class Capability(NamedTuple):
    """One line of ``ngb doctor``."""

    #: Engine and library, e.g. ``gpu: mlx``.
    name: str
    available: bool
    #: Versions and device when it can be used; the reason in words when not.
    detail: str
    #: The way to have it; empty where there is nothing to do.
    advice: str


def find_library(distribution: str) -> str | None:
    """Version of an installed distribution, without importing it; None where it is missing."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
