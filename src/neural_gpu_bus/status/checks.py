"""The shape of one answer of ``ngb doctor``."""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(Enum):
    """How a fact stands for this package."""

    GOOD = "yes"
    #: Works, with a limit worth knowing, or an optional part that is not there.
    LIMITED = "no"
    #: Something will fail until it is changed.
    BAD = "problem"


class Check(msgspec.Struct, frozen=True):
    """One fact: what it is, how it stands, why, and what to do."""

    name: str
    verdict: Verdict
    #: Why, with the figures.
    detail: str
    #: What to do; empty where nothing needs doing.
    advice: str = ""
