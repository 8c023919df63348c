"""The table of moves is whole and sound."""

import pytest

from neural_gpu_bus.bus.lifecycle import MOVES, JobEvent, JobState, after
from neural_gpu_bus.errors import JobError

ANSWERED = {JobState.DONE, JobState.FAILED}


def test_every_state_is_reached_from_nothing() -> None:
    reached = {JobState.LOST}
    for _ in JobState:
        reached |= {to for (state, _), to in MOVES.items() if state in reached}

    assert reached == set(JobState)


def test_every_event_has_a_place() -> None:
    assert {event for _, event in MOVES} == set(JobEvent)


def test_submitting_is_possible_in_every_state() -> None:
    assert {state for state, event in MOVES if event == JobEvent.SUBMIT} == set(JobState)


def test_an_answered_job_stays_so_until_its_answer_expires() -> None:
    for (state, event), to in MOVES.items():
        if state in ANSWERED:
            assert to == (JobState.LOST if event == JobEvent.EXPIRE else state)


def test_a_move_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(JobError, match="a job that is lost cannot take"):
        after(JobState.LOST, JobEvent.TAKE)
