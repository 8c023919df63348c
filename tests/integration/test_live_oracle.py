"""Random tables, transactions, definitions and crashes: live tables are always as SELECT says.

NGB_TEST_LIVE_SEED repeats a run, as far as chance alone decides; NGB_TEST_LIVE_SECONDS sets its
length.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from live_oracle import Oracle, readers
from live_oracle_home import live_home, live_server

pytestmark = pytest.mark.slow

SHORT_S, LONG_S = 20.0, 3600.0
#: Kills are rare: each lets the next process wait longer.
EVENTS = {"define": 0.25, "kill": 0.04, "crash": 0.04, "cut": 0.06, "pause": 0.06}
#: Tables are chosen anew after so long.
ROUND_S = 120.0


def _run(seconds: float, seed: int) -> None:
    print(f"seed {seed}")
    end_s = time.monotonic() + seconds
    with live_server() as server, live_home(server) as home:
        oracle = Oracle(home, seed)
        with readers(home, oracle.declared(), 1):
            oracle.compare("the first copy")
            while time.monotonic() < end_s:
                oracle.step(EVENTS)
        committed, rolled_back = oracle.writers.counts()
        oracle.writers.close()
        print(f"{dict(oracle.done)}, {committed} transactions, {rolled_back} rolled back")


def _seed() -> int:
    return int(os.environ.get("NGB_TEST_LIVE_SEED") or random.SystemRandom().randrange(1 << 31))


def test_live_tables_are_as_select_says() -> None:
    _run(float(os.environ.get("NGB_TEST_LIVE_SECONDS") or SHORT_S), _seed())


@pytest.mark.soak
@pytest.mark.timeout(2 * LONG_S)
def test_live_tables_are_as_select_says_for_an_hour() -> None:
    seconds, chance = (
        float(os.environ.get("NGB_TEST_LIVE_SECONDS") or LONG_S),
        random.Random(_seed()),
    )
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        _run(min(left_s, ROUND_S), chance.randrange(1 << 31))
