"""``ngb submit``, ``ngb worker`` and ``ngb workloads``: compute."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.assignments import parse_assignments
from neural_gpu_bus.cli.console import err, out


def workloads() -> None:
    """List the registered workloads: inputs, parameters and defaults."""
    from neural_gpu_bus.workloads import WORKLOADS, describe_params

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for workload in WORKLOADS.values():
        inputs = ", ".join(
            f"{name}({', '.join(columns) or 'every float column'})"
            for name, columns in workload.inputs.items()
        )
        params = ", ".join(describe_params(workload.params_type)) or "none"
        lines = f"{workload.summary}\ninputs: {inputs}\nparameters: {params}\n"
        table.add_row(f"[bold]{workload.name}[/]", escape(lines))
    out.print(table)


def submit(  # noqa: PLR0917  (typer's parameters are positional to it alone)
    workload: Annotated[str, typer.Argument(help="Name, see `ngb workloads`.")],
    assignment: Annotated[
        list[str] | None,
        typer.Argument(help="input=DATASET and parameter=value, as often as needed."),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="cpu, gpu or neural; else planned.")] = None,
    table: Annotated[str | None, typer.Option(help="PostgreSQL table to store into.")] = None,
    redis_key: Annotated[str | None, typer.Option(help="Compute Redis key to store under.")] = None,
    timeout_s: Annotated[
        float | None, typer.Option(min=0.01, help="Longest wait; else NGB_WAIT_TIMEOUT_S.")
    ] = None,
) -> None:
    """Run a workload over datasets in shared memory and show its result."""
    with ngb.open() as plane:
        job = plane.submit(
            workload,
            parse_assignments(assignment or []),
            engine=engine,
            table=table,
            redis_key=redis_key,
        )
        frame = job.wait_result(timeout_s)
        out.print(escape(repr(frame)))
        choice = job.record.choice
        out.print(escape(f"engine {choice.engine} ({choice.backend}): {choice.reason}"))


def worker(
    kept: Annotated[bool, typer.Option("--kept", hidden=True)] = False,
) -> None:
    """Run one worker until Ctrl-C or SIGTERM; jobs in hand are finished first."""
    with ngb.open(counted=not kept) as plane:
        if not kept:
            plane.queue.statistics()  # where Redis is away or refuses us, say so instead
            err.print("worker is ready; Ctrl-C stops it")
        plane.run_worker()
