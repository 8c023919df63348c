"""``ngb watch``: a workload that runs whenever live tables change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args

import msgspec
import typer

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.assignments import parse_assignments
from neural_gpu_bus.cli.console import printable
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.error_records import to_record
from neural_gpu_bus.errors import BadParameterError, NeuralGpuBusError
from neural_gpu_bus.quantities import plural, span

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Workload
    from neural_gpu_bus.stores.postgres import Mode
    from neural_gpu_bus.watching import LiveInput, WatchRun


def watch(  # noqa: PLR0917  (typer's parameters are positional to it alone)
    workload: Annotated[str, typer.Argument(help="Name, see `ngb workloads`.")],
    assignment: Annotated[
        list[str] | None,
        typer.Argument(help="input=LIVE_TABLE and parameter=value, as often as needed."),
    ] = None,
    every_change_of: Annotated[
        str, typer.Option(help="Live tables, a,b; left out: all that inputs come from.")
    ] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="INPUT.COLUMN=COLUMN of the live table, each.")
    ] = None,
    partition: Annotated[
        list[str] | None, typer.Option(help="INPUT.COLUMN=VALUE of the key, for one partition.")
    ] = None,
    last: Annotated[
        list[str] | None, typer.Option(help="INPUT=ROWS, the newest of each partition.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="PostgreSQL table to store into.")] = None,
    key: Annotated[str, typer.Option(help="Columns to upsert by: a,b; else append.")] = "",
    mode: Annotated[str | None, typer.Option(help="append, upsert or replace.")] = None,
    publish: Annotated[str | None, typer.Option(help="Compute Redis key to publish.")] = None,
    topic: Annotated[str, typer.Option(help="Of the event that says so.")] = "results",
    at_most_every: Annotated[
        float, typer.Option(min=0, help="Seconds between two runs, at least.")
    ] = 0.0,
    max_lag: Annotated[
        float | None, typer.Option(min=0, help="Seconds that inputs may be behind, at most.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="cpu, gpu or neural; else planned.")] = None,
    name: Annotated[str | None, typer.Option(help="Results are stored once for it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
) -> None:
    """Run a workload on every change of live tables, a line for each run, until Ctrl-C."""
    from neural_gpu_bus.workloads import find

    found = find(workload)
    inputs, params = taken_apart(
        found, parse_assignments(assignment or []), _names(every_change_of)
    )
    inputs = refined(inputs, column or [], partition or [], last or [])
    with ngb.open() as plane, suppress(KeyboardInterrupt):
        watching = plane.watch(
            workload,
            every_change_of=_names(every_change_of) or None,
            inputs=inputs,
            params=params,
            engine=engine,
            store=store,
            key=_names(key),
            mode=_mode(mode),
            publish=publish,
            topic=topic,
            at_most_every_s=at_most_every,
            max_lag_s=max_lag,
            name=name,
        )
        for run in watching:
            print(as_json(run) if json else watch_line(run, datetime.now(UTC)), flush=True)


def watch_line(run: WatchRun, at: datetime) -> str:
    """``12:30:01 risk.portfolio 3 rows as of 0/1A2B3C8, computed in 1.2 ms``, and so on."""
    head = f"{at:%H:%M:%S} {printable(run.watch)}"
    if run.frame is None or run.as_of is None:
        error = run.error
        what = error.what if isinstance(error, NeuralGpuBusError) else repr(error)
        hint = error.hint if isinstance(error, NeuralGpuBusError) else ""
        return f"{head} failed: {printable(what)}" + (f"; {printable(hint)}" if hint else "")
    parts = [f"{plural(run.frame.rows, 'row')} as of {run.as_of.lsn or 'no position'}"]
    if run.changes:
        parts.append(plural(run.changes, "change"))
    parts.append(f"computed in {span(run.compute_s * 1e9)}")
    if run.receipt is not None:
        again = ", which was there before" if run.receipt.repeated else ""
        parts.append(f"stored in {span(run.store_s * 1e9)}{again}")
    if run.publish_s:
        parts.append(f"published in {span(run.publish_s * 1e9)}")
    if run.behind_s is not None:
        parts.append(f"{span(max(0.0, run.behind_s) * 1e9)} after the commit")
    return f"{head} {', '.join(parts)}"


def as_json(run: WatchRun) -> str:
    """The same with the rows."""
    told: dict[str, Any] = {"watch": run.watch, "number": run.number}
    if run.frame is None or run.as_of is None:
        error = run.error
        known = to_record(error) if isinstance(error, NeuralGpuBusError) else repr(error)
        return msgspec.json.encode({**told, "error": known}).decode()
    told |= {"lsn": run.as_of.lsn, "committed_ns": run.as_of.committed_ns, "changes": run.changes}
    told |= {"compute_s": run.compute_s, "store_s": run.store_s, "publish_s": run.publish_s}
    told |= {"behind_s": run.behind_s, "rows": run.frame.arrow().to_pylist()}
    return msgspec.json.encode(told).decode()


def taken_apart(
    workload: Workload, given: Mapping[str, Any], watched: Iterable[str]
) -> tuple[dict[str, LiveInput], dict[str, Any]]:
    """Inputs, also those that a watched table of that name is; and parameters."""
    from neural_gpu_bus.watching import LiveInput

    known = set(watched)
    tables = {name: given.get(name, name) for name in workload.inputs}
    inputs = {
        name: LiveInput(str(table))
        for name, table in tables.items()
        if name in given or name in known
    }
    return inputs, {name: value for name, value in given.items() if name not in workload.inputs}


def refined(
    inputs: Mapping[str, LiveInput],
    columns: Iterable[str],
    partitions: Iterable[str],
    last: Iterable[str],
) -> dict[str, LiveInput]:
    """With what options say of single inputs. Raises BadParameterError."""
    found = dict(inputs)
    for option, part, texts in (
        ("--column", "columns", columns),
        ("--partition", "key", partitions),
    ):
        for place, value in _pairs(texts):
            name, dot, column = place.partition(".")
            one = _input(found, name, option)
            if not dot or not column:
                raise _bad(option, place, "write it as INPUT.COLUMN=VALUE")
            kept = {**getattr(one, part), column: str(value) if part == "columns" else value}
            found[name] = msgspec.structs.replace(one, **{part: kept})
    for name, rows in _pairs(last):
        found[name] = msgspec.structs.replace(_input(found, name, "--last"), last=rows)
    return found


def _pairs(texts: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for text in texts:
        yield from parse_assignments([text]).items()


def _input(inputs: Mapping[str, LiveInput], name: str, option: str) -> LiveInput:
    if name not in inputs:
        raise _bad(option, name, did_you_mean(name, inputs, "name an input that has a live table"))
    return inputs[name]


def _mode(text: str | None) -> Mode | None:
    from neural_gpu_bus.stores.postgres import Mode as Modes

    for known in get_args(Modes):
        if text == known:
            mode: Mode = known
            return mode
    if text is not None:
        raise _bad("--mode", text, did_you_mean(text, get_args(Modes), "append, upsert, replace"))
    return None


def _bad(option: str, value: str, hint: str) -> BadParameterError:
    return BadParameterError(f"{option}: {value!r} fits nothing", hint=hint, parameter=option)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
