"""Random tables, transactions, definitions and crashes: live tables are always as SELECT says.

NGB_TEST_LIVE_SEED repeats a run, as far as chance alone decides; NGB_TEST_LIVE_SECONDS sets its
length.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence

import pytest

from live_oracle import Oracle, readers
from live_oracle_home import live_home, live_server

pytestmark = pytest.mark.slow

SHORT_S, LONG_S = 60.0, 3600.0
#: Between two steps, while other tests run beside it.
PAUSE_S = 1.2
#: Kills are rare: each lets the next process wait longer.
EVENTS = {
    "define": 0.2,
    "part": 0.1,
    "kill": 0.04,
    "crash": 0.04,
    "cut": 0.06,
    "pause": 0.06,
    "still": 0.15,
}
#: What comes once in each run, when that share of its time is over.
ONCE = (("large", 0.1), ("small", 0.2), ("persist", 0.5))
#: And in each round of the long run.
ONCE_LONG = (("large", 0.1), ("small", 0.2), ("huge", 0.3), ("small", 0.4), ("persist", 0.5))
#: Tables are chosen anew after so long.
ROUND_S = 120.0


def _run(
    seconds: float, seed: int, once: Sequence[tuple[str, float]], pause_s: float = 0.0
) -> None:
    print(f"seed {seed}")
    begun_s = time.monotonic()
    left = list(once)
    with (
        live_server() as server,
        live_home(server) as home,
        Oracle(home, seed, pause_s=pause_s) as oracle,
        readers(home, oracle.declared(), 1 if pause_s else 3) as check,
    ):
        oracle.compare("the first copy")
        while (share := (time.monotonic() - begun_s) / seconds) < 1:
            if left and share >= left[0][1]:
                oracle.step_with(left.pop(0)[0])
            else:
                oracle.step(EVENTS)
            check()
        committed, rolled_back = oracle.writers.counts()
        print(f"{dict(oracle.done)}, {committed} transactions, {rolled_back} rolled back")


def _seed() -> int:
    return int(os.environ.get("NGB_TEST_LIVE_SEED") or random.SystemRandom().randrange(1 << 31))


@pytest.mark.timeout(300)
def test_live_tables_are_as_select_says() -> None:
    _run(float(os.environ.get("NGB_TEST_LIVE_SECONDS") or SHORT_S), _seed(), ONCE, PAUSE_S)


@pytest.mark.soak
@pytest.mark.timeout(2 * LONG_S)
def test_live_tables_are_as_select_says_for_an_hour() -> None:
    seconds, chance = (
        float(os.environ.get("NGB_TEST_LIVE_SECONDS") or LONG_S),
        random.Random(_seed()),
    )
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        _run(min(left_s, ROUND_S), chance.randrange(1 << 31), ONCE_LONG)
