"""The shape of one piece of advice."""

from __future__ import annotations

from collections.abc import Iterable
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


#: Subjects that are named of those that share one piece of advice; their statements name all.
_SUBJECTS_MAX = 6


def told_once(advice: Iterable[Advice]) -> list[Advice]:
    """For people: what is said alike of several subjects is said once, of all of them."""
    groups: dict[tuple[str, ...], list[Advice]] = {}
    for one in advice:
        groups.setdefault((one.standing, one.what, one.why), []).append(one)
    return [_of_all(group) for group in groups.values()]


def _of_all(group: list[Advice]) -> Advice:
    if len(group) == 1:
        return group[0]
    names = [one.subject for one in group]
    more = len(names) - _SUBJECTS_MAX
    subject = ", ".join(names[:_SUBJECTS_MAX]) + (f" and {more} more" if more > 0 else "")
    sql = tuple(dict.fromkeys(statement for one in group for statement in one.sql))
    return msgspec.structs.replace(group[0], subject=subject, sql=sql)
