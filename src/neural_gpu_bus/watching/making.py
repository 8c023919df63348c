"""A watch as it was called for: checked as far as goes before anything runs, then made."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.arguments import check_encodable, check_seconds, check_text
from neural_gpu_bus.bus import KEYS_PREFIX
from neural_gpu_bus.engines import build_planner, check_engine
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.live.definitions import not_live
from neural_gpu_bus.live_tables import live_table
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name
from neural_gpu_bus.stores.redis import check_key
from neural_gpu_bus.watching.inputs import (
    checked_inputs,
    inputs_digest,
    live_names,
    short_digest,
)
from neural_gpu_bus.watching.watch import Watch, WatchPlan
from neural_gpu_bus.workloads import check_params, find

if TYPE_CHECKING:
    from neural_gpu_bus import embedded
    from neural_gpu_bus.live.definitions import LiveDefinition, LiveDefinitions
    from neural_gpu_bus.live.shared import LiveView
    from neural_gpu_bus.live.sql import LiveSql
    from neural_gpu_bus.memory import UnifiedMemory
    from neural_gpu_bus.settings import Settings
    from neural_gpu_bus.stores.postgres import PostgresStore
    from neural_gpu_bus.stores.redis import RedisColumns
    from neural_gpu_bus.traditional import EventBus
    from neural_gpu_bus.watching.outlets import Outlets

#: Of a name: it is a part of a job id, which has 1,024.
NAME_BYTES_MAX = 512
#: Where no schema is named, as PostgreSQL's own search path has it.
_SCHEMA = "public"


class Plane(Protocol):
    """What a plane has besides."""

    settings: Settings
    _closing: ExitStack

    @property
    def memory(self) -> UnifiedMemory: ...  # noqa: D102
    @property
    def database(self) -> PostgresStore: ...  # noqa: D102
    @property
    def redis(self) -> RedisColumns: ...  # noqa: D102
    @property
    def engine_logic(self) -> EventBus: ...  # noqa: D102
    @property
    def live_view(self) -> LiveView: ...  # noqa: D102
    @property
    def live_definitions(self) -> LiveDefinitions: ...  # noqa: D102
    @property
    def live_sql(self) -> LiveSql: ...  # noqa: D102
    @property
    def attachment(self) -> embedded.Attachment: ...  # noqa: D102


def make_watch(
    plane: Plane,
    workload: str,
    *,
    watched: Sequence[str] | None,
    inputs: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    engine: str | None,
    outlets: Outlets,
    at_most_every_s: float,
    max_lag_s: float | None,
    name: str,
) -> Watch:
    """See ``plane.watch``; ``watched`` None: all live tables that inputs come from."""
    check_text("workload", workload, "'risk.portfolio'")
    check_seconds("at_most_every_s", at_most_every_s)
    if max_lag_s is not None:
        check_seconds("max_lag_s", max_lag_s)
    _check_name(name)
    found = find(workload)
    check_engine(found, engine)
    given = checked_inputs(found, inputs, watched or ())
    names = list(dict.fromkeys(live_names(given) if watched is None else watched))
    declared = plane.live_definitions
    known = declared.all()
    tables = _followed(known, names, live_names(given), outlets.table)
    opened = {one: live_table(plane, one) for one in tables}
    told = [workload, params, engine, inputs_digest(given), tables, outlets.table]
    watch = Watch(
        WatchPlan(
            name=name,
            workload=found,
            params=check_params(found, params),
            engine=engine,
            inputs=given,
            watched={one: opened[one] for one in names},
            tables=opened,
            view=plane.live_view,
            declared=lambda: list(declared.all()),
            planner=build_planner(plane.settings.gpu_backend, plane.settings.neural_provider),
            outlets=_connected(plane, outlets),
            digest=short_digest(repr(told)),
            is_without_positions=_is_without_positions([known[one] for one in tables]),
            at_most_every_s=at_most_every_s,
            max_lag_s=max_lag_s,
        )
    )
    # It is closed before what it uses, because that was opened earlier.
    plane._closing.callback(_close, weakref.ref(watch))  # noqa: SLF001  a part of the plane's
    return watch


def _close(found: weakref.ref[Watch]) -> None:
    watch = found()
    if watch is not None:
        watch.close()


def _check_name(name: str) -> None:
    check_text("name", name, "'risk of today'")
    check_encodable("name", name)
    if len(name.encode()) > NAME_BYTES_MAX or "\0" in name:
        raise BadParameterError(
            f"a name of {len(name.encode()):,} bytes: at most {NAME_BYTES_MAX} without NUL are "
            "kept",
            hint="use a short one",
            parameter="name",
        )


def _followed(
    declared: Mapping[str, LiveDefinition],
    watched: Sequence[str],
    names: Sequence[str],
    store: str | None,
) -> dict[str, str]:
    """Live tables by name, with what tells each from another of that name.

    Raises DatasetNotFoundError, and BadParameterError where a result would be an input.
    """
    if not watched:
        raise BadParameterError(
            "no live table is watched",
            hint="e.g. every_change_of=['positions']",
            parameter="every_change_of",
        )
    found: dict[str, str] = {}
    for name in [*watched, *names]:
        check_text("a table of every_change_of", name, "'positions'")
        if name not in declared:
            raise not_live(name, list(declared))
        one = declared[name]
        if store is not None and _placed(store) == _placed(one.table):
            raise BadParameterError(
                f"results would be stored to {store!r}, which live table {name!r} follows: each "
                "run would be a change",
                hint="store to another table",
                parameter="store",
            )
        found[name] = repr((one.table, one.columns, one.where, one.key, one.order_by))
    return found


def _is_without_positions(tables: Sequence[LiveDefinition]) -> bool:
    """Raises BadParameterError where such a table stands beside another: they are never at one."""
    weaker = [one for one in tables if one.how != "stream"]
    if weaker and len(tables) > 1:
        raise BadParameterError(
            f"live table {weaker[0].name!r} is followed by {weaker[0].how}, at no position that "
            "another has",
            hint="watch it alone, and give the others as columns that stay; or follow it by the "
            "stream: plane.live(table, how='stream')",
            parameter="every_change_of",
        )
    return bool(weaker)


def _placed(table: str) -> tuple[str, str]:
    parsed = parse_table_name(table)
    return parsed.schema or _SCHEMA, parsed.name


def _connected(plane: Plane, outlets: Outlets) -> Outlets:
    """With its servers, so that one that is away is told at once."""
    found = outlets
    if outlets.table is not None:
        check_text("store", outlets.table, "'risk_metrics'")
        check_encodable("store", outlets.table)
        found = replace(found, store=plane.database.store)
    if outlets.redis_key is not None:
        check_key(outlets.redis_key, KEYS_PREFIX)
        check_text("topic", outlets.topic, "'results'")
        redis, engine_logic = plane.redis, plane.engine_logic
        found = replace(found, write_key=redis.write, announce=engine_logic.publish)
    return found
