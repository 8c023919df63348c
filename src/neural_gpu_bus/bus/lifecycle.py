"""The states of a job and every move between them, as one table.

    submit              take                finish
    ------> waiting ------------> running ----------> done | failed
                                   |  ^
                             lose  |  | take (again, one delivery more)
                                   v  |
                                 waiting ---- give_up ----> failed (and a copy with the dead)

On Redis the scripts of ``bus.scripts`` make these moves; a test runs both over the same events.
There losing a job and taking it again, or giving it up, is one step: until a worker comes, the job
of a silent one still counts as running, and who asks is told for how long it was silent.

Whoever waits sees ``lost`` where Redis knows nothing of the job: flushed, evicted, or its answer's
time is over.
"""

from __future__ import annotations

from enum import StrEnum

from neural_gpu_bus.errors import JobError


class JobState(StrEnum):
    """Where a job is."""

    LOST = "lost"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


ANSWERED = frozenset({JobState.DONE, JobState.FAILED})


class JobEvent(StrEnum):
    """What happens to a job."""

    SUBMIT = "submit"
    TAKE = "take"
    #: Its worker was silent for longer than the lease.
    LOSE = "lose"
    #: Lost by too many workers.
    GIVE_UP = "give_up"
    FINISH = "finish"
    FAIL = "fail"
    #: The answer's time to live is over.
    EXPIRE = "expire"


MOVES: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.LOST, JobEvent.SUBMIT): JobState.WAITING,
    (JobState.WAITING, JobEvent.TAKE): JobState.RUNNING,
    (JobState.WAITING, JobEvent.GIVE_UP): JobState.FAILED,
    (JobState.RUNNING, JobEvent.LOSE): JobState.WAITING,
    (JobState.RUNNING, JobEvent.FINISH): JobState.DONE,
    (JobState.RUNNING, JobEvent.FAIL): JobState.FAILED,
    (JobState.DONE, JobEvent.EXPIRE): JobState.LOST,
    (JobState.FAILED, JobEvent.EXPIRE): JobState.LOST,
    # Tried again, under the same id, so that what it did store is not stored twice.
    (JobState.FAILED, JobEvent.SUBMIT): JobState.WAITING,
    # Late or doubled, and without effect: submitting is idempotent, and the first answer stays.
    # A worker that was taken for lost may finish while its job waits for the next.
    (JobState.WAITING, JobEvent.SUBMIT): JobState.WAITING,
    (JobState.WAITING, JobEvent.FINISH): JobState.DONE,
    (JobState.WAITING, JobEvent.FAIL): JobState.FAILED,
    (JobState.DONE, JobEvent.SUBMIT): JobState.DONE,
    **{(state, event): state for state in ANSWERED for event in (JobEvent.FINISH, JobEvent.FAIL)},
    (JobState.RUNNING, JobEvent.SUBMIT): JobState.RUNNING,
}


def after(state: JobState, event: JobEvent) -> JobState:
    """The state after an event; JobError where the table has no such move."""
    try:
        return MOVES[state, event]
    except KeyError:
        raise JobError(
            f"a job that is {state} cannot {event}",
            hint="see bus.lifecycle.MOVES",
            state=str(state),
        ) from None
