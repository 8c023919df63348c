"""Watching: the part of ``DataPlane`` that runs workloads when live tables change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres import Mode
    from neural_gpu_bus.watching.making import Plane
    from neural_gpu_bus.watching.watch import Watch


class Watching:
    """``watch``."""

    def watch(
        self: Plane,
        workload: str,
        *,
        every_change_of: Sequence[str] | str | None = None,
        inputs: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        engine: str | None = None,
        store: str | None = None,
        key: Sequence[str] = (),
        mode: Mode | None = None,
        publish: str | None = None,
        topic: str = "results",
        at_most_every_s: float = 0.0,
        max_lag_s: float | None = None,
        name: str | None = None,
    ) -> Watch:
        """Run a workload over live tables whenever these change; store and publish each result.

        Nothing runs before it is asked for: iterate the watch or call ``next``, which run in the
        calling thread, or ``start(callback)``, which makes one. The engine runs in this process,
        over the shared columns. All live tables are read at one position, ``run.frame.as_of``.

        ``every_change_of``: names of live tables; left out, all that inputs come from. ``inputs``:
        for each input the name of a live table, a ``LiveInput`` (other column names, one
        partition, the newest rows), columns that stay as they are, or a function of the snapshots
        of all tables by name. An input that is not given is the watched table of that name.
        ``params``: of the workload.

        ``store``: table for the rows, with ``key`` upserted, else appended; ``mode`` as for
        ``store``. Each position is stored once, also after a restart, for one ``name`` (by
        default the workload's). ``publish``: key on the compute Redis, written after that, and an
        event of ``topic`` on the engine-logic bus. Both get the columns ``as_of_lsn`` and
        ``as_of_commit`` besides.

        ``at_most_every_s``: between the beginnings of two runs, at least; changes are taken
        together. ``max_lag_s``: no result is made of inputs that may be older.

        Raises UnknownWorkloadError, BadParameterError, DatasetNotFoundError for a table that is
        not live, and ServerError's kinds where a server of the results is away.
        """
        from neural_gpu_bus.watching.making import make_watch
        from neural_gpu_bus.watching.outlets import Outlets, checked_mode

        outlets = Outlets(store, tuple(key), checked_mode(store, key, mode), publish, topic)
        names = [every_change_of] if isinstance(every_change_of, str) else every_change_of
        return make_watch(
            self,
            workload,
            watched=names,
            inputs=inputs,
            params=params or {},
            engine=engine,
            outlets=outlets,
            at_most_every_s=at_most_every_s,
            max_lag_s=max_lag_s,
            name=workload if name is None else name,
        )
