"""The shape of one piece of advice."""

from __future__ import annotations

from typing import Literal

import msgspec

#: ``good``; ``advice``: works, and could be better; ``problem``: something fails until it changes.
Standing = Literal["good", "advice", "problem"]


class Advice(msgspec.Struct, frozen=True):
    """What was looked at, how it stands, why, and what to run."""

    subject: str
    standing: Standing
    #: What was found, with the values.
    what: str
    #: Why it matters, with a figure; empty where all is well.
    why: str = ""
    #: Exactly what to run, one statement each, on the same database.
    sql: tuple[str, ...] = ()
