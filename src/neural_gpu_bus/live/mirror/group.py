"""The groups of series that live tables lie in: of each one writer, one step for all of it."""

#: Of those that follow the stream.
GROUP = "live"
#: Of those that PostgreSQL is asked for again and again; their versions are ``name@a1``.
ASKED_GROUP = "live-asked"
ASKED_MARK = "a"


def group_of(series: str) -> str:
    """Where the series of a version lies."""
    return ASKED_GROUP if series.rpartition("@")[2].startswith(ASKED_MARK) else GROUP
