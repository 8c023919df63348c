"""What a live table promises, by how its commits are heard of: in words, for people."""

from __future__ import annotations

from typing import Final

#: By ``LiveDefinition.how``. The stream's has no exception to tell of.
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
