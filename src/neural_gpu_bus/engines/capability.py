"""Whether a library and its device can be used here, and what to do if not."""

from __future__ import annotations

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
