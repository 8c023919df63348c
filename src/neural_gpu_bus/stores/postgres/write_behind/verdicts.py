"""What a failed delivery means for the rows: try again later, or set them aside."""

from __future__ import annotations

from enum import Enum

from neural_gpu_bus.errors import (
    BadSettingError,
    ClosedError,
    HostError,
    QueryError,
    QueryTimeoutError,
    ServerAuthenticationError,
    ServerError,
    ServerFullError,
    ServerUnreachableError,
    ServerVersionError,
)


class Verdict(Enum):
    """What comes next."""

    #: No table can be written to now: wait, then try again, for ever.
    SERVER_AWAY = "server away"
    #: This table cannot be written to now: wait, then try again, for ever.
    TABLE_BUSY = "table busy"
    #: May pass, or may never: a few more tries, then as refused.
    DOUBTFUL = "doubtful"
    #: These rows will be refused every time.
    REFUSED = "refused"


#: The server is a standby or shuts down, or has no room; an address or password may be mended.
_AWAY = (
    ServerUnreachableError,
    ServerAuthenticationError,
    ServerVersionError,
    ServerFullError,
    BadSettingError,
    ClosedError,
)

#: SQLSTATE prefix to verdict, the first match wins (PostgreSQL manual, appendix A).
_STATES: tuple[tuple[str, Verdict], ...] = (
    ("25006", Verdict.SERVER_AWAY),  # read-only: a standby, until it is promoted
    ("40", Verdict.TABLE_BUSY),  # deadlock, serialisation
    ("55P03", Verdict.TABLE_BUSY),  # lock not available
    ("55006", Verdict.TABLE_BUSY),  # object in use
    # Cancelled by somebody, or longer than statement_timeout: fewer rows may be quick enough.
    ("57014", Verdict.DOUBTFUL),
    ("25P04", Verdict.DOUBTFUL),
    ("57", Verdict.TABLE_BUSY),
    ("42P01", Verdict.DOUBTFUL),  # dropped while we wrote; missing tables are made
    ("58", Verdict.DOUBTFUL),
    ("XX", Verdict.DOUBTFUL),  # also: the table was dropped just now
)


def verdict_on(error: Exception) -> Verdict:
    """From the error's class and its SQLSTATE."""
    if isinstance(error, _AWAY):
        return Verdict.SERVER_AWAY
    if isinstance(error, (QueryError, ServerError)):
        state = error.facts.get("sqlstate") or ""
        found = next((verdict for prefix, verdict in _STATES if state.startswith(prefix)), None)
        if found is not None:
            return found
    if isinstance(error, (QueryTimeoutError, HostError, OSError, MemoryError)):
        return Verdict.TABLE_BUSY
    # Also what nobody thought of: the rows are kept with its words, and block nothing.
    return Verdict.REFUSED
