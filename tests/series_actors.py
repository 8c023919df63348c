"""What other processes do in the tests of series, importable by a fresh process.

Every step appends to each account of two series of one group, and moves an amount between them:
only whole generations add up.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.errors import DatasetEvictedError
from neural_gpu_bus.memory.series import Series, SeriesGroup, SeriesSnapshot, kernels, writer

ACCOUNTS = 12
#: Rows of each account that are there at the same time; older ones are deleted now and then.
ROWS_KEPT = 200
SCHEMA = pa.schema(
    [
        ("account", pa.int32()),
        ("step", pa.int64()),
        ("amount", pa.int64()),
        ("said", pa.string()),
        ("even", pa.bool_()),
    ]
)
NAMES = ("debit", "credit")
#: Small, so that extents grow, fill and move all the time.
SIZES: dict[str, Any] = {"chunk_rows_max": 64, "overlap_rows": 16}


def open_group(folder: Path) -> SeriesGroup:
    group = SeriesGroup.create(folder, "ledger", arena_bytes=(1 << 16, 1 << 18))
    for name in NAMES:
        group.series(name, SCHEMA, ["account"], "step", **SIZES)
    return group


def columns(step: int, amounts: np.ndarray[Any, Any]) -> dict[str, Any]:
    accounts = np.arange(len(amounts), dtype="i4")
    return {
        "account": accounts,
        "step": np.full(len(amounts), step, "i8"),
        "amount": amounts,
        "said": [None if step % 5 == 0 else f"{step}/{amount}" for amount in amounts],
        "even": [None if step % 7 == 0 else amount % 2 == 0 for amount in amounts],
    }


def one_step(opened: writer.SeriesWriter, step: int, chance: random.Random) -> None:
    """What a generation holds: rows of that step everywhere, debit and credit equal in sum."""
    amounts = np.array([chance.randrange(100) for _ in range(ACCOUNTS)], "i8")
    opened.append("debit", columns(step, amounts))
    opened.append("credit", columns(step, amounts[::-1].copy()))
    if step % 11 == 0:
        old = np.repeat(
            np.arange(max(1, step - ROWS_KEPT - 11), max(1, step - ROWS_KEPT)), ACCOUNTS
        )
        gone = {"account": np.tile(np.arange(ACCOUNTS, dtype="i4"), len(old) // ACCOUNTS)}
        for name in NAMES:
            opened.delete(name, gone | {"step": old.astype("i8")})
    if step % 3 == 0:
        late = columns(step - 1, amounts)
        opened.upsert("debit", late)
        opened.upsert("credit", late)


def write_steps(folder: Path, seed: int, pause_s: float, answer: Connection) -> None:
    """Publish step after step until killed, or told to end; stamps say which step it is."""
    chance = random.Random(seed)
    with open_group(folder).writer() as opened:
        step = opened.generation
        answer.send(step)
        while not answer.poll(0):
            step += 1
            one_step(opened, step, chance)
            opened.publish(lsn=step, committed_ns=step * 1000)
            time.sleep(pause_s)
    answer.send(step)


def check_whole(snapshots: dict[str, SeriesSnapshot]) -> int:
    """Every invariant of a generation; which one it was."""
    generation = snapshots["debit"].generation
    sums = []
    for snapshot in snapshots.values():
        assert snapshot.generation == generation
        moment = snapshot.as_of
        assert moment.lsn == (f"0/{generation:X}" if generation else "")
        assert (moment.committed_ns or 0) == generation * 1000
        total = 0
        for key in snapshot.partitions():
            frame = snapshot.frame(**key)
            steps = frame["step"]
            assert (np.diff(steps) >= 0).all()
            assert steps[-1] == generation
            assert all(len(frame[name]) == frame.rows for name in ("amount", "said", "account"))
            assert (frame["said"] == told(steps, frame["amount"])).all()
            assert set(frame["account"]) == {key["account"]}
            total += int(frame["amount"].sum())
        assert snapshot.rows() % ACCOUNTS == 0
        sums.append(total)
    assert sums[0] == sums[1]
    return generation


def told(steps: np.ndarray[Any, Any], amounts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    pairs = zip(steps.tolist(), amounts.tolist(), strict=True)
    texts = [None if step % 5 == 0 else f"{step}/{amount}" for step, amount in pairs]
    return np.array(texts, object)


def check_last(series: Series, account: int) -> int:
    """One partition as of now: it ends with its generation's step."""
    frame = series.last(16, account=account)
    generation = frame.as_of.generation
    steps, amounts = frame["step"], frame["amount"]
    assert steps[-1] == generation
    assert frame.as_of.lsn == f"0/{generation:X}"
    assert (np.diff(steps) >= 0).all()
    assert (frame["said"] == told(steps, amounts)).all()
    return generation


def read_whole(folder: Path, looks: int, answer: Connection) -> None:
    """Check that many whole generations, each partition by itself, and views held from before;
    how many different generations were seen.
    """
    group = open_group(folder)
    debit = group.series("debit")
    since = debit.wait_for_change(0, 30)
    answer.send(True)
    before = 0
    held: list[tuple[Any, list[Any]]] = []
    seen = set()
    for look in range(looks):
        since = debit.wait_for_change(since, 30)
        generation = check_whole(group.snapshot())
        assert generation >= before
        before = generation
        seen |= {generation} | {check_last(debit, account) for account in range(ACCOUNTS)}
        frame = debit.last(16, account=look % ACCOUNTS)
        held = [*held[-20:], (frame, frame.arrow().to_pylist())]
        for frame, rows in held:
            assert frame.arrow().to_pylist() == rows
    answer.send(len(seen))


def tell_rows(pickled: bytes, answer: Connection) -> None:
    try:
        answer.send(pickle.loads(pickled).arrow().to_pylist())
    except DatasetEvictedError as error:
        answer.send(str(error))


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(step: Any) -> Any:
    def run_and_die(*arguments: Any) -> None:
        step(*arguments)
        _die()

    return run_and_die


def _half_the_slots(entries: Any, states: Any, partitions: Any, generation: int) -> None:
    kernels.write_slots(entries, states, partitions[: len(partitions) // 2], generation)
    _die()


#: Step of a publication -> what is replaced by sudden death, and whether the step is then seen.
DEATHS: dict[str, tuple[str, Any, bool]] = {
    "rows written, nothing published": ("neural_gpu_bus.memory.series.writer.compact", _die, False),
    "working on a generation": ("neural_gpu_bus.memory.series.states.write_slots", _die, False),
    "half the slots written": (
        "neural_gpu_bus.memory.series.states.write_slots",
        _half_the_slots,
        False,
    ),
    "all slots written": (
        "neural_gpu_bus.memory.series.states.write_slots",
        _after(kernels.write_slots),
        False,
    ),
    "published, nothing freed": (
        "neural_gpu_bus.memory.series.extents.Extents.settle",
        _die,
        True,
    ),
}


def die_while_publishing(folder: Path, death: str, answer: Connection) -> None:
    import unittest.mock

    target, replacement, _ = DEATHS[death]
    chance = random.Random(1)
    opened = open_group(folder).writer()
    step = opened.generation + 1
    one_step(opened, step, chance)
    with unittest.mock.patch(target, replacement):
        opened.publish(lsn=step, committed_ns=step * 1000)
    answer.send("still alive")
