"""Defects of the process that follows live tables, put in on purpose: each has to be found.

``site_folder`` makes what a process's PYTHONPATH has to name; the process itself is the product's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

#: Which one; empty for none.
VARIABLE = "NGB_TEST_LIVE_MUTANT"
#: No defect: the wall clock is nobody's measure.
JUMPING = "the wall clock jumps"
#: One in so many changes is left out.
LEFT_OUT_EVERY = 10
_TESTS = Path(__file__).parent


def environment(folder: Path, name: str) -> dict[str, str]:
    """For a keeper whose process of live tables has that defect."""
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path.append({str(_TESTS)!r})\n"
        "import live_mutants\nlive_mutants.mutate()\nsys.path.pop()\n"
    )
    before = os.environ.get("PYTHONPATH", "")
    return {VARIABLE: name, "PYTHONPATH": os.pathsep.join([str(folder), *before.split(os.pathsep)])}


def mutate() -> None:
    """Where this is the process that follows tables; all processes' clocks jump."""
    name = os.environ[VARIABLE]
    if name == JUMPING:
        _clock_jumps()
    elif "live run" in " ".join(sys.orig_argv):
        MUTANTS[name]()


def _clock_jumps() -> None:
    """The wall clock of this process is another one each second."""
    real, real_ns = time.time, time.time_ns

    def jump_s() -> int:
        return (int(time.monotonic()) * 7919 % 5 - 2) * 86_400

    time.time = lambda: real() + jump_s()
    time.time_ns = lambda: real_ns() + jump_s() * 10**9


def _changes_left_out(kind: str) -> Callable[[], None]:
    def mutation() -> None:
        from neural_gpu_bus.live.mirror.followed_table import FollowedTable
        from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges

        real, seen = FollowedTable.take, [0]

        def thinned(step: Any) -> Any:
            if not isinstance(step, RowChanges):
                return step
            kept = np.ones(len(step), bool)
            for place in np.flatnonzero(step.kinds == ord(kind)):
                seen[0] += 1
                kept[place] = seen[0] % LEFT_OUT_EVERY != 0
            names = ("kinds", "new_at", "old_at", "old_kinds")
            return structs.replace(step, **{name: getattr(step, name)[kept] for name in names})

        def take(self: Any, transaction: Any, steps: Any, kept: Any) -> None:
            real(self, transaction, [thinned(one) for one in steps], kept)

        FollowedTable.take = take  # type: ignore[method-assign]

    return mutation


def _truncate_left_out() -> None:
    from neural_gpu_bus.live.applying.applied_table import AppliedTable

    def after_truncation(self: Any, steps: Any) -> tuple[list[Any], bool]:
        return [one for one in steps if hasattr(one, "kinds") and len(one.kinds)], False

    AppliedTable._after_truncation = after_truncation  # type: ignore[method-assign]


def _tables_one_after_the_other() -> None:
    from neural_gpu_bus.live.applying.applied_table import AppliedTable

    real = AppliedTable.apply

    def apply(self: Any, steps: Any) -> Any:
        done = real(self, steps)
        self._writer.publish(self._writer.stamp.lsn)
        return done

    AppliedTable.apply = apply  # type: ignore[method-assign]


