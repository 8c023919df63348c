"""The oracle can fail: it finds each defect that is put into the process that follows."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import live_mutants
import live_oracle
from live_oracle import Oracle, readers
from live_oracle_home import live_home, live_server

pytestmark = [pytest.mark.slow, pytest.mark.soak]

#: As long as the short run of the oracle.
FOUND_S_MAX = 60.0
#: What is said of rows, of a look at all tables, of what the server may forget, of a table that
#: never is whole again.
WRONG = r"rows are missing|, and not \[|money is|were acknowledged|as of \d+, and|did not reach"
EVENTS = {"define": 0.2, "part": 0.1, "kill": 0.06, "crash": 0.03, "pause": 0.1, "still": 0.2}


@pytest.mark.timeout(4 * FOUND_S_MAX)
@pytest.mark.parametrize("name", live_mutants.MUTANTS)
def test_a_defect_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_oracle, "WAIT_S", 20.0)
    seed = int(os.environ.get("NGB_TEST_LIVE_SEED") or 1)
    environment = live_mutants.environment(tmp_path, name)
    with live_server() as server, live_home(server, environment=environment) as home:
        begun_s = time.monotonic()
        with pytest.raises(AssertionError, match=WRONG) as found, Oracle(home, seed) as oracle:
            _look(oracle, begun_s + FOUND_S_MAX)
        seconds = time.monotonic() - begun_s
        print(f"found: {name}: {seconds:.0f} s: {str(found.value)[:160]!r}")


def _look(oracle: Oracle, end_s: float) -> None:
    with readers(oracle.home, oracle.declared(), 1) as check:
        oracle.compare("the first copy")
        steps = ["large", "small", "persist", "kill"]
        while time.monotonic() < end_s:
            if steps:
                oracle.step_with(steps.pop(0))
            else:
                oracle.step(EVENTS)
            check()
