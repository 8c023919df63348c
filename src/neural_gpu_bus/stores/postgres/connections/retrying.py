"""A lost connection is tried again, a few times and not for long.

What may be run twice is the caller's to say: a read, in a transaction that cannot write; a write
only with a job's id, which tells the second one from the first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from neural_gpu_bus.errors import QueryError, ServerUnreachableError

T = TypeVar("T")

#: Before the second, third and fourth attempt. A private PostgreSQL that was killed is back after
#: 0.2 s, a promoted standby after 0.1 to 1 s; longer is for the caller to decide.
WAITS_S = (0.1, 0.4, 1.0)
#: After the first failure no attempt begins later, however long each took to fail.
TROUBLE_S_MAX = 5.0

#: A statement that writes, in a transaction that must not.
READ_ONLY = "25006"


#: One try: whether an earlier one may have been carried out, in part or whole, and the seconds
#: left of the whole time (None: no end).
Attempt = Callable[[bool, float | None], T]


def retried(
    attempt: Attempt[T],
    *,
    timeout_s: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What ``attempt`` returns, tried again where the connection was lost.

    Raises the last ServerUnreachableError, saying how often it was tried, and at once all else. A
    statement that turns out to write is not run again: the first error stands.
    """
    end_s = math.inf if timeout_s is None else clock() + timeout_s
    begin_by_s = end_s
    first: ServerUnreachableError | None = None
    for tries, wait_s in enumerate((*WAITS_S, math.inf), 1):
        try:
            left_s = None if timeout_s is None else end_s - clock()
            return attempt(first is not None, left_s)
        except ServerUnreachableError as error:
            if first is None:
                first, begin_by_s = error, min(end_s, clock() + TROUBLE_S_MAX)
            if clock() + wait_s >= begin_by_s:
                raise _counted(error, tries) from error.__cause__
            sleep(wait_s)
        except QueryError as error:
            if first is not None and error.facts.get("sqlstate") == READ_ONLY:
                raise first from None
            raise
    raise AssertionError("the last wait has no end")


def _counted(error: ServerUnreachableError, tries: int) -> ServerUnreachableError:
    if tries == 1:
        return error
    return ServerUnreachableError(
        f"{error.what} (tried {tries} times)", hint=error.hint, **error.facts
    )
