"""The table of moves is whole and sound."""

import pytest

from neural_gpu_bus.bus.lifecycle import ANSWERED, MOVES, JobEvent, JobState, after
from neural_gpu_bus.errors import JobError


def test_every_state_is_reached_from_nothing() -> None:
    reached = {JobState.LOST}
    for _ in JobState:
        reached |= {to for (state, _), to in MOVES.items() if state in reached}

    assert reached == set(JobState)


def test_every_event_has_a_place() -> None:
    assert {event for _, event in MOVES} == set(JobEvent)


def test_submitting_is_possible_in_every_state() -> None:
    assert {state for state, event in MOVES if event == JobEvent.SUBMIT} == set(JobState)


def test_an_answer_stays_until_it_expires_or_a_failed_job_is_tried_again() -> None:
    leaving = {move: to for move, to in MOVES.items() if move[0] in ANSWERED and to != move[0]}

    assert leaving == {
        (JobState.DONE, JobEvent.EXPIRE): JobState.LOST,
        (JobState.FAILED, JobEvent.EXPIRE): JobState.LOST,
        (JobState.FAILED, JobEvent.SUBMIT): JobState.WAITING,
    }


def test_a_move_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(JobError, match="a job that is lost cannot take"):
        after(JobState.LOST, JobEvent.TAKE)
