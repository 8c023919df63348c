"""What a live table promises, by how its commits are heard of: in words, for people."""

from __future__ import annotations

from typing import Final

#: By ``LiveDefinition.how``. The stream's has no exception to tell of, but see ``promise_of``.
PROMISES: Final[dict[str, str]] = {
    "stream": "",
    "trigger": (
        "by triggers: equal to the table as of the last look, not at every commit; what switches "
        "triggers off (session_replication_role, a subscription) is not seen; each changed row "
        "costs its writer a row in a log"
    ),
    "poll": (
        "by polling: rows whose watermark rose are seen; a delete, a changed primary key and a row "
        "that left the filter only when the table is read whole again (recopy_s); a change that "
        "did not raise the watermark, or that came more than overlap_s late, not before either"
    ),
}


def promise_of(how: str, looked_s: float) -> str:
    """Of one table; ``looked_s``: seconds between two looks at its definition, 0: it is told."""
    if how != "stream" or not looked_s:
        return PROMISES.get(how, "")
    return (
        "by the stream of commits; but its definition (ALTER TABLE, partitions) is looked at every "
        f"{looked_s:g} s, for no event trigger tells of it: at a position that was waited for it "
        "may be the one before; lag_s and max_lag_s count from the last look"
    )
