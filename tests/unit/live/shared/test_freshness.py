"""What may be concluded of how fresh a table is."""

from __future__ import annotations

import os

from neural_gpu_bus.live.shared.freshness import (
    AskedPositions,
    end_of_record,
    is_alive,
    own_start_ns,
)


def test_a_position_that_is_published_confirms_the_moment_it_was_asked_at() -> None:
    asked = AskedPositions()
    assert asked.confirmed_by(10**9) == 0
    asked.asked(100, 0x1000)
    asked.asked(200, 0x1000)
    asked.asked(300, 0x2000)

    assert asked.confirmed_by(0xFFF) == 0
    assert asked.confirmed_by(0x1000) == 200
    assert asked.confirmed_by(0x1FFF) == 200
    assert asked.confirmed_by(0x2000) == 300

    asked.forget()
    assert asked.confirmed_by(0x2000) == 0


def test_where_the_stream_hangs_the_oldest_questions_stay() -> None:
    asked = AskedPositions()
    for number in range(5000):
        asked.asked(number, 0x1000 + number)

    assert asked.confirmed_by(0x1000) == 0
    assert asked.confirmed_by(0x1001) == 1


def test_a_position_behind_a_pages_head_is_the_end_of_the_page_before() -> None:
    """On an idle server nothing else would come, and who waits for it would wait for ever."""
    assert end_of_record(0x1000018) == 0x1000000
    assert end_of_record(0x1000028) == 0x1000028
    assert end_of_record(0x1000020) == 0x1000020

    asked = AskedPositions()
    asked.asked(100, 0x1002018)
    assert asked.confirmed_by(0x1002000) == 100


def test_a_process_is_known_by_its_number_and_its_beginning() -> None:
    assert is_alive(os.getpid(), own_start_ns())
    assert not is_alive(os.getpid(), own_start_ns() - 5_000_000_000)
    assert not is_alive(1 << 22, own_start_ns())
