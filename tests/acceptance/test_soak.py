"""Minutes of jobs while workers die at random: every answer comes, every row is stored once.

NGB_TEST_SOAK_S sets how long, NGB_TEST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import signal
import time

import numpy as np
import psutil
import pytest

from neural_gpu_bus import DataPlane, embedded

SOAK_S = float(os.environ.get("NGB_TEST_SOAK_S", "300"))
JOBS_MAX = 20
FACTORS = 6


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_jobs_survive_workers_that_die_at_random(plane: DataPlane, table: str) -> None:
    seed = int(os.environ.get("NGB_TEST_SEED") or random.SystemRandom().randrange(1 << 31))
    print(f"seed {seed}")
    chance = random.Random(seed)
    values = np.random.default_rng(seed).normal(size=(FACTORS, 200_000))
    factors = plane.put("soak_factors", {f"f{n}": row for n, row in enumerate(values)})
    expected = np.corrcoef(values)
    stored_rows = deaths = 0
    deadline_s = time.monotonic() + SOAK_S
    while time.monotonic() < deadline_s:
        given = {"factors": factors}
        count = chance.randint(1, JOBS_MAX)
        jobs = [plane.submit("factor.correlation", given, table=table) for _ in range(count)]
        deaths += chance.random() < 0.5 and kill_a_worker(plane, chance)
        for job in jobs:
            frame = job.wait_result(60)
            found = np.array([frame[f"f{n}"] for n in range(FACTORS)])
            np.testing.assert_allclose(found, expected, rtol=1e-10)
        stored_rows += count * FACTORS

    print(f"{stored_rows // FACTORS} jobs, {deaths} workers killed")
    found_rows = plane.query(f'SELECT count(*) AS rows FROM "{table}"')["rows"][0]
    assert found_rows == stored_rows
    assert plane.statistics().bus.running == 0


def kill_a_worker(plane: DataPlane, chance: random.Random) -> bool:
    """Kill -9, if one lives at this moment."""
    pids = [worker.pid for worker in embedded.status(plane.settings).workers if worker.pid]
    if not pids:
        return False
    try:
        psutil.Process(chance.choice(pids)).send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True
