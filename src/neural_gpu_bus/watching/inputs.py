"""What a watched workload computes with: rows of live tables, all as of one position."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.arguments import check_text, check_whole_number
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.series.gathered import GatheredSource
from neural_gpu_bus.watching.columns import WatchedColumns

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory.series.series import SeriesSnapshot
    from neural_gpu_bus.ports import Columns, Workload

Moment = Mapping[str, "SeriesSnapshot"]
#: One input: rows of a live table, columns made of all of them, or columns that stay.
Given = Any


class LiveInput(msgspec.Struct, frozen=True):
    """Rows of a live table as an input of a workload."""

    #: Name of the live table.
    table: str
    #: The workload's name of a column -> the table's. One that is not named here is taken under its
    #: own name.
    columns: dict[str, str] = {}
    #: Values of all key columns, for one partition; empty: rows of all partitions.
    key: dict[str, Any] = {}
    #: Only the newest rows, of each partition; None: all.
    last: int | None = None


def checked_inputs(
    workload: Workload, given: Mapping[str, Given] | None, watched: Sequence[str]
) -> dict[str, Given]:
    """One of each input of the workload; a text is a LiveInput of that table.

    What is not given is the watched table of that name. Raises BadParameterError.
    """
    found = dict(given or {})
    for name in found:
        if name not in workload.inputs:
            raise BadParameterError(
                f"{workload.name} has no input {name!r}; it has {', '.join(workload.inputs)}",
                hint=did_you_mean(name, workload.inputs, "leave it out"),
                parameter="inputs",
            )
    for name in workload.inputs:
        if name not in found and name not in watched:
            raise BadParameterError(
                f"input {name!r} of {workload.name} comes from nowhere",
                hint=f"e.g. inputs={{{name!r}: ngb.LiveInput('bars', columns={{...}})}}, the name "
                "of a live table, or columns that stay",
                parameter="inputs",
            )
    return {name: _checked(name, found.get(name, name)) for name in workload.inputs}


def _checked(name: str, given: Given) -> Given:
    if isinstance(given, str):
        given = LiveInput(given)
    if isinstance(given, LiveInput):
        check_text("table", given.table, "'positions'")
        if given.last is not None:
            check_whole_number("last", given.last, 1)
        return given
    if given is None:
        raise BadParameterError(
            f"input {name!r} is None", hint="give a live table's name", parameter="inputs"
        )
    if callable(given) or isinstance(given, Frame):
        return given
    return _frame_over(_as_table(given), name)


def live_names(inputs: Mapping[str, Given]) -> list[str]:
    """Of the live tables that inputs come from, in order, each once."""
    return list(dict.fromkeys(one.table for one in inputs.values() if isinstance(one, LiveInput)))


def taken(workload: Workload, inputs: Mapping[str, Given], moment: Moment) -> dict[str, Columns]:
    """The inputs at a moment. A table without partitions whose rows lie in one piece is not copied.

    Raises BadParameterError for a column that is not there, DatasetNotFoundError for a key without
    rows, and what a callable raises.
    """
    found: dict[str, Columns] = {}
    for name, columns in workload.inputs.items():
        given = inputs[name]
        if isinstance(given, LiveInput):
            found[name] = _of_table(name, given, moment[given.table], list(columns))
        else:
            made: Callable[[Moment], Any] | Frame = given
            frame = made if isinstance(made, Frame) else _frame_over(_as_table(made(moment)), name)
            found[name] = WatchedColumns(frame, {own: own for own in frame})
    return found


def _of_table(
    name: str, given: LiveInput, rows: SeriesSnapshot, wanted: list[str]
) -> WatchedColumns:
    names = _names(name, given, rows.schema.names, wanted)
    # A table's column may stand for two of the workload's.
    own = list(dict.fromkeys(names.values()))
    keys = [given.key] if given.key else rows.partitions()
    if given.last is not None and len(keys) == 1:
        return WatchedColumns(rows.last(given.last, **keys[0]).select(*own), names)
    return WatchedColumns(_frame_over(_table(given, rows, keys).select(own), name, rows), names)


def _table(given: LiveInput, rows: SeriesSnapshot, keys: list[dict[str, Any]]) -> pa.Table:
    if not keys:
        return rows.schema.empty_table()
    if given.last is None:
        return rows.arrow(**given.key)
    import pyarrow as pa

    return pa.concat_tables([rows.last(given.last, **key).arrow() for key in keys])


def _names(name: str, given: LiveInput, known: list[str], wanted: list[str]) -> dict[str, str]:
    """The workload's columns -> the table's; where it takes any, those named, else all."""
    for column in given.columns.values():
        if column not in known:
            raise BadParameterError(
                f"live table {given.table!r}, input {name!r}, has no column {column!r}; it has "
                f"{', '.join(known)}",
                hint=did_you_mean(column, known, "name one of these"),
                parameter=f"{name}.{column}",
            )
    if not wanted:
        return dict(given.columns) or {column: column for column in known}
    found = {column: given.columns.get(column, column) for column in wanted}
    return {column: own for column, own in found.items() if own in known}


def _as_table(columns: Any) -> pa.Table:
    from neural_gpu_bus.as_arrow import as_table

    return as_table(columns)


def _frame_over(table: pa.Table, title: str, rows: SeriesSnapshot | None = None) -> Frame:
    from neural_gpu_bus.descriptors import AsOf

    told = AsOf(published_ns=0) if rows is None else rows.as_of
    return Frame(GatheredSource(f"input {title!r}", table, told, ()))


def inputs_digest(inputs: Mapping[str, Given]) -> list[Any]:
    """What tells these inputs from others: a callable by its name alone, columns by their values,
    which reads them once.
    """
    return [[name, _told(given)] for name, given in sorted(inputs.items())]


def _told(given: Given) -> Any:
    if isinstance(given, LiveInput):
        return [given.table, sorted(given.columns.items()), _plain(given.key), given.last]
    if isinstance(given, Frame):
        return given.digest()
    return f"{given.__module__}.{getattr(given, '__qualname__', type(given).__qualname__)}"


def _plain(key: Mapping[str, Any]) -> list[list[str]]:
    return [[name, repr(value)] for name, value in sorted(key.items())]


def short_digest(told: Any) -> str:
    """16 hex digits."""
    return hashlib.sha256(msgspec.msgpack.encode(told)).hexdigest()[:16]