def _two_halves() -> None:
    from neural_gpu_bus.live.mirror.followed_tables import FollowedTables

    real = FollowedTables.take

    def take(self: Any, batch: Any) -> int:
        last = batch.transactions[-1] if batch.transactions else None
        if last is None or len(last.steps) < 2:
            return real(self, batch)
        rest = last.steps[len(last.steps) // 2 :]
        del last.steps[len(last.steps) // 2 :]
        changes = real(self, batch)
        self._means.room.writer.publish(self._means.room.writer.stamp.lsn)
        batch.transactions[:] = [structs.replace(last, steps=rest, begins=False)]
        return changes + real(self, batch)

    FollowedTables.take = take  # type: ignore[method-assign]


def _definitions_unheard_of() -> None:
    from neural_gpu_bus.live.mirror.catalog_looks import CatalogLooks

    CatalogLooks.check = lambda self, table, xid, step: None  # type: ignore[method-assign]
    CatalogLooks.look = lambda self: None  # type: ignore[method-assign]
    CatalogLooks.confirmed = lambda self, rows_ns: rows_ns  # type: ignore[method-assign]


def _version_before_served() -> None:
    from neural_gpu_bus.live.mirror.followed_tables import FollowedTables

    real = FollowedTables._tell

    def tell(self: Any, table: Any, state: Any, detail: str = "", error: Any = None) -> None:
        behind = state == "live" and table.version > 1
        table.version -= behind
        real(self, table, state, detail, error)
        table.version += behind

    FollowedTables._tell = tell  # type: ignore[method-assign]


def _acknowledged_before() -> None:
    from neural_gpu_bus.live.mirror.mirror import Mirror

    begin, take = Mirror._begin, Mirror._take

    def begun(self: Any, session: Any) -> None:
        self.session = session
        begin(self, session)

    def taken(self: Any, batch: Any) -> None:
        self.session.acknowledge(batch.end_lsn)
        take(self, batch)

    Mirror._begin, Mirror._take = begun, taken  # type: ignore[method-assign]


def _told_before() -> None:
    from neural_gpu_bus.live.mirror.mirror import Mirror

    real = Mirror._take

    def take(self: Any, batch: Any) -> None:
        self._means.state.applied(batch.end_lsn)
        real(self, batch)

    Mirror._take = take  # type: ignore[method-assign]


def _goes_on_too_late() -> None:
    from neural_gpu_bus.live.mirror.continuing import Continuing

    real = Continuing.begin

    def begin(self: Any, *given: Any) -> Any:
        begun = real(self, *given)
        return replace(begun, position=self._source.position()[1]) if begun.tables else begun

    Continuing.begin = begin  # type: ignore[method-assign]


def _snapshot_sees(answer: bool) -> Callable[[], None]:
    def mutation() -> None:
        from neural_gpu_bus.live.mirror.followed_table import FollowedTable
        from neural_gpu_bus.stores.postgres.replication.visible_transactions import (
            VisibleTransactions,
        )

        real = VisibleTransactions.sees

        def wrong(method: Any) -> Any:
            def called(*given: Any) -> Any:
                VisibleTransactions.sees = lambda visible, xid: answer  # type: ignore[method-assign]
                try:
                    return method(*given)
                finally:
                    VisibleTransactions.sees = real  # type: ignore[method-assign]

            return called

        FollowedTable.take_copy = wrong(FollowedTable.take_copy)  # type: ignore[method-assign]
        FollowedTable.take = wrong(FollowedTable.take)  # type: ignore[method-assign]

    return mutation


def _unsent_is_null() -> None:
    from neural_gpu_bus.live.applying.applied_table import AppliedTable

    AppliedTable._filled = (  # type: ignore[method-assign]
        lambda self, batch, effect, found, table, unchanged: table
    )


def _fresh_by_its_own_word() -> None:
    from neural_gpu_bus.host_clock import host_clock_ns
    from neural_gpu_bus.live.mirror.mirror import Mirror

    real = Mirror._confirm

    def confirm(self: Any) -> None:
        real(self)
        self._means.state.confirmed(host_clock_ns())

    Mirror._confirm = confirm  # type: ignore[method-assign]


def _slow_with_definitions() -> None:
    """Changes of a definition are heard of, half a second later than the rows behind them."""
    from neural_gpu_bus.live.mirror.catalog_looks import CatalogLooks

    late: list[tuple[float, Any, int, object]] = []
    check = CatalogLooks.check

    def checked(self: Any, table: Any, xid: int, step: object) -> None:
        late.append((time.monotonic() + 0.5, table, xid, step))

    def looked(self: Any) -> None:
        while late and late[0][0] < time.monotonic():
            check(self, *late.pop(0)[1:])

    CatalogLooks.check = checked  # type: ignore[method-assign]
    CatalogLooks.look = looked  # type: ignore[method-assign]
    CatalogLooks.confirmed = lambda self, rows_ns: rows_ns  # type: ignore[method-assign]


#: Each by what it does wrong.
MUTANTS: dict[str, Callable[[], None]] = {
    "one insert in ten is lost": _changes_left_out("I"),
    "one update in ten is lost": _changes_left_out("U"),
    "one delete in ten is ignored": _changes_left_out("D"),
    "TRUNCATE is ignored": _truncate_left_out,
    "a transaction is published in two halves": _two_halves,
    "tables of a transaction are published one after the other": _tables_one_after_the_other,
    "definitions are not heard of": _definitions_unheard_of,
    "definitions are heard of late": _slow_with_definitions,
    "the version before is served as live": _version_before_served,
    "acknowledged before it is applied": _acknowledged_before,
    "told to be there before it is applied": _told_before,
    "a restart goes on from the end of the log": _goes_on_too_late,
    "what came during a copy is lost": _snapshot_sees(True),
    "what came during a copy comes twice": _snapshot_sees(False),
    "a value that was not sent is NULL": _unsent_is_null,
    "fresh by its own word": _fresh_by_its_own_word,
}
