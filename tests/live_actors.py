"""What other processes do in the tests of live tables, importable by a fresh process.

The one that follows plays a stream: each step is a transaction that appends the same amounts to two
tables, in another order. So at every position the sums are equal, and only there. Now and then both
tables are copied anew, to other amounts, and their old versions emptied at once.
"""

from __future__ import annotations

import random
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.errors import NeuralGpuBusError, SeriesBusyError, StaleError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.live_table import LiveTable, live_snapshot
from neural_gpu_bus.live.shared import LiveState, LiveView, TableState
from neural_gpu_bus.memory.series import SeriesGroup
from neural_gpu_bus.memory.series.writer import SeriesWriter

ACCOUNTS = 10
NAMES = ("debit", "credit")
SCHEMA = pa.schema(
    [("account", pa.int32()), ("step", pa.int64()), ("amount", pa.int64()), ("copy", pa.int64())]
)
#: Small, so that extents grow, fill and move all the time.
SIZES: dict[str, Any] = {"chunk_rows_max": 128, "overlap_rows": 32}
GROUP = "live"


def prepare(folder: Path) -> SeriesGroup:
    """The group, made if need be, in a memory folder."""
    for part in ("series", "live"):
        (folder / part).mkdir(exist_ok=True)
    return SeriesGroup.create(folder / "series", GROUP, arena_bytes=(1 << 16, 1 << 18))


def table(folder: Path, name: str, view: LiveView | None = None) -> LiveTable:
    """As another process opens it."""
    group = SeriesGroup.open(folder / "series", GROUP)
    return LiveTable(name, view or LiveView(folder), group.series)


def rows(step: int, copy: int, amounts: np.ndarray[Any, Any]) -> dict[str, Any]:
    """One row of each account; a copy multiplies the amounts."""
    return {
        "account": np.arange(ACCOUNTS, dtype="i4"),
        "step": np.full(ACCOUNTS, step, "i8"),
        "amount": amounts * copy,
        "copy": np.full(ACCOUNTS, copy, "i8"),
    }


class Follower:
    """Writer of the group and of the state."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.group = prepare(folder)
        self.writer: SeriesWriter = self.group.writer()
        stamp = self.group.clock.stamp(self.group.generation)
        assert stamp is not None
        self.step = stamp.lsn
        self.state = LiveState(folder, published=(stamp.lsn, stamp.committed_ns))
        self.chance = random.Random(seed)
        self.copies = max((int(name.split("@")[1]) for name in self.group.names()), default=0)
        self.copy_anew()

    def copy_anew(self) -> None:
        """Both tables, in one step, as of the newest one; what was there is emptied at once."""
        old, self.copies = self.copies, self.copies + 1
        for name in NAMES:
            told = TableState(name, state="copying anew" if old else "copying", detail="a test")
            self.state.set_table(told)
            self.group.series(f"{name}@{self.copies}", SCHEMA, ["account"], "step", **SIZES)
        self.transact()
        self.state.set_tables([TableState(name, f"{name}@{self.copies}", "live") for name in NAMES])
        for name in self.group.names():
            if not name.endswith(f"@{self.copies}"):
                self.writer.truncate(name)
        self.transact()

    def transact(self) -> None:
        """One transaction: as many rows to both, of equal sum."""
        self.step += 1
        amounts = np.array([self.chance.randrange(100) for _ in range(ACCOUNTS)], "i8")
        self.writer.append(f"debit@{self.copies}", rows(self.step, self.copies, amounts))
        self.writer.append(f"credit@{self.copies}", rows(self.step, self.copies, amounts[::-1]))
        self.told()

    def told(self) -> None:
        """Publish, then say so."""
        asked_ns = host_clock_ns()
        self.writer.publish(lsn=self.step, committed_ns=self.step * 1000)
        self.state.applied(self.step, self.step * 1000)
        self.state.confirmed(asked_ns)
        self.state.beat(self.step)


def follow(folder: Path, seed: int, copies_every: int, answer: Connection) -> None:
    """Step after step until killed or told to end."""
    follower = Follower(folder, seed)
    answer.send(follower.step)
    began = follower.step
    while not answer.poll(0):
        follower.transact()
        if copies_every and (follower.step - began) % copies_every == 0:
            follower.copy_anew()
    answer.send(follower.step)


def check_snapshot(tables: list[LiveTable]) -> int:
    """Both tables as of one position add up; which position."""
    found = live_snapshot(tables)
    debit, credit = (found[name] for name in NAMES)
    assert debit.as_of == credit.as_of
    position = int(debit.as_of.lsn.split("/")[1], 16)
    sums, copies = [], set()
    for one in (debit, credit):
        arrow = one.arrow()
        sums.append(int(arrow["amount"].to_numpy().sum()))
        copies |= set(arrow["copy"].to_numpy().tolist())
        assert arrow["step"].to_numpy().max() == position
        assert arrow.num_rows % ACCOUNTS == 0
    assert sums[0] == sums[1]
    assert len(copies) == 1
    return position


def check_last(one: LiveTable, account: int) -> int:
    """One partition as of now: it ends with its position's step; live or not."""
    frame = one.last(16, account=account)
    position = int(frame.as_of.lsn.split("/")[1], 16)
    assert frame.as_of.committed_ns == position * 1000
    steps = frame["step"]
    assert (np.diff(steps) == 1).all(), steps
    assert steps[-1] == position, (steps[-1], frame.as_of, one.state)
    assert len(set(frame["copy"].tolist())) == 1
    return position


def read(folder: Path, looks: int, answer: Connection) -> None:
    """Check so many moments, whatever becomes of who follows; how many positions were seen."""
    view = LiveView(folder)
    tables = [table(folder, name, view) for name in NAMES]
    for one in tables:
        one.wait_live(60)
    answer.send(True)
    mark, seen, held, stale = tables[0].mark, set(), [], 0
    before = 0
    while looks > 0:
        after = tables[0].wait_for_change(mark, 5)
        assert after >= mark
        mark = after
        try:
            position = check_snapshot(tables)
            assert position >= before
            before = position
            tables[1].wait_for(position, 0)
        except StaleError:  # one of them is not live now
            stale += 1
            time.sleep(0.001)
        for one in tables:
            reached = check_last(one, looks % ACCOUNTS)
            assert reached >= before
            seen.add(reached)
        frame = tables[0].last(16, account=looks % ACCOUNTS)
        held = [*held[-20:], (frame, frame["amount"].tolist())]
        for kept, amounts in held:
            assert kept["amount"].tolist() == amounts
        looks -= 1
    answer.send((len(seen), stale))


def take_over(folder: Path, seed: int, answer: Connection) -> None:
    """Follow as soon as the one before is gone."""
    while True:
        try:
            follow(folder, seed, 20, answer)
        except SeriesBusyError:
            time.sleep(0.001)
        except NeuralGpuBusError as error:
            answer.send(str(error))
            return
        else:
            return
